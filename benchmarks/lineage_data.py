"""Movies whose lineages are known, as detections and true links, and how a linker is scored.

A link goes from a spot, an object of one frame, to a spot of a later one. What a linker says is a
set of links, and so is the truth: from each cell to where it, or its mother, was last seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.simulated.optics import BASE_EXPOSURE_MS, BASE_PIXEL_UM, View, label_image
from drivers.simulated.scene import Scene
from drivers.simulated.settings import SimulatedSettings
from live.tracks.ctc import read_table
from models.result import OBJECT_DTYPE, ImageContext
from models.settings import TrackSettings
from models.tasks.measure import compact, measure
from models.tracking import Tracker

SHARED: Final = Path(__file__).parents[2] / "shared" / "data" / "track"
ECOLI: Final = SHARED / "ecoli_early"
EPIDERMIS: Final = SHARED / "epidermis_points_R1.csv"
SMALL_ECOLI: Final = Path(__file__).parents[1] / "tests" / "data" / "ecoli"
"""Twelve frames of the same colony, which travel with the source."""

SMALLEST_PX: Final = 20.0
"""Areas below are unknown ones."""
UNKNOWN: Final = 30.0
"""Age of a cell that was there from the beginning; frames."""
FAR: Final = 99.0

Spot: TypeAlias = tuple[int, int]
"""Frame, and row of its object table."""
Links: TypeAlias = frozenset[tuple[Spot, Spot]]
Table: TypeAlias = NDArray[np.void]
Reals: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Movie:
    """What every linker is given, and what it should say."""

    tables: list[Table]
    """Objects of each frame, of ``OBJECT_DTYPE``."""
    labels: list[NDArray[np.int32]] | None
    """(y, x) label image of each frame; None where there are only points."""
    truth: Links

    def places(self, frame: int) -> Reals:
        """(n, 2) y, x of the objects of a frame, px."""
        table = self.tables[frame]
        return np.stack([table["y_px"], table["x_px"]], axis=1).astype(np.float64)

    def spacing_px(self) -> float:
        """Median distance from an object to its nearest neighbour."""
        nearest = []
        for frame in range(len(self.tables)):
            far = distances(self.places(frame), self.places(frame))
            np.fill_diagonal(far, np.inf)
            nearest.append(far.min(axis=1, initial=np.inf))
        every = np.concatenate(nearest)
        return float(np.median(every[np.isfinite(every)]))


def ecoli(folder: Path) -> Movie:
    """A folder of the Cell Tracking Challenge's layout, with its true masks."""
    truth = folder / "01_GT" / "TRA"
    tracks = read_table(truth / "man_track.txt")
    files = sorted(truth.glob("man_track*.tif"))
    labels = [tifffile.imread(file).astype(np.int32) for file in files]
    return _from_labels(labels, {track.number: track.parent for track in tracks})


def epidermis(file: Path = EPIDERMIS) -> Movie:
    """Cells of a packed tissue, as points with areas."""
    rows = np.genfromtxt(file, delimiter=",", names=True)
    cells, tables = [], []
    for frame in range(int(rows["frame"].max()) + 1):
        now = rows[rows["frame"] == frame]
        table = np.zeros(len(now), dtype=OBJECT_DTYPE)
        table["label"] = np.arange(1, len(now) + 1)
        table["y_px"], table["x_px"], table["area_px"] = now["y"], now["x"], now["area_px"]
        tables.append(table)
        cells.append(now["track_id"].astype(np.int64))
    ids, parents = rows["track_id"].astype(int).tolist(), rows["parent_id"].astype(int).tolist()
    return Movie(tables, None, true_links(cells, dict(zip(ids, parents, strict=True))))


def simulated(seed: int, frames: int, interval_s: float) -> Movie:
    """The simulated living sample at 512 x 512, with the outlines that it really has."""
    scene = Scene(SimulatedSettings(seed=seed, clock="frames", seconds_per_frame=interval_s))
    view = View(0.0, 0.0, 0.0, BASE_PIXEL_UM, (512, 512), "DAPI", BASE_EXPOSURE_MS)
    images = []
    for _ in range(frames):
        _, exposure = scene.expose(view, lit=False)  # outlines need no light
        images.append(label_image(exposure.cells, exposure.view))
    mother = {cell: one.mother for one in scene.divisions() for cell in one.daughters}
    return _from_labels(images, mother)


def true_links(cells: Iterable[NDArray[Any]], mother: Mapping[int, int]) -> Links:
    """From each cell to where it, or its mother, was last seen.

    Parameters
    ----------
    cells
        Cell of each row of each frame.
    mother
        Mother of a cell, 0 for one without.
    """
    links: set[tuple[Spot, Spot]] = set()
    where: dict[int, Spot] = {}
    for frame, rows in enumerate(cells):
        now = {cell: (frame, row) for row, cell in enumerate(rows.tolist())}
        for cell, here in now.items():
            before = cell if cell in where else mother.get(cell, 0)
            if before in where:
                links.add((where[before], here))
        where |= now
    return frozenset(links)


