"""A picture of one denoised image: raw, denoised, truth, error, Fourier ring correlation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from live.display.contrast import robust_levels, sample_of, to_grey
from live.display.denoise import diverging
from live.picturefile import save_whole
from live.scoring.denoised import DenoiseCase
from live.scoring.picture import BACKGROUND, DIM, TEXT, font_of, write_line
from models.scoring.restoration import CLEAN_LIMIT, RestorationScore, RingCorrelation

_PANEL: Final = 420
_MARGIN: Final = 14
_HEAD: Final = 64
_CAPTION: Final = 24
_PLOT: Final = 300
_PRED: Final = (76, 194, 255)
_RAW: Final = (242, 181, 68)
_ERROR_TOP: Final = 99.5
"""Percentile of the absolute error that has the full colour."""


def write_denoise_picture(case: DenoiseCase, target: Path, title: str) -> list[str]:
    """Write the picture of one image as PNG; leaves nothing half done.

    Returns
    -------
    list[str]
        What was written, in a sentence.

    Raises
    ------
    UsageError
        When ``target`` is no PNG or cannot be written.
    """
    target = save_whole(target, lambda: draw_denoised(case, title))
    return [f"picture of {case.name} in {target}"]


def draw_denoised(case: DenoiseCase, title: str) -> Image.Image:
    """Panels side by side over the curve; all images in the grey levels of the truth."""
    levels = robust_levels(sample_of(case.truth))
    fit = case.score.fit
    pred = case.pred.astype(np.float32) * fit.gain + fit.offset
    error = pred - case.truth.astype(np.float32)
    top = max(float(np.percentile(np.abs(error), _ERROR_TOP)), 1e-6)
    panels: list[tuple[str, NDArray[np.uint8]]] = []
    if case.raw is not None and case.raw_score is not None:
        scale = case.raw_score.fit
        raw = case.raw.astype(np.float32) * scale.gain + scale.offset
        panels.append((f"raw   {_measures(case.raw_score)}", _grey(raw, levels)))
    panels.append((f"denoised   {_measures(case.score)}", _grey(pred, levels)))
    panels.append(("truth", _grey(case.truth.astype(np.float32), levels)))
    panels.append((f"denoised - truth, blue to red: ±{top:.3g} counts", diverging(error / top)))
    width = len(panels) * (_PANEL + _MARGIN) + _MARGIN
    tall = round(_PANEL * case.truth.shape[0] / case.truth.shape[1])
    tall = min(max(tall, 80), 3 * _PANEL)
    paper = Image.new("RGB", (width, _HEAD + tall + _CAPTION + _PLOT + 4 * _MARGIN), BACKGROUND)
    write_line(paper, (_MARGIN, 10), title, 17, TEXT, width - 2 * _MARGIN)
    sub = f"{case.name}; data range {case.score.data_range:g} counts; grey levels of the truth"
    write_line(paper, (_MARGIN, 36), sub, 13, DIM, width - 2 * _MARGIN)
    for number, (words, pixels) in enumerate(panels):
        x = _MARGIN + number * (_PANEL + _MARGIN)
        write_line(paper, (x, _HEAD), words, 13, TEXT, _PANEL)
        shown = Image.fromarray(pixels).resize((_PANEL, tall), Image.Resampling.BILINEAR)
        paper.paste(shown.convert("RGB"), (x, _HEAD + _CAPTION))
    curves = [("denoised", _PRED, case.score.rings)]
    if case.raw_score is not None:
        curves.append(("raw", _RAW, case.raw_score.rings))
    _plot(paper, curves, _HEAD + _CAPTION + tall + 2 * _MARGIN)
    return paper


def _plot(paper: Image.Image, curves: list[tuple[str, Any, RingCorrelation]], top: int) -> None:
    pen = ImageDraw.Draw(paper)
    left, right, bottom = 70, paper.width - 260, top + _PLOT - 34

    def place(frequency: float, value: float) -> tuple[float, float]:
        return left + (right - left) * frequency / 0.5, bottom - (bottom - top) * max(value, 0.0)

    pen.rectangle((left, top, right, bottom), outline=(70, 78, 88))
    for value in (0.0, 0.5, 1.0):
        pen.text((left - 34, place(0, value)[1] - 8), f"{value:g}", fill=DIM, font=font_of(12))
    for frequency in (0.1, 0.2, 0.3, 0.4, 0.5):
        x, y = place(frequency, 0)
        pen.text((x - 12, y + 6), f"{frequency:g}", fill=DIM, font=font_of(12))
    pen.text((left, bottom + 20), "cycles per pixel", fill=DIM, font=font_of(12))
    for value, word in ((1 / 7, "1/7"), (CLEAN_LIMIT, "1/2")):
        _dashed(pen, place(0, value), place(0.5, value))
        pen.text((right + 6, place(0, value)[1] - 8), word, fill=DIM, font=font_of(12))
    first = curves[0][2]
    line = [place(f, v) for f, v in zip(first.frequency, first.half_bit, strict=True)]
    pen.line(line[1:], fill=(120, 200, 140), width=1)
    y = top
    for word, colour, rings in curves:
        points = [place(f, v) for f, v in zip(rings.frequency, rings.correlation, strict=True)]
        pen.line(points, fill=colour, width=2)
        half = rings.resolution_px("half-bit")
        shown = f"{half:.2f} px at half-bit" if math.isfinite(half) else "none at half-bit"
        pen.text((right + 40, y), f"{word}: {shown}", fill=colour, font=font_of(13))
        y += 20
    pen.text((right + 40, y), "thin green: half-bit limit", fill=(120, 200, 140), font=font_of(13))
    pen.text((left + 8, bottom - 22), "Fourier ring correlation with the truth", fill=TEXT,
             font=font_of(13))  # fmt: skip


def _dashed(pen: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float]) -> None:
    for x in range(round(start[0]), round(end[0]), 10):
        pen.line((x, start[1], x + 5, start[1]), fill=(90, 100, 112))


def _measures(score: RestorationScore) -> str:
    ssim = "" if math.isnan(score.ssim) else f"   SSIM {score.ssim:.3f}"
    return f"{score.psnr_db:.2f} dB{ssim}"


def _grey(image: NDArray[np.float32], levels: Any) -> NDArray[np.uint8]:
    return np.asarray(to_grey(image, levels))
