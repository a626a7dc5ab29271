"""A picture of what is right and wrong: outlines over the image, coloured by what became of each.

Solid outlines are predicted, dashed ones true. Colours are those of Okabe and Ito, which people
with any kind of colour vision tell apart, on a grey image. An object that has a part in a merge
or a split has that colour first, so that the picture shows every merge and split that is counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from live.display.contrast import robust_levels, sample_of, to_grey
from models.scoring.instances import InstanceScores, fates

Picture = NDArray[np.uint8]


class Kind(IntEnum):
    """What became of an object; the number is its place in ``COLOURS``."""

    NONE = 0
    RIGHT = 1
    MISSED = 2
    FALSE = 3
    SPLIT = 4
    MERGED = 5


COLOURS: Final = {
    Kind.RIGHT: (255, 255, 255),
    Kind.MISSED: (230, 110, 20),
    Kind.FALSE: (86, 180, 233),
    Kind.SPLIT: (240, 228, 66),
    Kind.MERGED: (204, 110, 180),
}
BACKGROUND: Final = (15, 18, 21)
TEXT: Final = (219, 226, 234)
DIM: Final = (150, 160, 172)
_TINT: Final = 0.35
"""How much of its colour covers an object that is wrong."""
_LEAST_SIDE: Final = 900
_MOST_SIDE: Final = 2400
_LEAST_WIDTH: Final = 820
"""Room for the legend."""
_MARGIN: Final = 12


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One image, drawn."""

    name: str
    scores: InstanceScores
    picture: Picture  # (y, x, 3)


def draw(
    pred: NDArray[np.integer[Any]],
    truth: NDArray[np.integer[Any]],
    image: NDArray[Any] | None = None,
    *,
    side: int = 0,
) -> Picture:
    """Outlines over an image, coloured by what became of each object at an IoU of 0.5.

    Parameters
    ----------
    pred, truth
        (y, x) label images.
    image
        (y, x) of any real dtype, the same size; None draws on the areas of the true objects.
    side
        Length of the longer side of the picture in pixels; 0 keeps the size of the image, but
        enlarges small ones and shrinks those beyond 2400 pixels.

    Returns
    -------
    NDArray[np.uint8]
        (rows, columns, 3) RGB.
    """
    longest = max(pred.shape)
    if not side:
        side = min(longest * math.ceil(_LEAST_SIDE / longest), _MOST_SIDE)
    found = fates(pred, truth)
    pred_kind = np.where(found.pred_right, Kind.RIGHT, Kind.FALSE)
    pred_kind[found.pred_split] = Kind.SPLIT
    pred_kind[found.pred_merged] = Kind.MERGED
    true_kind = np.where(found.true_found, Kind.NONE, Kind.MISSED)
    true_kind[found.true_split] = Kind.SPLIT
    true_kind[found.true_merged] = Kind.MERGED
    rows, columns = (max(round(n * side / longest), 1) for n in pred.shape)
    taken = np.ix_(
        np.arange(rows) * pred.shape[0] // rows, np.arange(columns) * pred.shape[1] // columns
    )
    of_pred = _spread(pred, found.pred_labels, pred_kind)[taken]
    of_true = _spread(truth, found.true_labels, true_kind)[taken]
    pred, truth = pred[taken], truth[taken]
    canvas = np.repeat(_ground(image, truth)[:, :, None], 3, axis=2)
    kinds = np.array([(0, 0, 0), *COLOURS.values()], np.float32)
    area = np.where(of_pred > Kind.RIGHT, of_pred, 0)
    area = np.where((area == 0) & (of_true == Kind.MISSED), of_true, area)
    wrong = area > 0
    canvas[wrong] = (1 - _TINT) * canvas[wrong] + _TINT * kinds[area[wrong]]
    width = 2 if side >= 600 else 1
    dash = (np.arange(rows)[:, None] + 2 * np.arange(columns)[None, :]) // (5 * width) % 2 == 0
    for labels, kind, where in ((truth, of_true, dash), (pred, of_pred, np.True_)):
        line = _rim(labels, width) & (kind > 0) & where
        canvas[line] = kinds[kind[line]]
    return canvas.astype(np.uint8)


