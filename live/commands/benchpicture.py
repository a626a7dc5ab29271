"""A picture of any bench's rows: a bar of each ratio, beside the bar that it must reach.

Ratios are on a logarithmic axis, so that twice as good and half as good are equally far from 1.
Rows that carry ``series`` or ``points`` are drawn as curves too, by `live.commands.benchcurves`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageDraw

from live.commands.benchcurves import draw_curves
from live.scoring.picture import BACKGROUND, DIM, TEXT, font_of, write_line

GOOD: Final = (86, 180, 233)
MISSED: Final = (230, 110, 20)
PLAIN: Final = (130, 140, 152)
WIDTH: Final = 1200
HEAD: Final = 76
ROW: Final = 46
MARGIN: Final = 18
MOST: Final = 100.0
"""Ratios beyond this, and below its inverse, end at the edge."""

Row = Mapping[str, Any]


def write_pictures(rows: Sequence[Row], folder: Path) -> list[Path]:
    """One PNG for each bench, named after it; the files.

    Parameters
    ----------
    rows
        Of one or more benches, as `live.commands.bench.load_bench` describes them.
    folder
        Made where it is missing; files of that name are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name in dict.fromkeys(str(row["bench"]) for row in rows):
        path = folder / f"{name}.png"
        draw([row for row in rows if row["bench"] == name], name).save(path, "PNG")
        made.append(path)
    return made


def draw(rows: Sequence[Row], title: str) -> Image.Image:
    """RGB picture of the rows of one bench."""
    measured = [row for row in rows if "left_out" not in row]
    left_out = [row for row in rows if "left_out" in row]
    curves = draw_curves(measured, WIDTH)
    height = HEAD + ROW * len(measured) + 24 * len(left_out) + MARGIN
    paper = Image.new("RGB", (WIDTH, height + (curves.height if curves else 0)), BACKGROUND)
    pen = ImageDraw.Draw(paper)
    pen.text((MARGIN, 10), title, fill=TEXT, font=font_of(18))
    machines = dict.fromkeys(str(row["machine"]) for row in rows if "machine" in row)
    write_line(paper, (MARGIN, 36), "; ".join(machines), 13, DIM, WIDTH - 2 * MARGIN)
    reach = _reach(measured)
    _axis(pen, reach, HEAD + ROW * len(measured))
    y = HEAD
    for row in measured:
        _draw_row(paper, pen, row, reach, y)
        y += ROW
    for row in left_out:
        text = f"{row['case']}: left out, {row['left_out']}"
        write_line(paper, (MARGIN, y), text, 13, DIM, WIDTH - 2 * MARGIN)
        y += 24
    if curves is not None:
        paper.paste(curves, (0, height))
    return paper


def _reach(rows: Sequence[Row]) -> float:
    """The axis goes from 1 / reach to reach."""
    values = [float(row[key]) for row in rows for key in ("ratio", "bar") if key in row]
    far = max((abs(math.log(_held(one))) for one in values), default=0.0)
    return max(2.0, min(MOST, math.exp(far) * 1.15))


def _held(ratio: float) -> float:
    return min(max(ratio, 1 / MOST), MOST) if ratio == ratio else 1 / MOST


def _x(ratio: float, reach: float) -> float:
    half = (WIDTH - 2 * MARGIN) / 2
    part = math.log(_held(ratio)) / math.log(reach)
    return MARGIN + half * (1 + min(max(part, -1.0), 1.0))


def _axis(pen: ImageDraw.ImageDraw, reach: float, bottom: float) -> None:
    for ratio in (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100):
        if 1 / reach <= ratio <= reach:
            x = _x(ratio, reach)
            pen.line((x, HEAD - 6, x, bottom), fill=TEXT if ratio == 1 else (42, 48, 54))
            pen.text((x, HEAD - 8), f"{ratio:g}x", fill=DIM, font=font_of(12), anchor="ms")


def _draw_row(
    paper: Image.Image, pen: ImageDraw.ImageDraw, row: Row, reach: float, y: float
) -> None:
    words = (
        f"{row['case']}:  {row['ours']} {row['value_ours']:.4g}, {row['peer']} "
        f"{row['value_peer']:.4g} {row['unit']}, ratio {row['ratio']:.2f}"
    )
    ratio, bar = float(row["ratio"]), row.get("bar")
    colour = PLAIN if bar is None else GOOD if ratio >= bar else MISSED
    ends = sorted((_x(1.0, reach), _x(ratio, reach)))
    pen.rectangle((ends[0], y + 22, ends[1] + 1, y + 36), fill=colour)
    if bar is not None:
        x = _x(float(bar), reach)
        pen.line((x, y + 18, x, y + 40), fill=TEXT, width=3)
        words += f", need {bar:g}"
    write_line(paper, (MARGIN, int(y) + 2), words, 13, TEXT, WIDTH - 2 * MARGIN)
