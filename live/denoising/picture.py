"""Pictures of a training: one frame before and after, and the held-out loss over time. Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from live.display.contrast import robust_levels, sample_of, to_grey
from live.scoring.picture import BACKGROUND, DIM, TEXT, font_of, write_line

_PANEL: Final = 440
_MARGIN: Final = 14
_CROP: Final = 256
_TRAINING: Final = (76, 194, 255)
_HELD_OUT: Final = (242, 181, 68)


def save_before_after(
    pictures: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], path: Path, title: str
) -> None:
    """Write the raw frame, denoised before and after, in the same grey levels, with a close view.

    Parameters
    ----------
    pictures
        Raw, before and after, each (y, x) counts.
    path
        PNG.
    title
        First line.
    """
    raw, before, after = (np.asarray(p, np.float32) for p in pictures)
    levels = robust_levels(sample_of(after))
    words = ("raw", "denoised, as it was", "denoised, trained on these frames")
    width = 3 * (_PANEL + _MARGIN) + _MARGIN
    tall = round(_PANEL * raw.shape[0] / raw.shape[1])
    tall = min(max(tall, 80), 2 * _PANEL)
    paper = Image.new("RGB", (width, 70 + tall + 30 + _PANEL + _MARGIN), BACKGROUND)
    write_line(paper, (_MARGIN, 10), title, 16, TEXT, width - 2 * _MARGIN)
    side = min(_CROP, *after.shape)
    y, x = _busiest(after, side)
    close = (slice(y, y + side), slice(x, x + side))
    for number, (word, image) in enumerate(zip(words, (raw, before, after), strict=True)):
        left = _MARGIN + number * (_PANEL + _MARGIN)
        write_line(paper, (left, 42), word, 14, DIM, _PANEL)
        for part, top, size in (
            (image, 66, (_PANEL, tall)), (image[close], 66 + tall + 30, (_PANEL, _PANEL)),
        ):  # fmt: skip
            grey = Image.fromarray(to_grey(part, levels))
            paper.paste(grey.resize(size, Image.Resampling.NEAREST), (left, top))
    write_line(paper, (_MARGIN, 70 + tall + 4), f"close view from y {y}, x {x}", 12, DIM, width)
    paper.save(path, "PNG")


def save_losses(history: Sequence[Sequence[float]], path: Path, title: str) -> None:
    """Write the curve of rows (minutes, training loss, held-out loss), logarithmic loss axis."""
    width, height, margin = 760, 420, 60
    paper = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(paper)
    write_line(paper, (margin, 14), f"{title}: loss with no clean image", 16, TEXT, width)
    pen.rectangle((margin, margin, width - margin, height - margin), outline=(70, 78, 88))
    losses = [v for row in history for v in row[1:3] if math.isfinite(v) and v > 0]
    if losses:
        low, high = math.log(min(losses)), math.log(max(losses))
        span = max(high - low, 1e-9)
        end = max(row[0] for row in history) or 1.0
        for column, colour, word in ((1, _TRAINING, "training"), (2, _HELD_OUT, "held out")):
            points = [
                (
                    margin + (width - 2 * margin) * row[0] / end,
                    height - margin
                    - (height - 2 * margin) * (math.log(row[column]) - low) / span,
                )
                for row in history
                if math.isfinite(row[column]) and row[column] > 0
            ]  # fmt: skip
            if len(points) > 1:
                pen.line(points, fill=colour, width=2)
            for x, y in points if column == 2 else ():
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
            pen.text((width - margin - 90, margin + 8 + 18 * (column - 1)), word, fill=colour,
                     font=font_of(13))  # fmt: skip
        for loss, y in ((max(losses), margin - 8), (min(losses), height - margin - 8)):
            pen.text((4, y), f"{loss:.3g}", fill=DIM, font=font_of(12))
        pen.text((width - margin - 50, height - margin + 8), f"{end:.1f} min", fill=DIM,
                 font=font_of(12))  # fmt: skip
    paper.save(path, "PNG")


def _busiest(image: NDArray[np.float32], side: int) -> tuple[int, int]:
    """Corner of the square with the most contrast, on a coarse grid."""
    height, width = image.shape
    places = [
        (y, x)
        for y in range(0, height - side + 1, side // 2)
        for x in range(0, width - side + 1, side // 2)
    ]
    return max(places, key=lambda at: float(image[at[0] :, at[1] :][:side, :side].std()))