def pasts(movie: Movie) -> list[Reals]:
    """True past of the cells of each frame.

    Returns
    -------
    For each frame (n, 5): age since the last division, frames; logarithm of growth since the frame
    before; move since then in y and x, px; distance to the sister, px, `FAR` where there is none.
    """
    before = {later: earlier for earlier, later in movie.truth}
    children: dict[Spot, list[Spot]] = {}
    for earlier, later in sorted(movie.truth):
        children.setdefault(earlier, []).append(later)
    past: list[Reals] = []
    sister: dict[Spot, Spot] = {}
    for frame in range(len(movie.tables)):
        place, area = movie.places(frame), movie.tables[frame]["area_px"]
        known = np.tile([UNKNOWN, 0.0, 0.0, 0.0, FAR], (len(place), 1))
        for row in range(len(place)):
            here, came = (frame, row), before.get((frame, row))
            if came is None:
                continue
            if len(children[came]) > 1:
                known[row, 0] = 0
                sister[here] = next(one for one in children[came] if one != here)
            else:
                known[row, 0] = min(past[-1][came[1], 0] + 1, UNKNOWN)
                was = max(float(movie.tables[frame - 1]["area_px"][came[1]]), SMALLEST_PX)
                known[row, 1] = np.log(max(float(area[row]), SMALLEST_PX) / was)
                known[row, 2:4] = place[row] - movie.places(frame - 1)[came[1]]
                hers = children.get(sister[came], []) if came in sister else []
                if len(hers) == 1:  # she did not divide since
                    sister[here] = hers[0]
            if here in sister:
                known[row, 4] = np.hypot(*(place[row] - place[sister[here][1]]))
        past.append(known)
    return past


def ours(movie: Movie) -> Links:
    """The program's tracker, as it publishes each frame before it sees the next."""
    tracker, links = Tracker(TrackSettings()), set()
    last: dict[int, Spot] = {}
    for frame, table in enumerate(movie.tables):
        labels = None if movie.labels is None else movie.labels[frame]
        update = tracker.update(table, labels, ImageContext(frame, float(frame)))
        now = {track: (frame, row) for row, track in enumerate(update.track_id.tolist())}
        for here, parent in zip(now.items(), update.parent_id.tolist(), strict=True):
            before = last.get(here[0], last.get(parent))
            if before is not None:
                links.add((before, here[1]))
        last |= now
    return frozenset(links)


def largest_overlap(movie: Movie) -> Links:
    """Each object comes from the one before that it shares most pixels with; two are daughters."""
    links: set[tuple[Spot, Spot]] = set()
    labels = movie.labels or []
    for frame in range(1, len(labels)):
        old, new = labels[frame - 1], labels[frame]
        rows = [
            {label: row for row, label in enumerate(movie.tables[k]["label"].tolist())}
            for k in (frame - 1, frame)
        ]
        both = (old > 0) & (new > 0)
        pairs, shared = np.unique(
            np.stack([new[both], old[both]], axis=1), axis=0, return_counts=True
        )
        most: dict[int, tuple[int, int]] = {}
        for (now, before), count in zip(pairs.tolist(), shared.tolist(), strict=True):
            most[now] = max(most.get(now, (0, 0)), (count, before))
        for now, (_, before) in most.items():
            links.add(((frame - 1, rows[0][before]), (frame, rows[1][now])))
    return frozenset(links)


def link_f1(told: Links, true: Links) -> float:
    """Twice the links in both over the sum of both, those to daughters with the others."""
    return _f1(told, true)


def division_f1(told: Links, true: Links) -> float:
    """The same of divisions: right is the mother, in the right frame, with both daughters."""
    return _f1(divisions(told), divisions(true))


def division_link_f1(told: Links, true: Links) -> float:
    """The same of the links from mothers to daughters."""
    return _f1(*({(m, d) for m, both in divisions(x) for d in both} for x in (told, true)))


def divisions(links: Links) -> set[tuple[Spot, frozenset[Spot]]]:
    """Spots that become several in one frame, and those."""
    after: dict[tuple[Spot, int], set[Spot]] = {}
    for mother, daughter in links:
        after.setdefault((mother, daughter[0]), set()).add(daughter)
    return {(mother, frozenset(both)) for (mother, _), both in after.items() if len(both) > 1}


MEASURES: Final[dict[str, Callable[[Links, Links], float]]] = {
    "link F1": link_f1,
    "division F1": division_f1,
    "division-link F1": division_link_f1,
}


def distances(a: Reals, b: Reals) -> Reals:
    """(n, m) between places (n, 2) and places (m, 2)."""
    far: Reals = np.hypot(*(a[:, None] - b[None]).transpose(2, 0, 1))
    return far


def _f1(told: Any, true: Any) -> float:
    return 2 * len(told & true) / max(len(told) + len(true), 1)


def _from_labels(images: list[NDArray[np.int32]], mother: Mapping[int, int]) -> Movie:
    """A movie of label images that hold the number of the cell at each pixel."""
    cells = [np.unique(image[image > 0]) for image in images]
    labels = [compact(image) for image in images]  # in the same order
    tables = [
        measure(
            image, image.astype(np.uint16), np.ones(len(rows), np.float32), ImageContext(k, 0.0)
        )
        for k, (image, rows) in enumerate(zip(labels, cells, strict=True))
    ]
    return Movie(tables, labels, true_links(cells, mother))
