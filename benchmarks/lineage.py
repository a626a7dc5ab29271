"""Lineages: how many links and divisions are right, ours beside other linkers.

All get the same detections. Ours says of each frame what it publishes before it sees the next, and
never takes anything back; LapTrack and btrack see the whole movie first. The largest-overlap linker
needs masks; the others take the places of the centres, ours also the sizes and, where there are
masks, the shapes.

Peers are not handicapped: each is tried with three search radii, chosen out of eight between 0.25
and 3 times the usual distance of neighbours so that its best is among them, and each row takes the
radius that is best for that peer and that measure, as nobody could who does not know the truth.
None of them bridges gaps, as there are none. btrack runs with its optimiser, which finds divisions.
trackpy knows no divisions, so it has no row of them.

Bars stand on rows of ours alone, beside the number that was asked for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from benchmarks.lineage_data import (
    ECOLI,
    EPIDERMIS,
    MEASURES,
    SMALL_ECOLI,
    Links,
    Movie,
    ecoli,
    epidermis,
    largest_overlap,
    ours,
    simulated,
)
from benchmarks.machine import processor
from benchmarks.track import PEERS, run_peer, why_not
from live.experiment.loading import load_pipeline_settings
from live.infer import infer
from live.scoring.score import score

SEEDS: Final = 5
FRAMES: Final = 60
INTERVAL_S: Final = 1.0
"""Of the simulated sample, whose cells divide every 90 s: about 28 divisions in a movie."""
WITHOUT_DIVISIONS: Final = ("trackpy",)
ASKED: Final[dict[str, dict[str, float]]] = {
    "true masks": {"TRA": 0.995, "LNK": 0.97, "division_f1": 0.90},
    "own segmentation": {"LNK": 0.92, "division_f1": 0.80},
}
"""Of the E. coli movie, by the names that `ScoreReport.to_json` has."""
WAYS: Final = (("true masks", "threshold", True), ("own segmentation", "bacteria", False))
"""Pipeline, and whether it is given the masks; both track alike."""
LEAST: Final = 0.01
"""A peer with less is taken for one with this in ratios, which would have no end."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """What all linkers are held against."""

    name: str
    movies: Sequence[Movie]
    """Values are means over them."""
    asked: Mapping[str, float | None]
    """Measure -> what is asked of ours; None where nothing is."""
    reaches: tuple[float, ...]
    """Search radii of the peers, in distances of neighbours."""


def run(*, quick: bool = False) -> list[Row]:
    """Measure and return rows; ``quick`` leaves out peers, and takes little data."""
    folder = SMALL_ECOLI if quick or not ECOLI.is_dir() else ECOLI
    rows: list[Row] = []
    if folder.is_dir():
        name = f"E. coli, true masks, {len(list((folder / '01').glob('*.tif')))} frames"
        links = {"link F1": None, "division F1": None}
        rows += compared(Case(name, [ecoli(folder)], links, (1.4, 2.0, 3.0)), peers=not quick)
        rows += scored(folder, bars=folder == ECOLI)
    else:
        rows.append({"case": "E. coli", "left_out": f"needs {ECOLI}, or a checkout"})
    if EPIDERMIS.is_file():
        asked = {"link F1": 0.985, "division-link F1": 0.88}
        tissue = Case("epidermis, points", [epidermis()], asked, (0.7, 0.8, 0.9))
        rows += compared(tissue, peers=not quick)
    else:
        rows.append({"case": "epidermis", "left_out": f"needs {EPIDERMIS}"})
    seeds = 1 if quick else SEEDS
    movies = [simulated(seed, FRAMES, INTERVAL_S) for seed in range(seeds)]
    wanted = {"link F1": None, "division F1": None if quick else 0.90}
    cells = Case(f"simulated, true masks, {seeds} samples", movies, wanted, (0.5, 0.7, 1.0))
    rows += compared(cells, peers=not quick)
    machine = f"{processor()}, {os.cpu_count()} cores"
    return [{"bench": "lineage", **row, "machine": machine} for row in rows]


def compared(case: Case, *, peers: bool) -> list[Row]:
    """Rows of ours beside what is asked, the largest-overlap linker, and the peers."""
    mine = _means(case, [ours(movie) for movie in case.movies])
    rows = [
        _asked(case.name, measure, mine[measure], asked)
        for measure, asked in case.asked.items()
        if asked is not None
    ]
    others: dict[str, dict[str, tuple[float, str]]] = {}
    if all(movie.labels is not None for movie in case.movies):
        overlap = _means(case, [largest_overlap(movie) for movie in case.movies])
        others["largest overlap"] = {key: (value, "") for key, value in overlap.items()}
    for name in PEERS if peers else ():
        try:
            others[name] = best(case, peer_links(name, case))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            rows.append({"case": f"{case.name}, beside {name}", "left_out": why_not(error)})
    for name, values in others.items():
        for measure, (value, how) in values.items():
            if "division" in measure and name in WITHOUT_DIVISIONS:
                continue
            rows.append(
                {
                    "case": f"{case.name}, {measure}, beside {name}", "ours": "tracker",
                    "value_ours": mine[measure], "value_peer": value, "unit": "of 1",
                    "peer": PEERS.get(name, name).replace("==", " ") + how,
                    "ratio": mine[measure] / max(value, LEAST),
                }
            )  # fmt: skip
    return rows


def peer_links(name: str, case: Case) -> dict[float, list[Links]]:
    """Links of each movie, for each of the reaches at which the peer gave an answer."""
    answers: list[dict[float, Links]] = []
    for movie in case.movies:
        spacing = movie.spacing_px()
        found = run_peer(name, movie.tables, reach_px=[far * spacing for far in case.reaches])
        spots = [(k, row) for k, table in enumerate(movie.tables) for row in range(len(table))]
        answers.append(
            {
                far: frozenset((spots[a], spots[b]) for a, b in found[f"links_{k}"].tolist())
                for k, far in enumerate(case.reaches)
                if f"links_{k}" in found
            }
        )
    common = [far for far in case.reaches if all(far in answer for answer in answers)]
    if not common:
        raise ValueError(f"{name} gave no answer at any search radius")
    return {far: [answer[far] for answer in answers] for far in common}


def best(case: Case, told: Mapping[float, list[Links]]) -> dict[str, tuple[float, str]]:
    """Of each measure the best value, and the reach that it was got with."""
    means = {far: _means(case, links) for far, links in told.items()}
    chosen = {}
    for measure in case.asked:
        far = max(means, key=lambda one: means[one][measure])
        chosen[measure] = means[far][measure], f", reach {far:g} spacings"
    return chosen


def scored(folder: Path, *, bars: bool) -> list[Row]:
    """Scores of the program's own way over files, ``parfocal infer --movie``, then ``score``.

    Parameters
    ----------
    folder
        In the Cell Tracking Challenge's layout.
    bars
        Whether what is asked of the large movie is asked of this one.
    """
    truth = folder / "01_GT"
    rows: list[Row] = []
    for what, pipeline, masks in WAYS:
        case = f"E. coli, {what}, by files"
        if find_spec("traccuracy") is None:
            why = "needs traccuracy; install it with: pip install 'parfocal[score]'"
            rows.append({"case": case, "left_out": why})
            continue
        with tempfile.TemporaryDirectory() as scratch:
            out, settings = Path(scratch, "out"), load_pipeline_settings(pipeline)
            infer(
                [folder / "01"], settings, out, movie=True, masks=truth / "TRA" if masks else None
            )
            found = score(out, truth).to_json()
        for key, least in ASKED[what].items():
            measure = key.replace("_f1", " F1")
            rows.append(_asked(case, measure, found[key], least, bar=bars))
        within = found["division_f1_within_1"]
        measure = "division F1, a frame more or less"
        rows.append(_asked(case, measure, within, ASKED[what]["division_f1"], bar=False))
    return rows


def _means(case: Case, told: Sequence[Links]) -> dict[str, float]:
    pairs = [(links, movie.truth) for links, movie in zip(told, case.movies, strict=True)]
    return {key: fmean(MEASURES[key](*pair) for pair in pairs) for key in case.asked}


def _asked(case: str, measure: str, value: float, least: float, *, bar: bool = True) -> Row:
    row: Row = {
        "case": f"{case}, {measure}", "ours": "tracker", "value_ours": value, "unit": "of 1",
        "peer": "asked for", "value_peer": least, "ratio": value / least,
    }  # fmt: skip
    return {**row, "bar": 1.0} if bar else row


def main() -> None:
    """Print the rows as a table."""
    for row in run(quick="--quick" in sys.argv):
        if "left_out" in row:
            sys.stdout.write(f"{row['case']}: left out, {row['left_out']}\n")
            continue
        sys.stdout.write(
            f"{row['case']:62s} {row['value_ours']:.4f}   "
            f"{row['peer']:34s} {row['value_peer']:.4f}   x{row['ratio']:.3f}\n"
        )


if __name__ == "__main__":
    main()
