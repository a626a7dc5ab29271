"""Two pictures of a classifier, drawn with pillow alone: confusion matrix, reliability diagram."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from models.training.classify.figures import BINS, ClassFigures

INK, PALE, BLUE, ORANGE = (40, 40, 40), (205, 205, 205), (60, 120, 200), (220, 110, 40)
_TEXT = ImageFont.load_default(15)
_SMALL = ImageFont.load_default(12)
_CELL = 96
_LEFT, _TOP, _EDGE = 150, 84, 24


def save_confusion(figures: ClassFigures, path: Path, title: str) -> None:
    """Draw a row for each true class: counts, coloured by their share of the row."""
    k = len(figures.classes)
    side = k * _CELL
    picture = Image.new("RGB", (_LEFT + side + _EDGE, _TOP + side + 40), "white")
    pen = ImageDraw.Draw(picture)
    accuracy = f"balanced accuracy {figures.balanced_accuracy:.3f}, {figures.objects} objects"
    pen.text((12, 10), title, fill=INK, font=_TEXT)
    pen.text((12, 32), accuracy, fill=INK, font=_SMALL)
    for i, name in enumerate(figures.classes):
        middle = (i + 0.5) * _CELL
        pen.text((_LEFT + middle, _TOP - 14), _short(name), fill=INK, font=_SMALL, anchor="mm")
        pen.text((_LEFT - 10, _TOP + middle), _short(name), fill=INK, font=_SMALL, anchor="rm")
        total = max(int(figures.confusion[i].sum()), 1)
        for j in range(k):
            count = int(figures.confusion[i, j])
            share = count / total
            box = (_LEFT + j * _CELL, _TOP + i * _CELL)
            shade = tuple(round(255 + (c - 255) * share) for c in (BLUE if i == j else ORANGE))
            pen.rectangle((*box, box[0] + _CELL, box[1] + _CELL), fill=shade, outline=PALE)
            ink = "white" if share > 0.6 else INK
            at = (box[0] + _CELL / 2, box[1] + _CELL / 2)
            pen.text((at[0], at[1] - 9), str(count), fill=ink, font=_TEXT, anchor="mm")
            pen.text((at[0], at[1] + 11), f"{share:.1%}", fill=ink, font=_SMALL, anchor="mm")
    pen.text((_LEFT + side / 2, _TOP + side + 18), "found", fill=INK, font=_SMALL, anchor="mm")
    pen.text((12, _TOP + side / 2), "true", fill=INK, font=_SMALL, anchor="lm")
    picture.save(path)


def save_reliability(figures: ClassFigures, path: Path, title: str) -> None:
    """Draw the share that is right over the probability given; bars show how often it is given."""
    width, height, left, top, side = 520, 500, 70, 76, 360
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    error = f"expected calibration error {figures.calibration_error:.3f}, {figures.objects} objects"
    pen.text((12, 10), title, fill=INK, font=_TEXT)
    pen.text((12, 32), error, fill=INK, font=_SMALL)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + side * x, top + side * (1 - y)

    for tick in range(0, 11, 2):
        at = tick / 10
        pen.line((place(at, 0), place(at, 1)), fill=(238, 238, 238))
        pen.line((place(0, at), place(1, at)), fill=(238, 238, 238))
        pen.text((place(at, 0)[0], top + side + 12), f"{at:g}", fill=INK, font=_SMALL, anchor="mm")
        pen.text((left - 8, place(0, at)[1]), f"{at:g}", fill=INK, font=_SMALL, anchor="rm")
    used = list[tuple[float, float]]()
    for i, (share, mean, right) in enumerate(figures.bins.tolist()):
        if share > 0:
            low, high = place(i / BINS + 0.005, share), place((i + 1) / BINS - 0.005, 0)
            pen.rectangle((*low, *high), fill=(222, 231, 244))
            used.append(place(mean, right))
    pen.line((place(0, 0), place(1, 1)), fill=PALE, width=2)
    if len(used) > 1:
        pen.line(used, fill=BLUE, width=3)
    for x, y in used:
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=BLUE, outline="white")
    pen.rectangle((*place(0, 1), *place(1, 0)), outline=INK)
    words = "probability of the class chosen (mean of a bin)"
    pen.text((left + side / 2, top + side + 32), words, fill=INK, font=_SMALL, anchor="mm")
    pen.text((left, top - 12), "share that is right", fill=BLUE, font=_SMALL, anchor="lm")
    key = "bars: share of objects, classes alike"
    pen.text((left + side, top - 12), key, fill=(120, 140, 170), font=_SMALL, anchor="rm")
    pen.text((left + side + 8, place(1, 1)[1]), "ideal", fill=(150, 150, 150), font=_SMALL)
    picture.save(path)


def _short(name: str) -> str:
    return name if len(name) <= 16 else name[:15] + "…"
