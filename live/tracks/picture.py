"""Family trees as pictures: time to the right, a line for each cell, a fork for each division."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from live.scoring.picture import BACKGROUND, DIM, TEXT, font_of, write_line
from live.tracks.lineage import Lineages
from live.tracks.tree import Family, Wood
from models.scoring import Fate

Colour = tuple[int, int, int]
LINE: Final = (214, 219, 224)
MARGIN: Final = 14
GUTTER: Final = 64
"""Room left of a tree for the number of its first track."""
MOST_ROWS: Final = 170
"""Rows on a page, unless one family alone has more."""
_TALLEST: Final = 6000
"""Pixels; families with more ends than fit are drawn closer than a pixel."""
HEAD: Final = 84


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """What is drawn of one set of tracks; arrays (n,), an entry an object, in order of time."""

    frame: NDArray[np.int32]
    number: NDArray[np.int64]
    """Of its track."""
    before: NDArray[np.int64]
    found: NDArray[np.uint8]
    """`Fate` of the object, of the link to ``before`` and of its division."""
    link: NDArray[np.uint8]
    division: NDArray[np.uint8]
    colours: dict[int, Colour] = field(default_factory=dict)
    """Fate -> colour of what is wrong."""


@dataclass(frozen=True, slots=True)
class Column:
    """The part of a page that time runs across."""

    left: int
    width: int
    first: int
    last: int

    def x(self, frame: float) -> float:
        """Where a frame is."""
        return (
            self.left
            + GUTTER
            + (frame - self.first) / max(self.last - self.first, 1) * (self.width - GUTTER - MARGIN)
        )


def draw_lineage(lineages: Lineages, title: str = "Lineages", *, width: int = 1100) -> Image.Image:
    """The family trees of a movie, those with the most divisions first.

    Parameters
    ----------
    lineages
        The tracks; objects without a track are left out.
    title
        First line of the picture.
    width
        Of the picture in pixels.

    Returns
    -------
    PIL.Image.Image
        RGB. Families beyond some 170 rows are counted, not drawn.
    """
    spots, before = lineages.spots, lineages.before
    branches = np.bincount(before[before >= 0], minlength=len(spots))
    count = len(spots)
    trees = Trees(
        spots["frame"], spots["track_id"], before,
        np.full(count, Fate.RIGHT, np.uint8),
        np.where(before >= 0, Fate.RIGHT, Fate.NONE).astype(np.uint8),
        np.where(branches > 1, Fate.RIGHT, Fate.NONE).astype(np.uint8),
    )  # fmt: skip
    wood = Wood(before)
    rows = wood.rows()
    tracked = spots["track_id"][wood.roots - 1] > 0
    order = np.lexsort((wood.roots, -wood.sizes(), -rows))
    order = order[tracked[order]]
    shown = order[: fitting(rows[order])]
    total = int(rows[shown].sum())
    step = row_height(total)
    paper = Image.new("RGB", (width, HEAD + math.ceil((total + len(shown)) * step) + MARGIN))
    paper.paste(BACKGROUND, (0, 0, *paper.size))
    write_line(paper, (MARGIN, 8), title, 17, TEXT, width - 2 * MARGIN)
    tracks = len(np.unique(spots["track_id"][spots["track_id"] > 0]))
    words = f"{tracks} tracks, {np.count_nonzero(branches > 1)} divisions, {len(order)} families"
    if len(shown) < len(order):
        words += f"; the {len(shown)} with the most divisions are drawn"
    write_line(paper, (MARGIN, 32), words, 14, DIM, width - 2 * MARGIN)
    column = Column(0, width, *span_of(trees.frame))
    draw_axis(paper, column, HEAD - 8)
    y = float(HEAD)
    for at in shown.tolist():
        family = wood.family(int(wood.roots[at]))
        draw_family(paper, column, trees, family, y, step)
        y += (family.rows + 1) * step
    return paper


def fitting(rows: NDArray[np.int64]) -> int:
    """How many families of so many rows go on a page, one at the least."""
    return max(int(np.searchsorted(np.cumsum(rows), MOST_ROWS, side="right")), min(len(rows), 1))


def row_height(rows: int) -> float:
    """Pixels between two rows."""
    return min(max(1500 / max(rows, 1), 8.0), 18.0, _TALLEST / max(rows, 1))


def span_of(*frames: NDArray[np.int32]) -> tuple[int, int]:
    """First and last frame of several sets of tracks; (0, 0) where there is none."""
    every = np.concatenate(frames)
    return (int(every.min()), int(every.max())) if len(every) else (0, 0)


def draw_axis(paper: Image.Image, column: Column, y: int, word: str = "frame") -> None:
    """Numbers of frames above a column, after a word in its corner."""
    pen = ImageDraw.Draw(paper)
    frames = column.last - column.first
    step = next(s * 10**p for p in range(9) for s in (1, 2, 5) if s * 10**p * 10 >= frames)
    for frame in range(math.ceil(column.first / step) * step, column.last + 1, step):
        x = column.x(frame)
        pen.line((x, y - 4, x, y), fill=DIM)
        pen.text((x, y - 6), str(frame), fill=DIM, font=font_of(12), anchor="ms")
    pen.text((column.left + MARGIN, y - 6), word, fill=TEXT, font=font_of(14), anchor="ls")


def draw_family(
    paper: Image.Image, column: Column, trees: Trees, family: Family, top: float, step: float
) -> None:
    """One tree, its first row ``step`` / 2 below ``top``; what is wrong has its colour."""
    pen = ImageDraw.Draw(paper)
    members = family.members
    row = dict(zip(members.tolist(), (top + (family.row + 0.5) * step).tolist(), strict=True))
    x = {one: column.x(int(trees.frame[one])) for one in members.tolist()}
    thick = 3 if step >= 6 else 1
    wrong: list[int] = []
    for one in members.tolist():
        mother = int(trees.before[one])
        if mother < 0:
            continue
        if int(trees.link[one]) in trees.colours:
            wrong.append(one)
            continue
        skips = trees.frame[one] - trees.frame[mother] > 1
        plain = trees.link[one] == Fate.RIGHT and not skips
        points = (x[mother], row[mother], x[mother], row[one], x[one], row[one])
        pen.line(points, fill=LINE if plain else DIM, width=2 if plain and step >= 6 else 1)
    for one in wrong:  # over the others
        mother = int(trees.before[one])
        points = (x[mother], row[mother], x[mother], row[one], x[one], row[one])
        pen.line(points, fill=trees.colours[int(trees.link[one])], width=thick)
    size = min(max(step / 3, 1.5), 5.0)
    for one in members.tolist():
        alone = trees.before[one] < 0
        if int(trees.found[one]) in trees.colours:
            colour = trees.colours[int(trees.found[one])]
            pen.rectangle(_around(x[one], row[one], size), outline=colour, width=1)
        elif alone and trees.division[one] == Fate.NONE:
            pen.line((x[one], row[one] - size, x[one], row[one] + size), fill=LINE)
        fate = int(trees.division[one])
        if fate == Fate.RIGHT:
            pen.ellipse(_around(x[one], row[one], size * 0.7), fill=LINE)
        elif fate != Fate.NONE:
            draw_diamond(pen, x[one], row[one], size * 1.6, trees.colours[fate + DIVISION])
    first = members[0]
    if step >= 8:
        text = str(int(trees.number[first]))
        at = (x[int(first)] - 6, row[int(first)])
        pen.text(at, text, fill=DIM, font=font_of(11), anchor="rm")


DIVISION: Final = 10
"""Added to a fate, the key of the colour that it has in a division."""


def draw_diamond(pen: ImageDraw.ImageDraw, x: float, y: float, size: float, fill: Colour) -> None:
    """The mark of a division that is wrong."""
    corners = ((x - size, y), (x, y - size), (x + size, y), (x, y + size))
    pen.polygon(corners, fill=fill, outline=BACKGROUND)


def _around(x: float, y: float, size: float) -> tuple[float, float, float, float]:
    return (x - size, y - size, x + size, y + size)
