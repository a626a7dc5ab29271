"""The validation curve as a picture, drawn with pillow alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT, MARGIN = 640, 400, 48
COLOURS = ((60, 120, 200), (220, 110, 40))


def save_curve(history: Sequence[Sequence[float]], path: Path, title: str) -> None:
    """Draw rows of (minutes, training loss, held-out loss) on a logarithmic loss axis."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((MARGIN, MARGIN, WIDTH - MARGIN, HEIGHT - MARGIN), outline=(120, 120, 120))
    pen.text((MARGIN, 16), title, fill="black")
    for k, name in enumerate(("training", "held out")):
        pen.text((WIDTH - 2.5 * MARGIN, MARGIN + 8 + 16 * k), name, fill=COLOURS[k])
    losses = [v for row in history for v in row[1:] if math.isfinite(v) and v > 0]
    if losses:
        low, high = math.log(min(losses)), math.log(max(losses)) + 1e-6
        end = max(row[0] for row in history) or 1.0

        def place(minutes: float, loss: float) -> tuple[float, float]:
            x = MARGIN + (WIDTH - 2 * MARGIN) * minutes / end
            y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (math.log(loss) - low) / (high - low)
            return x, y

        for k, colour in enumerate(COLOURS):
            line = [place(r[0], r[k + 1]) for r in history if math.isfinite(r[k + 1])]
            if len(line) > 1:
                pen.line(line, fill=colour, width=2)
        pen.text((4, MARGIN - 4), f"{max(losses):.2f}", fill="black")
        pen.text((4, HEIGHT - MARGIN - 8), f"{min(losses):.2f}", fill="black")
        pen.text((WIDTH - MARGIN - 40, HEIGHT - MARGIN + 8), f"{end:.1f} min", fill="black")
    picture.save(path)
