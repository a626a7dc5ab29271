"""Commands to a run: their words, what each needs, and what was probably meant. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from live.experiment.didyoumean import suggestion
from live.rules.arming import MODES, Mode


class CommandError(Exception):
    """What was said is no command; the sentence says what is."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that makes sense by itself."""

    name: str
    rule: str = ""
    mode: Mode | None = None
    key: str = ""
    value: str = ""
    x_um: float = 0.0
    y_um: float = 0.0
    z_um: float | None = None
    label: str = ""
    number: int = 0


USAGE = {
    "status": "status",
    "pause": "pause",
    "resume": "resume",
    "stop": "stop",
    "arm": "arm RULE [observe|suggest|auto]",
    "disarm": "disarm RULE",
    "disarm-all": "disarm-all",
    "set": "set RULE KEY VALUE",
    "add-position": "add-position X_UM Y_UM [Z_UM] [NAME]",
    "accept": "accept [NUMBER]",
    "refuse": "refuse [NUMBER]",
    "train-denoise": "train-denoise",
}
"""Command -> how it is written."""


def parse(words: Sequence[str], rules: Sequence[str]) -> Command:
    """Make sense of the words of a command.

    Parameters
    ----------
    words
        As typed, such as ``("arm", "mitosis")``.
    rules
        Names of the run's rules.

    Raises
    ------
    CommandError
        With what is wrong and what was probably meant.
    """
    if not words:
        raise CommandError(f"no command; there are: {', '.join(USAGE)}")
    name, *rest = words
    if name not in USAGE:
        raise CommandError(f"unknown command '{name}'; {suggestion(name, USAGE)}")
    match name:
        case "arm":
            _need(name, rest, 1, 2)
            return Command(name, _rule(rest[0], rules), _mode(rest[1:]))
        case "disarm":
            _need(name, rest, 1, 1)
            return Command(name, _rule(rest[0], rules))
        case "set":
            _need(name, rest, 3, 3)
            return Command(name, _rule(rest[0], rules), key=rest[1], value=rest[2])
        case "add-position":
            _need(name, rest, 2, 4)
            x, y = _number(rest[0], "X_UM"), _number(rest[1], "Y_UM")
            z, label = None, ""
            if len(rest) > 2:
                z = _number_or_none(rest[2])
                if z is None and len(rest) == 4:
                    raise CommandError(f"Z_UM: got '{rest[2]}', need a number of µm")
                label = rest[-1] if z is None or len(rest) == 4 else ""
            return Command(name, x_um=x, y_um=y, z_um=z, label=label)
        case "accept" | "refuse":
            _need(name, rest, 0, 1)
            return Command(name, number=_count(rest[0]) if rest else 0)
        case _:
            _need(name, rest, 0, 0)
            return Command(name)


def _need(name: str, rest: Sequence[str], least: int, most: int) -> None:
    if not least <= len(rest) <= most:
        raise CommandError(f"'{name}' with {len(rest)} words after it; write: {USAGE[name]}")


def _rule(given: str, rules: Sequence[str]) -> str:
    if given in rules:
        return given
    if not rules:
        raise CommandError(f"no rule '{given}': this run has none")
    raise CommandError(f"no rule '{given}'; {suggestion(given, rules)}")


def _mode(rest: Sequence[str]) -> Mode | None:
    if not rest:
        return None
    for mode in MODES:
        if mode == rest[0]:
            return mode
    raise CommandError(f"unknown mode '{rest[0]}'; {suggestion(rest[0], MODES)}")


def _number_or_none(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _number(text: str, name: str) -> float:
    value = _number_or_none(text)
    if value is None:
        raise CommandError(f"{name}: got '{text}', need a number of µm")
    return value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise CommandError(f"got '{text}', need the number of a suggestion; see status")
    return int(text)
