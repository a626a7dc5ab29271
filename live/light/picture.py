"""A small picture of where the light fell, for the run's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from live.light.map import CELLS, DoseMap

_WIDEST_PX = 900
_LEAST_CELL_PX = 1
_MOST_CELL_PX = 24
_MARGIN_PX = 12
_FOOT_PX = 58
_MOST_BLOCKS_ACROSS = 400
_INK = (230, 230, 230)
_PAPER = (16, 16, 20)
# From dark through red to pale yellow: grows evenly lighter, and can be read in print.
_STOPS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], float)


def write_picture(path: Path, doses: DoseMap, unit: str, cap: float | None = None) -> bool:
    """Draw the map of light; False, and no file, when no light was counted.

    Parameters
    ----------
    path
        PNG to write.
    doses
        The map.
    unit
        Of the doses.
    cap
        Per position; the colours then run from 0 to it, else to the greatest dose.
    """
    blocks = list(doses.blocks())
    if not blocks or doses.block_um is None or doses.corner_um is None or doses.greatest <= 0:
        return False
    columns = [block[0] for block, _ in blocks]
    rows = [block[1] for block, _ in blocks]
    left, top = min(columns), min(rows)
    across, down = max(columns) - left + 1, max(rows) - top + 1
    values, cell_um = _image(blocks, (left, top), (across, down), doses.block_um)
    full = cap or doses.greatest
    size = max(values.shape)
    scale = int(np.clip(_WIDEST_PX // size, _LEAST_CELL_PX, _MOST_CELL_PX))
    picture = Image.fromarray(_colours(values / full)).resize(
        (values.shape[1] * scale, values.shape[0] * scale), Image.Resampling.NEAREST
    )
    width = max(picture.width + 2 * _MARGIN_PX, 380)
    sheet = Image.new("RGB", (width, picture.height + 2 * _MARGIN_PX + _FOOT_PX), _PAPER)
    sheet.paste(picture, (_MARGIN_PX, _MARGIN_PX))
    _foot(sheet, picture.height + 2 * _MARGIN_PX, doses, unit, cap, cell_um[0] / scale)
    sheet.save(path)
    return True


def _image(
    blocks: list[tuple[tuple[int, int], NDArray[np.float64]]],
    corner: tuple[int, int],
    extent: tuple[int, int],
    block_um: tuple[float, float],
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """(y, x) doses and the sides of a pixel, µm; places far apart are drawn coarser."""
    coarse = max(extent) > _MOST_BLOCKS_ACROSS
    step = -(-max(extent) // _MOST_BLOCKS_ACROSS) if coarse else 1
    cells = 1 if coarse or max(extent) * CELLS > _WIDEST_PX else CELLS
    shape = (-(-extent[1] // step) * cells, -(-extent[0] // step) * cells)
    values = np.zeros(shape)
    for (bx, by), found in blocks:
        x, y = (bx - corner[0]) // step * cells, (by - corner[1]) // step * cells
        part = found if cells == CELLS else found.max(keepdims=True)
        there = values[y : y + cells, x : x + cells]
        np.maximum(there, part, out=there)
    return values, (block_um[0] * step / cells, block_um[1] * step / cells)


def _colours(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(y, x, 3) colours of shares from 0 to 1."""
    at = np.clip(share, 0, 1) * (len(_STOPS) - 1)
    parts = [np.interp(at, np.arange(len(_STOPS)), _STOPS[:, channel]) for channel in range(3)]
    colours: NDArray[np.uint8] = np.stack(parts, axis=-1).astype(np.uint8)
    return colours


def _foot(
    sheet: Image.Image,
    top: int,
    doses: DoseMap,
    unit: str,
    cap: float | None,
    um_per_px: float,
) -> None:
    """Colour bar with its numbers, and a bar of length."""
    draw = ImageDraw.Draw(sheet)
    bar = _colours(np.linspace(0, 1, 160)[None, :].repeat(10, axis=0))
    sheet.paste(Image.fromarray(bar), (_MARGIN_PX, top))
    full = f"{cap:.3g} (cap)" if cap else f"{doses.greatest:.3g}"
    draw.text((_MARGIN_PX, top + 14), "0", fill=_INK)
    draw.text((_MARGIN_PX + 160, top + 14), f"{full} {unit}", fill=_INK, anchor="ra")
    draw.text(
        (_MARGIN_PX, top + 32), f"most light at one place: {doses.greatest:.4g} {unit}", fill=_INK
    )
    length_um = 10 ** np.floor(np.log10(max(120 * um_per_px, 1e-9)))
    length_px = int(length_um / um_per_px)
    right = sheet.width - _MARGIN_PX
    draw.line([(right - length_px, top + 5), (right, top + 5)], fill=_INK, width=3)
    draw.text((right, top + 14), f"{length_um:g} µm", fill=_INK, anchor="ra")
