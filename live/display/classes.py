"""Classes and trust in words and colours: pure functions from a result to what is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from live.display import theme
from live.display.outlines import PALETTE, class_colour
from live.display.view_model import ShownResult
from models.result import Verdict


@dataclass(frozen=True, slots=True)
class ClassLine:
    """One line of the legend."""

    name: str
    colour: int
    """Row of ``live.display.outlines.PALETTE``."""
    count: int | None
    """Objects in the newest result; None for a class that the pipeline does not know."""
    taught: int
    """Examples kept by clicks."""


def class_lines(result: ShownResult | None, taught: Mapping[str, int]) -> tuple[ClassLine, ...]:
    """Legend: the pipeline's classes in its order, then those that are only taught."""
    classes = result.classes if result is not None else ()
    lines = []
    for number, name in enumerate(all_classes(classes, taught)):
        count = None
        if result is not None and number < len(classes):
            count = int(np.count_nonzero(result.objects["class_id"] == number))
        lines.append(ClassLine(name, class_colour(number), count, taught.get(name, 0)))
    return tuple(lines)


def all_classes(classes: Sequence[str], taught: Mapping[str, int]) -> tuple[str, ...]:
    """Names of all classes; the place of one gives its colour."""
    return (*classes, *(name for name in taught if name not in classes))


def legend_html(lines: Sequence[ClassLine]) -> str:
    """The legend as rich text; names are escaped."""
    return "".join(_line_html(line) for line in lines)


def object_text(row: np.void, classes: Sequence[str]) -> str:
    """Track, size, class and uncertainty of one object, of ``OBJECT_DTYPE``, in one line."""
    parts = [f"track {row['track_id']}, {row['area_px']:.0f} px"]
    number = int(row["class_id"])
    if number >= 0:
        name = classes[number] if number < len(classes) else f"class {number}"
        parts.append(f"{name} {row['class_probability']:.2f}")
    if row["uncertainty"] >= 0:
        parts.append(f"uncertainty {row['uncertainty']:.2f}")
    return "  ·  ".join(parts)


def trust_text(verdict: Verdict | None) -> tuple[str, bool]:
    """What the newest check says, and whether it is an alarm; nothing where none was made."""
    if verdict is None:
        return "", False
    if not verdict.unlike:
        return f"strangeness {verdict.strangeness:.2f}", False
    return f"UNLIKE TRAINING: {verdict.reason}  (strangeness {verdict.strangeness:.1f})", True


def _line_html(line: ClassLine) -> str:
    colour = "#{:02x}{:02x}{:02x}".format(*(int(v) for v in PALETTE[line.colour][:3]))
    count = "" if line.count is None else f" {line.count}"
    taught = f" · taught {line.taught}" if line.taught else ""
    return (
        f"<p style='margin:0 0 2px 0'><span style='color:{colour}'>●</span> {escape(line.name)}"
        f"<b>{count}</b><span style='color:{theme.DIM}'>{taught}</span></p>"
    )
