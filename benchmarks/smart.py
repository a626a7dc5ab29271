"""Smart acquisition against the truth of the simulated sample: bursts at divisions, and revisits.

*Mitosis* images each sample as ``config/experiments/mitosis.yaml`` says, frame by frame in one
process, so that the figures are those of segmentation, tracking and rule and not of how busy the
machine is. *Search* runs the whole program on ``config/experiments/rare-object.yaml``. What counts
as a division that could be seen, `live.scoring.truth` says; the share of all is told beside it.

The bars are those of the rows "all samples" and "search"; single samples have few divisions.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.smart_mitosis import MitosisRun, run_mitosis

SEEDS: Final = tuple(range(101, 111))
FRAMES: Final = 300
LEAST: Final = 0.9
"""Precision and recall that are needed."""
LATEST_FRAMES: Final = 2.0
LEAST_FOUND: Final = 0.95
"""Share of the revisits with the target within 5 um of the middle."""

Row = dict[str, Any]


def run(*, quick: bool = False) -> list[Row]:
    """Measure and return rows; ``quick`` only shows that it works."""
    if quick:
        return mitosis_rows(SEEDS[:1], 40, bars=False)
    return mitosis_rows(SEEDS, FRAMES) + search_rows(SEEDS[0])


def mitosis_rows(seeds: Sequence[int], frames: int, *, bars: bool = True) -> list[Row]:
    """One row for each sample, then precision, recall and latency over all of them."""
    runs = [run_mitosis(seed, frames) for seed in seeds]
    rows = [_seed_row(one) for one in runs]
    scores = [one.score for one in runs]
    countable = sum(s.countable for s in scores)
    divisions, fired = sum(s.divisions for s in scores), sum(s.fired for s in scores)
    hit = sum(s.countable_recognised for s in scores)
    right, any_hit = sum(s.fired_right for s in scores), sum(s.recognised for s in scores)
    left_out = f"{sum(s.unseen for s in scores)} unseen, {sum(s.at_border for s in scores)} cut"
    late = sorted(frames for s in scores for frames in s.late_frames)
    median = float(late[len(late) // 2]) if late else float("inf")
    bar: Row = {"bar": 1.0} if bars else {}
    whole = f"all samples, {divisions} divisions"
    rows += [
        _row(f"{whole}: {countable} countable ({left_out})", "recall", hit, countable) | bar,
        _row(f"{whole}: all of them", "recall", any_hit, divisions),
        _row(f"all samples, {fired} bursts", "precision", right, fired) | bar,
        {
            **_head(), "case": f"all samples, {len(late)} recognised, first frame to decision",
            "ours": "median", "value_ours": median, "peer": "at most", "value_peer": LATEST_FRAMES,
            "unit": "frames", "ratio": LATEST_FRAMES / max(median, 1.0),
        } | bar,
    ]  # fmt: skip
    return rows


def search_rows(seed: int) -> list[Row]:
    """Run the search of the whole program once; the share of targets that were found again."""
    from live import run_experiment
    from live.experiment.loading import load_experiment

    settings = load_experiment("rare-object")
    # a busy machine must not make the cells older while the stage is on its way
    rig = settings.rig.model_copy(update={"seed": seed, "clock": "frames"})
    with tempfile.TemporaryDirectory() as folder:
        report = run_experiment(settings.model_copy(update={"rig": rig}), out=Path(folder, "run"))
    truth = dict(report.truth or {})
    count, close = int(truth.get("revisits", 0)), float(truth.get("revisits_close", 0.0))
    off_um = truth.get("revisits_off_um")
    case = f"search, seed {seed}: {count} revisits, median {off_um or float('nan'):.1f} um off"
    return [
        {
            **_head(), "case": case, "ours": "within 5 um", "value_ours": close,
            "peer": "at least", "value_peer": LEAST_FOUND, "unit": "share",
            "ratio": close / LEAST_FOUND, "bar": 1.0,
        }
    ]  # fmt: skip


def _seed_row(one: MitosisRun) -> Row:
    s = one.score
    case = (
        f"seed {one.seed}, {one.frames} frames: {s.divisions} divisions, {s.unseen} unseen, "
        f"{s.at_border} cut; {s.recognised} recognised, {s.fired_right} of {s.fired} bursts right"
    )
    return _row(case, "recall", s.countable_recognised, s.countable)


def _row(case: str, what: str, part: int, whole: int) -> Row:
    share = part / whole if whole else 0.0
    return {
        **_head(), "case": case, "ours": what, "value_ours": share,
        "peer": "at least", "value_peer": LEAST, "unit": "share", "ratio": share / LEAST,
    }  # fmt: skip


def _head() -> Row:
    machine = platform.processor() or platform.machine()
    return {"bench": "smart", "machine": f"{machine}, {os.cpu_count()} cores"}


def main() -> None:
    """Mitosis alone, on samples of one's own choice."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--frames", type=int, default=FRAMES)
    given = parser.parse_args()
    for row in mitosis_rows(given.seeds, given.frames):
        print(f"{row['case']}: {row['ours']} {row['value_ours']:.3f}")


if __name__ == "__main__":
    main()
