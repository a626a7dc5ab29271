"""Eight-bit files of a shipped network, made on the spot from pictures that nobody scores."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.engines_given import given_for
from models.catalog import ModelCard
from models.engines import engines_installed

CALIBRATION_SEEDS = tuple(range(5000, 5012))
LOST = 0.01
"""AP@0.5 against the truth that 8 bits may lose."""
SYMMETRIC = {"onnxruntime": False, "openvino": True}
"""Whether an engine is fastest with values of -128 to 127, or with those of 0 to 255."""


@dataclass(frozen=True, slots=True)
class Eight:
    """One file in 8 bits, for one engine."""

    engine: str
    path: Path


def eight_bit_files(card: ModelCard, folder: Path) -> tuple[list[Eight], list[str]]:
    """A file for each engine that runs 8 bits, in ``folder``, and why there is none of others."""
    if find_spec("onnx") is None:
        return [], ["onnx not installed; `pip install 'parfocal[build]'`"]
    from models.building.quantise import quantised

    frames = [one.inputs for one in given_for(card, 512, CALIBRATION_SEEDS)]
    made: list[Eight] = []
    for engine in engines_installed():
        if engine in SYMMETRIC:
            content = quantised(card.path.read_bytes(), frames, symmetric=SYMMETRIC[engine])
            path = folder / engine / f"{card.name}.onnx"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            made.append(Eight(engine, path))
    return made, []
