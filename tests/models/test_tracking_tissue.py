"""Links and divisions of a real packed tissue, from points alone, as published frame by frame."""

from pathlib import Path

import numpy as np
import pytest

from models.result import OBJECT_DTYPE, ImageContext
from models.settings import TrackSettings
from models.tracking import Tracker

TABLE = Path(__file__).parents[3] / "shared" / "data" / "track" / "epidermis_points_R1.csv"
Edge = tuple[tuple[int, int], tuple[int, int]]

pytestmark = pytest.mark.slow


def scores(areas: bool, drop: float = 0.0, mirror: bool = False) -> tuple[float, float]:
    """F1 of all links, and of those from a mother to her daughters."""
    if not TABLE.is_file():
        pytest.skip("needs the tissue table beside the repository")
    rows = np.genfromtxt(TABLE, delimiter=",", names=True)
    mother = dict(zip(rows["track_id"].astype(int), rows["parent_id"].astype(int), strict=True))
    rows = rows[np.random.default_rng(0).random(len(rows)) >= drop]
    tracker, last, told, true = Tracker(TrackSettings()), {}, {}, {}
    where: dict[int, tuple[int, int]] = {}
    for frame in range(int(rows["frame"].max()) + 1):
        now = rows[rows["frame"] == frame]
        table = np.zeros(len(now), dtype=OBJECT_DTYPE)
        table["label"] = np.arange(1, len(now) + 1)
        table["y_px"] = now["y"]
        table["x_px"] = 450 - now["x"] if mirror else now["x"]
        table["area_px"] = now["area_px"] if areas else 0
        update = tracker.update(table, None, ImageContext(frame, float(frame)))
        cells = now["track_id"].astype(int).tolist()
        for cell, track, parent in zip(cells, update.track_id, update.parent_id, strict=True):
            here = (frame, cell)
            if int(track) in last:
                told[last[int(track)], here] = False
            elif parent:
                told[last[int(parent)], here] = True
            before = cell if cell in where else mother[cell]
            if before in where:
                true[where[before], here] = before != cell
        last |= {int(t): (frame, c) for t, c in zip(update.track_id, cells, strict=True)}
        where |= {cell: (frame, cell) for cell in cells}
    return f1(set(told), set(true)), f1(
        {edge for edge in told if told[edge]}, {edge for edge in true if true[edge]}
    )


def f1(told: set[Edge], true: set[Edge]) -> float:
    """Twice those in both over the sum of both."""
    return 2 * len(told & true) / (len(told) + len(true))


@pytest.mark.parametrize("mirror", [False, True], ids=["as it is", "mirrored"])
@pytest.mark.parametrize(
    ("areas", "links", "divisions"), [(True, 0.965, 0.79), (False, 0.965, 0.75)]
)
def test_packed_tissue(areas: bool, links: float, divisions: float, mirror: bool) -> None:
    found = scores(areas, mirror=mirror)
    assert found[0] > links
    assert found[1] > divisions


def test_packed_tissue_with_a_twentieth_missing() -> None:
    found = scores(areas=True, drop=0.05)
    assert found[0] > 0.94
    assert found[1] > 0.7
