"""Signs that a small font lacks, and what to write instead."""

from __future__ import annotations

PLAIN = {
    "µ": "u",
    "→": ">",
    "−": "-",
    "×": "x",
    "–": "-",
    "●": "*",
    "·": "-",
    "…": "...",
    "°": " deg",
}
"""Every sign outside ASCII that the window writes of its own accord."""

_missing: dict[int, str] = {}


def plain(text: str) -> str:
    """``text`` without any of the signs of ``PLAIN``."""
    return text.translate({ord(sign): instead for sign, instead in PLAIN.items()})


def lack(signs: str) -> None:
    """Say once, when the fonts are known, which signs of ``PLAIN`` cannot be drawn."""
    _missing.clear()
    _missing.update({ord(sign): PLAIN[sign] for sign in signs})


def say(text: str) -> str:
    """``text`` with the signs that cannot be drawn here replaced; the same text elsewhere."""
    return text.translate(_missing) if _missing else text
