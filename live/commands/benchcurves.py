"""Curves of rows that carry them: ``series`` over time, ``points`` on log-log axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from PIL import Image, ImageDraw

from live.scoring.picture import BACKGROUND, DIM, TEXT, font_of, write_line

LINE: Final = (86, 180, 233)
LINEAR: Final = (90, 98, 108)
PANEL: Final = (380, 220)
MARGIN: Final = 18

Row = Mapping[str, Any]


def draw_curves(rows: Sequence[Row], width: int) -> Image.Image | None:
    """A panel for each row that has something to draw; None where none has.

    Parameters
    ----------
    rows
        ``series`` is a mapping of two lists, x first; ``points`` a list of (x, y), drawn on
        logarithmic axes beside a grey line in proportion to x, which ``along`` names.
    width
        Of the picture, pixels.
    """
    drawn = [row for row in rows if row.get("series") or row.get("points")]
    if not drawn:
        return None
    across = max(1, (width - MARGIN) // PANEL[0])
    height = math.ceil(len(drawn) / across) * PANEL[1] + MARGIN
    paper = Image.new("RGB", (width, height), BACKGROUND)
    for number, row in enumerate(drawn):
        down, right = divmod(number, across)
        _panel(paper, row, MARGIN + right * PANEL[0], down * PANEL[1])
    return paper


def _panel(paper: Image.Image, row: Row, left: int, top: int) -> None:
    logarithmic = not row.get("series")
    if logarithmic:
        points = [(float(x), float(y)) for x, y in row["points"]]
        name, words = str(row["case"]), (str(row.get("along", "")), "")
    else:
        (x_name, xs), (y_name, ys) = row["series"].items()
        points = list(zip(map(float, xs), map(float, ys), strict=True))
        name, words = str(row["ours"]), (str(x_name), str(y_name))
    width, height = PANEL[0] - 70, PANEL[1] - 70
    box = (left + 44, top + 34, left + 44 + width, top + 34 + height)
    write_line(paper, (left, top + 8), name, 12, TEXT, PANEL[0] - 20)
    if len(points) < 2:
        return
    lines = [(LINE, points)]
    if logarithmic:
        (x0, y0), (x1, _) = points[0], points[-1]
        lines.insert(0, (LINEAR, [(x0, y0), (x1, y0 * x1 / x0)]))
        lines = [
            (colour, [(math.log10(max(x, 1e-9)), math.log10(max(y, 1e-9))) for x, y in line])
            for colour, line in lines
        ]
    every = [point for _, line in lines for point in line]
    low = (min(x for x, _ in every), min(y for _, y in every))
    high = (max(x for x, _ in every), max(y for _, y in every))
    if not logarithmic:
        low = (low[0], 0.0)
    pen = ImageDraw.Draw(paper)
    pen.rectangle(box, outline=(42, 48, 54))
    for colour, line in lines:
        at = [
            (
                box[0] + (x - low[0]) / max(high[0] - low[0], 1e-9) * width,
                box[3] - (y - low[1]) / max(high[1] - low[1], 1e-9) * height,
            )
            for x, y in line
        ]
        pen.line(at, fill=colour, width=2)
    back = (lambda value: 10**value) if logarithmic else float
    small = font_of(11)
    for y, value in ((box[1], high[1]), (box[3], low[1])):
        pen.text((box[0] - 4, y), f"{back(value):.3g}", fill=DIM, font=small, anchor="rm")
    for x, value, anchor in ((box[0], low[0], "la"), (box[2], high[0], "ra")):
        pen.text(
            (x, box[3] + 4), f"{back(value):.3g} {words[0]}", fill=DIM, font=small, anchor=anchor
        )
    if words[1]:
        pen.text((left, top + 24), words[1], fill=DIM, font=small)
