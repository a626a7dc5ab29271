"""One long run in a process of its own: ``python -m benchmarks.endurance_run EXPERIMENT OUT``.

As ``parfocal run``, and with ``--window`` also with the window, drawn where no screen is needed.

The simulated sample remembers its divisions and where each of its cells was in some 20,000 frames,
to score a run at its end. That is memory of the sample, which no microscope has: it is cut short
here, or it would hide what the program itself keeps.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.endurance_watch import in_use_written
from live.processes.pastcaches import begin_past_caches

TRUTH_FRAMES = 300


def main(words: list[str]) -> int:
    """Run it; the exit code is that of the run."""
    from drivers.simulated import sample, truth
    from live.experiment.loading import load_experiment
    from live.session import run_experiment

    for name in ("_KEPT_FRAMES", "_KEPT_PLACES", "_KEPT_PICTURES", "_KEPT_CELLS"):
        setattr(truth, name, min(getattr(truth, name), TRUTH_FRAMES))
    sample._KEPT_DIVISIONS = TRUTH_FRAMES
    window = "--window" in words
    experiment, out = (word for word in words if not word.startswith("--"))
    with in_use_written(Path(f"{out}-in-use.txt")):
        report = run_experiment(
            load_experiment(experiment), out=Path(out), headless=not window, offscreen=window
        )
    for line in report.lines():
        sys.stdout.write(f"{line}\n")
    return int(report.exit_code)


if __name__ == "__main__":
    begin_past_caches()
    sys.exit(main(sys.argv[1:]))
