"""Stacked bars, one for each run: how long each hop took."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, BAR, GAP, LEFT, TOP = 900, 26, 18, 150, 40
COLOURS = (
    "#4e79a7", "#59a14f", "#9c755f", "#f28e2b", "#e15759", "#b07aa1", "#76b7b2", "#edc948",
)  # fmt: skip


def stacked(bars: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Write a PNG: each bar as long as all, its hops in their parts, the whole in ms beside it.

    Parameters
    ----------
    bars
        Name of the run -> hop -> ms. Hops in the same order in each.
    path
        The PNG.
    """
    hops = list(next(iter(bars.values()), {}))
    font = ImageFont.load_default(13)
    height = TOP + len(bars) * (BAR + GAP) + 30 + 20 * math.ceil(len(hops) / 4)
    image = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((10, 10), "Camera to decision by hop, medians", fill="black", font=font)
    room = WIDTH - LEFT - 110
    for number, (name, parts) in enumerate(bars.items()):
        y = TOP + number * (BAR + GAP)
        known = {hop: ms for hop, ms in parts.items() if math.isfinite(ms)}
        whole = sum(known.values())
        draw.text((10, y + 5), name, fill="black", font=font)
        x = float(LEFT)
        for hop, ms in known.items():
            end = x + (room * ms / whole if whole else 0.0)
            draw.rectangle((x, y, end, y + BAR), fill=COLOURS[hops.index(hop) % len(COLOURS)])
            x = end
        draw.text((LEFT + room + 8, y + 5), f"{whole:.1f} ms", fill="black", font=font)
    y = TOP + len(bars) * (BAR + GAP) + 10
    for number, hop in enumerate(hops):
        at = (20 + 215 * (number % 4), y + 20 * (number // 4))
        draw.rectangle((*at, at[0] + 12, at[1] + 12), fill=COLOURS[number % len(COLOURS)])
        draw.text((at[0] + 18, at[1] - 2), hop, fill="black", font=font)
    image.save(path)
