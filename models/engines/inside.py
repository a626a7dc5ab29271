"""Which precision an ONNX file holds, read from its bytes: running it needs no package onnx."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from models.errors import EngineError

Held = Literal["fp32", "fp16", "bf16", "int8"]

_QUANTISE = b"\x22\x0eQuantizeLinear"
"""Field 4 of a node, which is the kind of layer: its tag, the length, the name."""
_CAST = re.compile(rb"\x22\x04Cast.{0,24}?\x0a\x02to\x18(.)", re.DOTALL)
"""The same of a cast, and a little further the number of the type that it casts to."""
_SIXTEEN: dict[int, Held] = {10: "fp16", 16: "bf16"}
"""Numbers of the types in ONNX."""


def precision_inside(content: bytes) -> Held:
    """What a network computes in.

    ``int8`` where its values are quantised; ``fp16`` or ``bf16`` where something is cast to it, as
    in the files that `parfocal models build` writes.
    """
    if _QUANTISE in content:
        return "int8"
    for found in _CAST.finditer(content):
        kind = _SIXTEEN.get(found.group(1)[0])
        if kind is not None:
            return kind
    return "fp32"


def check_held(path: Path, engine: str, asked: str) -> None:
    """Refuse a file of eight bits that nobody asked for, and one that should be and is not.

    Raises
    ------
    EngineError
        With the command that builds such a file.
    """
    held = precision_inside(path.read_bytes())
    if asked == "int8" and held != "int8":
        raise EngineError(
            f"{path.name} is in {held}, and int8 was asked for: eight bits must be calibrated. "
            f"`parfocal models build {path.stem} --engine {engine} --precision int8 --calibrate "
            f"RUN --out DIR`, then set model to DIR/{path.stem}-int8.onnx"
        )
    if asked != "int8" and held == "int8":
        raise EngineError(
            f"{path.name} is in int8, and {asked} was asked for; set precision to int8, or model "
            "to the file that it was built from"
        )