def page(tile: Tile) -> Image.Image:
    """A tile with its name, its scores and a legend; formulas are named."""
    rows, columns = tile.picture.shape[:2]
    width = max(columns, _LEAST_WIDTH) + 2 * _MARGIN
    paper = Image.new("RGB", (width, rows + 108), BACKGROUND)
    _heading(paper, tile.name, tile.scores)
    paper.paste(Image.fromarray(tile.picture), ((width - columns) // 2, 58))
    _legend(paper, tile.scores, rows + 58 + 10)
    return paper


def sheet(tiles: list[Tile], title: str, scores: InstanceScores, columns: int = 4) -> Image.Image:
    """Several tiles on one page, under the scores and the legend of all images.

    ``scores`` are those of all images, not only of the ones shown.
    """
    columns = min(columns, len(tiles))
    cell = max(max(tile.picture.shape[:2]) for tile in tiles)
    tall = max(tile.picture.shape[0] for tile in tiles) + 40
    rows = math.ceil(len(tiles) / columns)
    width = max(columns * (cell + _MARGIN) + _MARGIN, _LEAST_WIDTH + 2 * _MARGIN)
    paper = Image.new("RGB", (width, 58 + rows * tall + 50), BACKGROUND)
    _heading(paper, title, scores)
    for number, tile in enumerate(tiles):
        x = _MARGIN + number % columns * (cell + _MARGIN)
        y = 58 + number // columns * tall
        paper.paste(Image.fromarray(tile.picture), (x, y + 34))
        write_line(paper, (x, y), tile.name, 13, TEXT, cell)
        first = tile.scores.at[0]
        counts = f"found {first.true}, missed {first.missed}, false {first.false}, " + (
            f"split {tile.scores.split}, merged {tile.scores.merged}"
        )
        write_line(paper, (x, y + 16), f"AP@{first.iou:g} {first.ap:.3f}   {counts}", 12, DIM, cell)
    _legend(paper, scores, 58 + rows * tall + 10)
    return paper


def _heading(paper: Image.Image, title: str, scores: InstanceScores) -> None:
    room = paper.width - 2 * _MARGIN
    write_line(paper, (_MARGIN, 8), title, 17, TEXT, room)
    shown = [one for one in scores.at if one.iou in (0.5, 0.75, 0.9)] or list(scores.at[:1])
    aps = "   ".join(f"AP@{one.iou:g} {one.ap:.3f}" for one in shown)
    first = scores.at[0]
    more = f"F1 {first.f1:.3f}   PQ {first.panoptic:.3f}"
    line = f"{aps}   {more}      AP = TP / (TP + FP + FN)"
    write_line(paper, (_MARGIN, 32), line, 14, DIM, room)


def _legend(paper: Image.Image, scores: InstanceScores, y: int) -> None:
    first = scores.at[0]
    counts = {
        Kind.RIGHT: ("found", first.true),
        Kind.MISSED: ("missed", first.missed),
        Kind.FALSE: ("false", first.false),
        Kind.SPLIT: ("split", scores.split),
        Kind.MERGED: ("merged", scores.merged),
    }
    pen = ImageDraw.Draw(paper)
    x = float(_MARGIN)
    for kind, (word, count) in counts.items():
        colour = COLOURS[kind]
        fill = tuple(round(_TINT * c + 20) for c in colour) if kind != Kind.RIGHT else BACKGROUND
        pen.rectangle((x, y + 1, x + 15, y + 16), fill=fill, outline=colour, width=2)
        if kind == Kind.MISSED:  # drawn as what is true is drawn
            for gap in (4, 10):
                pen.rectangle((x + gap, y + 1, x + gap + 2, y + 16), fill=fill)
        words = f"{word} {count}"
        pen.text((x + 22, y), words, fill=TEXT, font=font_of(14))
        x += 22 + font_of(14).getlength(words) + 22
    how = "solid: predicted, dashed: true; a merge shows first, then a split, then the rest"
    write_line(paper, (_MARGIN, y + 22), f"at IoU {first.iou:g}; {how}", 12, DIM, paper.width)


def write_line(
    paper: Image.Image, at: tuple[int, int], words: str, size: int,
    colour: tuple[int, int, int], room: int,
) -> None:  # fmt: skip
    """Write a line; the middle of one that is too long gives way."""
    font = font_of(size)
    shown, keep = words, len(words)
    while font.getlength(shown) > room and keep > 8:
        keep -= 1
        shown = f"{words[: keep // 2]}...{words[-(keep - keep // 2) :]}"
    ImageDraw.Draw(paper).text(at, shown, fill=colour, font=font)


@cache
def font_of(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of pictures, ``size`` pixels high."""
    return ImageFont.load_default(size)


def _ground(image: NDArray[Any] | None, truth: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Grey of the size of ``truth``, dim enough that white lines stand out."""
    if image is None:
        return np.where(truth > 0, np.float32(75), np.float32(22))
    grey = to_grey(image, robust_levels(sample_of(image)))
    shrinks = truth.shape[0] < image.shape[0]
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    scaled = Image.fromarray(grey).resize(truth.shape[::-1], how)
    return np.asarray(scaled, np.float32) * np.float32(0.8)


def _spread(
    labels: NDArray[np.integer[Any]], numbers: NDArray[np.int64], kinds: NDArray[Any]
) -> NDArray[np.uint8]:
    """The kind of the object that each pixel belongs to; 0 outside."""
    out = np.zeros(labels.shape, np.uint8)
    inside = labels > 0
    out[inside] = kinds[np.searchsorted(numbers, labels[inside])]
    return out


def _rim(labels: NDArray[np.integer[Any]], width: int) -> NDArray[np.bool_]:
    """Pixels of objects within ``width`` of another label or of background, along an axis."""
    rim = np.zeros(labels.shape, np.bool_)
    for step in range(1, width + 1):
        differs = labels[step:] != labels[:-step]
        rim[step:] |= differs
        rim[:-step] |= differs
        differs = labels[:, step:] != labels[:, :-step]
        rim[:, step:] |= differs
        rim[:, :-step] |= differs
    return rim & (labels > 0)
