"""Pictures that show what an analysis saw, how sure it was and what drove it. Pillow alone.

One sheet an image: the image with what was found, the probability of every pixel, how confident
and how uncertain each object is, the least certain object with what its outline rests on, and
where a pipeline classifies, one object of each class with what drove the choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from live.display.outlines import edges_of
from models.result import PipelineResult

PANEL, GAP, HEAD, CAPTION = 400, 18, 92, 66
PAPER, INK, DIM, LINE, ALARM = "#0f1215", "#dbe2ea", "#8794a3", "#2a313a", "#ff9b6a"

RGB = NDArray[np.uint8]

# anchors of colour maps: two perceptually even ones, dark to bright (after viridis and inferno),
# and one from calm to alarming
GOOD = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
DOUBT = ((52, 96, 148), (120, 150, 150), (235, 200, 95), (245, 130, 60), (225, 45, 60))
HEAT = ((10, 8, 28), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))


@dataclass(frozen=True, slots=True, eq=False)
class ObjectView:
    """One object seen close by, with what an answer about it rests on. Arrays are (y, x)."""

    title: str
    image: NDArray[Any]
    mask: NDArray[np.bool_]
    map: NDArray[np.float32]
    """What the answer loses where a patch is covered."""
    unit: str
    """What the map says, with its range in words."""


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """All that a sheet shows of one image."""

    name: str
    pixels: NDArray[Any]
    """(y, x) camera counts."""
    probability: NDArray[np.float32]
    """(y, x) of any size: of being in an object."""
    result: PipelineResult
    engine: str
    """What ran, in words."""
    calibrated: bool
    """Whether a confidence is a probability to be right."""
    doubtful: ObjectView | None = None
    """The least certain object."""
    classed: Sequence[ObjectView] = ()
    """Objects with what drove their class."""


def sheet(of: Explained) -> Image.Image:
    """Draw the sheet of one image; RGB, the size depends only on what there is to show."""
    size = (GAP + 3 * (PANEL + GAP), _origin(0, 2 + (len(of.classed) + 2) // 3)[1] + GAP)
    page = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(page)
    _head(pen, of)
    objects, labels = of.result.objects, of.result.labels
    grey = grey_of(of.pixels)
    found = np.repeat(grey[..., None], 3, axis=2)
    found[edges_of(labels)] = (76, 194, 255)
    _panel(page, 0, 0, found, "Image and objects", "blue: outlines; yellow: centres")
    _centres(pen, objects, of.pixels.shape)
    _panel(page, 1, 0, coloured(of.probability, HEAT), "Probability of being in an object", "")
    _bar(page, 1, 0, HEAT, "0", "1", "for each pixel")
    known = "to match a true one (IoU 0.5)" if of.calibrated else "mean probability, uncalibrated"
    _panel(page, 2, 0, painted(grey, labels, objects["confidence"], GOOD), "Confidence", "")
    _bar(page, 2, 0, GOOD, "0", "1", known)
    uncertain = objects["uncertainty"]
    _panel(page, 0, 1, painted(grey, labels, uncertain, DOUBT), "Uncertainty", "")
    _bar(page, 0, 1, DOUBT, "0", "1", "1 - confidence x IoU with the flipped image")
    views: list[tuple[int, int, ObjectView]] = []
    if of.doubtful is not None:
        view = of.doubtful
        _panel(page, 1, 1, _close(view), view.title, "orange: its outline")
        _panel(page, 2, 1, _overlaid(view), "What its outline rests on", "")
        _bar(page, 2, 1, HEAT, "0", f"{_top(view):.2f}", view.unit)
    else:
        _empty(page, 1, 1, "no object in doubt")
    views = [(k % 3, 2 + k // 3, view) for k, view in enumerate(of.classed)]
    for column, row, view in views:
        both = np.concatenate(
            [_fit(_close(view), PANEL // 2), _fit(_overlaid(view), PANEL // 2)], 1
        )
        _panel(page, column, row, both, view.title, "")
        _bar(page, column, row, HEAT, "0", f"{_top(view):.2f}", view.unit)
    return page


def grey_of(pixels: NDArray[Any]) -> RGB:
    """Image (y, x) as 0 to 255, black at its 1st and white at its 99.8th percentile."""
    low, high = np.percentile(pixels[::2, ::2], (1.0, 99.8))
    scaled = (pixels.astype(np.float32) - low) / max(float(high - low), 1e-6)
    return np.asarray(np.clip(scaled, 0, 1) * 255, np.uint8)


def coloured(values: NDArray[Any], anchors: Sequence[tuple[int, int, int]]) -> RGB:
    """Numbers 0 to 1 as colours: (..., 3); what lies outside has the colour of the nearer end."""
    steps = np.linspace(0, 1, len(anchors))
    channels = [
        np.interp(np.asarray(values, np.float64), steps, [a[k] for a in anchors]) for k in range(3)
    ]
    return np.asarray(np.stack(channels, axis=-1) + 0.5, np.uint8)


def painted(
    grey: RGB,
    labels: NDArray[np.int32],
    values: NDArray[np.floating[Any]],
    anchors: Sequence[tuple[int, int, int]],
) -> RGB:
    """Image with every object in the colour of its value (n,); below 0 is left grey, not known."""
    table = np.zeros((len(values) + 1, 3), np.float32)
    table[1:] = coloured(values, anchors)
    known = np.zeros(len(values) + 1, bool)
    known[1:] = values >= 0
    dim = np.repeat(grey[..., None] * np.float32(0.45), 3, axis=2)
    inside = known[labels]
    shade = 0.55 + 0.45 * grey[..., None] / np.float32(255)
    out = np.where(inside[..., None], table[labels] * shade, dim)
    edges = edges_of(labels) & inside
    out[edges] = table[labels[edges]]
    return np.asarray(out, np.uint8)


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _head(pen: ImageDraw.ImageDraw, of: Explained) -> None:
    height, width = of.pixels.shape
    pen.text((GAP, 12), of.name, fill=INK, font=_font(22))
    n = len(of.result.objects)
    what = f"{width} x {height} px, {n} object{'s' if n != 1 else ''}; {of.engine}"
    pen.text((GAP, 42), what, fill=DIM, font=_font(14))
    verdict = of.result.verdict
    if verdict is None:
        pen.text((GAP, 64), "kind of image: not judged", fill=DIM, font=_font(15))
    elif verdict.unlike:
        words = f"UNLIKE what the model was trained on ({verdict.strangeness:.1f} x the limit): "
        pen.text((GAP, 64), words + verdict.reason, fill=ALARM, font=_font(15))
    else:
        words = f"of a known kind: strangeness {verdict.strangeness:.2f} (1 is the limit)"
        pen.text((GAP, 64), words, fill="#53d18a", font=_font(15))


def _origin(column: int, row: int) -> tuple[int, int]:
    full, flat = min(row, 2), max(row - 2, 0)
    y = HEAD + full * (PANEL + CAPTION) + flat * (PANEL // 2 + CAPTION)
    return GAP + column * (PANEL + GAP), y


def _tall(row: int) -> int:
    """Height of a panel; the rows of classes show two squares side by side."""
    return PANEL if row < 2 else PANEL // 2


def _panel(page: Image.Image, column: int, row: int, picture: RGB, title: str, key: str) -> None:
    x, y = _origin(column, row)
    pen = ImageDraw.Draw(page)
    pen.text((x, y), title, fill=INK, font=_font(15))
    tall = _tall(row)
    pen.rectangle((x - 1, y + 23, x + PANEL, y + 24 + tall), fill="black", outline=LINE)
    small = Image.fromarray(_fit(picture, PANEL))
    left, top = (PANEL - small.width) // 2, (tall - small.height) // 2
    page.paste(small, (x + left, y + 24 + top))
    if key:
        pen.text((x, y + 28 + tall), key, fill=DIM, font=_font(13))


def _empty(page: Image.Image, column: int, row: int, words: str) -> None:
    x, y = _origin(column, row)
    at = (x + PANEL // 2, y + PANEL // 2)
    ImageDraw.Draw(page).text(at, words, fill=DIM, font=_font(15), anchor="mm")


def _bar(
    page: Image.Image,
    column: int,
    row: int,
    anchors: Sequence[tuple[int, int, int]],
    low: str,
    high: str,
    unit: str,
) -> None:
    x, y = _origin(column, row)
    y += 32 + _tall(row)
    ramp = np.repeat(coloured(np.linspace(0, 1, 90), anchors)[None], 10, axis=0)
    pen = ImageDraw.Draw(page)
    pen.text((x, y - 4), low, fill=DIM, font=_font(13))
    page.paste(Image.fromarray(ramp), (x + 12, y))
    pen.text((x + 108, y - 4), high, fill=DIM, font=_font(13))
    pen.text((x + 146, y - 4), unit, fill=DIM, font=_font(13))


def _fit(picture: RGB, side: int) -> RGB:
    """As large as fits in a square; enlarged pixels stay square."""
    height, width = picture.shape[:2]
    factor = min(side / height, side / width)
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    way = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(picture).resize(size, way))


def _centres(pen: ImageDraw.ImageDraw, objects: NDArray[np.void], shape: tuple[int, ...]) -> None:
    height, width = shape
    factor = min(PANEL / height, PANEL / width)
    x, y = _origin(0, 0)
    left, top = (PANEL - round(width * factor)) // 2, (PANEL - round(height * factor)) // 2
    for row in objects:
        cx = x + left + (float(row["x_px"]) + 0.5) * factor
        cy = y + 24 + top + (float(row["y_px"]) + 0.5) * factor
        pen.line((cx - 2, cy, cx + 2, cy), fill="#ffe066")
        pen.line((cx, cy - 2, cx, cy + 2), fill="#ffe066")


def _top(view: ObjectView) -> float:
    return max(float(view.map.max(initial=0.0)), 0.05)


def _close(view: ObjectView) -> RGB:
    out = np.repeat(grey_of(view.image)[..., None], 3, axis=2)
    out[edges_of(view.mask.astype(np.int32))] = (255, 150, 60)
    return out


def _overlaid(view: ObjectView) -> RGB:
    heat = coloured(np.clip(view.map / _top(view), 0, 1), HEAT).astype(np.float32)
    grey = grey_of(view.image)[..., None].astype(np.float32)
    out = (0.3 * grey + 0.7 * heat).astype(np.uint8)
    out[edges_of(view.mask.astype(np.int32))] = (255, 255, 255)
    return out
