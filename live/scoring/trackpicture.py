"""A picture of what is right and wrong in tracks: true family trees beside the ones found.

Each true family has the families found at its place to the right of it, in the same order from
the top, so that trees look alike where they are. The families with the most errors come first.
Colours are those of Okabe and Ito, as in the pictures of label images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from live.picturefile import save_whole
from live.scoring.picture import BACKGROUND, COLOURS, DIM, TEXT, Kind, font_of, write_line
from live.tracks.picture import (
    DIVISION,
    HEAD,
    LINE,
    MARGIN,
    Colour,
    Column,
    Trees,
    draw_axis,
    draw_diamond,
    draw_family,
    fitting,
    row_height,
    span_of,
)
from live.tracks.tree import Family, Wood
from models.scoring import Fate, Forest, TrackComparison, TrackScores

_WIDTH: Final = 1500
_FOOT: Final = 62
MISSED: Final = COLOURS[Kind.MISSED]
FALSE: Final = COLOURS[Kind.FALSE]
OTHER: Final = COLOURS[Kind.SPLIT]
OTHER_DAUGHTERS: Final = COLOURS[Kind.MERGED]


def write_track_picture(
    compared: TrackComparison, target: Path, title: str, seg: float = math.nan
) -> list[str]:
    """Write the picture of a comparison as PNG; blocks, and leaves nothing half done.

    Returns
    -------
    list[str]
        What was written, in a sentence.

    Raises
    ------
    UsageError
        When ``target`` is no PNG or cannot be written.
    """
    target = save_whole(target, lambda: draw_tracks(compared, title, seg))
    return [f"picture in {target}"]


def draw_tracks(compared: TrackComparison, title: str, seg: float = math.nan) -> Image.Image:
    """True trees beside the ones found, the families with the most errors first.

    Parameters
    ----------
    compared
        Scores, and what became of each object, link and division.
    title
        First line of the picture.
    seg
        SEG, where it is known.
    """
    true = _trees(compared.true, MISSED)
    result = _trees(compared.result, FALSE)
    woods = Wood(true.before), Wood(result.before)
    groups = _groups(compared, *woods)
    shown = groups[: fitting(np.array([one.rows for one in groups], np.int64))]
    step = row_height(sum(one.rows for one in shown))
    tall = HEAD + math.ceil(sum(one.rows + 1 for one in shown) * step) + _FOOT
    paper = Image.new("RGB", (_WIDTH, tall), BACKGROUND)
    pen = ImageDraw.Draw(paper)
    write_line(paper, (MARGIN, 8), title, 17, TEXT, _WIDTH - 2 * MARGIN)
    write_line(paper, (MARGIN, 32), _measures(compared.scores, seg), 14, DIM, _WIDTH)
    span = span_of(true.frame, result.frame)
    columns = Column(0, _WIDTH // 2, *span), Column(_WIDTH // 2, _WIDTH // 2, *span)
    for column, word in zip(columns, ("true", "found"), strict=True):
        draw_axis(paper, column, HEAD - 4, word)
    y = float(HEAD)
    for group in shown:
        trees = _lay_out(group, compared.result, len(true.frame), woods)
        for column, side, families in zip(columns, (true, result), trees, strict=True):
            top = y
            for family in families:
                draw_family(paper, column, side, family, top, step)
                top += family.rows * step
        y += (group.rows + 1) * step
        pen.line((MARGIN, y - step / 2, _WIDTH - MARGIN, y - step / 2), fill=(38, 43, 48))
    pen.line((_WIDTH // 2, 60, _WIDTH // 2, y), fill=(38, 43, 48))
    _legend(paper, compared.scores, tall - _FOOT + 10)
    write_line(paper, (MARGIN, tall - 22), _caption(groups, shown), 12, DIM, _WIDTH - 2 * MARGIN)
    return paper


@dataclass(frozen=True, slots=True)
class _Group:
    """A true family and those found in its place."""

    true: int
    """Its number; 0 for one found where none is."""
    found: tuple[int, ...]
    rows: int
    errors: int
    size: int


def _trees(forest: Forest, wrong: Colour) -> Trees:
    colours = {
        int(Fate.WRONG): wrong,
        int(Fate.OTHER_KIND): OTHER,
        Fate.WRONG + DIVISION: wrong,
        Fate.OTHER_KIND + DIVISION: OTHER_DAUGHTERS,
    }
    return Trees(
        forest.frame, forest.number.astype(np.int64), forest.before, forest.found, forest.link,
        forest.division, colours,
    )  # fmt: skip


def _groups(compared: TrackComparison, true: Wood, result: Wood) -> list[_Group]:
    """Families that belong together; those with the most errors first, then the largest."""
    at_true, at_result = (np.searchsorted(w.roots, w.lineage) for w in (true, result))
    partner = compared.result.partner
    met = np.flatnonzero(partner >= 0)
    pairs = np.stack((at_result[met], at_true[partner[met]]), axis=1)
    home = np.full(len(result.roots), -1, np.int64)
    unique, shared = np.unique(pairs, axis=0, return_counts=True)
    few_first = np.argsort(shared, kind="stable")
    home[unique[few_first, 0]] = unique[few_first, 1]
    errors = [
        np.bincount(at, weights=_errors(forest), minlength=len(wood.roots))
        for at, forest, wood in (
            (at_true, compared.true, true), (at_result, compared.result, result),
        )
    ]  # fmt: skip
    inside: dict[int, list[int]] = {}
    for one, place in enumerate(home.tolist()):
        inside.setdefault(place, []).append(one)
    rows = true.rows(), result.rows()
    sizes = true.sizes(), result.sizes()
    groups = [
        _Group(
            int(true.roots[one]), tuple(int(result.roots[f]) for f in inside.get(one, ())),
            max(int(rows[0][one]), int(rows[1][inside.get(one, [])].sum())),
            int(errors[0][one] + errors[1][inside.get(one, [])].sum()), int(sizes[0][one]),
        )
        for one in range(len(true.roots))
    ]  # fmt: skip
    groups += [
        _Group(0, (int(result.roots[f]),), int(rows[1][f]), int(errors[1][f]), int(sizes[1][f]))
        for f in inside.get(-1, [])
    ]
    return sorted(groups, key=lambda one: (-one.errors, -one.size, one.true))


def _errors(forest: Forest) -> NDArray[np.int64]:
    """Number of errors at each object."""
    kinds = (forest.found, forest.link, forest.division)
    return np.asarray(sum((kind >= Fate.WRONG).astype(np.int64) for kind in kinds))


def _lay_out(
    group: _Group, found: Forest, count: int, woods: tuple[Wood, Wood]
) -> tuple[list[Family], list[Family]]:
    """True families and found ones, these in the order of what they follow."""
    rows = np.full(count + 1, np.nan)  # the last entry: an object without partner
    families = []
    if group.true:
        families = [woods[0].family(group.true)]
        rows[families[0].members] = families[0].row
    rank = rows[found.partner]
    trees = [woods[1].family(root, rank) for root in group.found]

    def place(tree: Family) -> float:
        known = rank[tree.members]
        known = known[~np.isnan(known)]
        return float(known.mean()) if len(known) else math.inf

    return families, sorted(trees, key=place)


def _measures(scores: TrackScores, seg: float) -> str:
    values = {
        "TRA": scores.tra, "DET": scores.det, "LNK": scores.lnk, "SEG": seg,
        "division F1": scores.division_f1,
    }  # fmt: skip
    shown = [f"{name} {value:.4f}" for name, value in values.items() if not math.isnan(value)]
    return "   ".join(shown) + " (frame buffer 0)"


def _caption(groups: list[_Group], shown: list[_Group]) -> str:
    how = "a track's number is left of it; a thin grey line is a gap, or a link that is not counted"
    left = groups[len(shown) :]
    if not left:
        return how
    bad = sum(one.errors > 0 for one in left)
    count = sum(one.errors for one in left)
    return (
        f"the {len(shown)} worst of {len(groups)} families; of the others {bad} have {count} "
        f"errors in all, {len(left) - bad} none; {how}"
    )


def _legend(paper: Image.Image, scores: TrackScores, y: int) -> None:
    pen = ImageDraw.Draw(paper)
    lines = (
        ("link", ("right", LINE, scores.links_true), ("missed", MISSED, scores.links_missed),
         ("false", FALSE, scores.links_false), ("of another kind", OTHER, scores.links_other)),
        ("division", ("right", LINE, scores.divisions_true),
         ("missed", MISSED, scores.divisions_missed), ("false", FALSE, scores.divisions_false),
         ("other daughters", OTHER_DAUGHTERS, scores.divisions_other)),
        ("object", ("missed", MISSED, scores.objects_missed),
         ("false", FALSE, scores.objects_false), ("merged", OTHER, scores.objects_merged)),
    )  # fmt: skip
    x = float(MARGIN)
    for what, *entries in lines:
        pen.text((x, y), what, fill=TEXT, font=font_of(14))
        x += font_of(14).getlength(what) + 14
        for word, colour, count in entries:
            if what == "link":
                pen.line((x, y + 9, x + 18, y + 9), fill=colour, width=3)
            elif what == "object":
                pen.rectangle((x + 4, y + 4, x + 14, y + 14), outline=colour, width=2)
            elif word == "right":
                pen.ellipse((x + 5, y + 5, x + 13, y + 13), fill=colour)
            else:
                draw_diamond(pen, x + 9, y + 9, 7, colour)
            words = f"{word} {count}"
            pen.text((x + 24, y), words, fill=DIM, font=font_of(14))
            x += 24 + font_of(14).getlength(words) + 14
        x += 16
