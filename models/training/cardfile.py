"""Changing one part of a model card and leaving the rest as its author wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.errors import PipelineError

Value = Sequence[float] | Mapping[str, Sequence[float]]


def with_front(text: str, values: Mapping[str, Value | None]) -> str:
    """Card whose front matter has these keys; None takes one away.

    Raises
    ------
    PipelineError
        When the card has no front matter.
    """
    parts = text.split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise PipelineError("the model card needs YAML between two --- lines at the top")
    front = parts[1]
    for key, value in values.items():
        # a key with all the indented lines below it
        front = re.sub(rf"(?m)^{re.escape(key)}:.*\n(?:[ \t]+.*\n)*", "", front)
        if value is not None:
            front += _yaml(key, value)
    return f"---\n{front}---\n{parts[2]}"


def with_section(text: str, title: str, body: str) -> str:
    """Card with a section of this title at its end, in place of the one it had."""
    old = re.compile(rf"(?ms)^## {re.escape(title)}\n.*?(?=^## |\Z)")
    return f"{old.sub('', text).rstrip()}\n\n## {title}\n\n{body.strip()}\n"


def write_card_text(path: Path, text: str) -> None:
    """Replace a card at once, so that a reader never sees half of one."""
    fresh = path.with_suffix(".md.part")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def _yaml(key: str, value: Value) -> str:
    if isinstance(value, Mapping):
        return f"{key}:\n" + "".join(f"  {name}: {_flow(v)}\n" for name, v in value.items())
    return f"{key}: {_flow(value)}\n"


def _flow(numbers: Sequence[float]) -> str:
    return "[" + ", ".join(f"{number:.5f}" for number in numbers) + "]"
