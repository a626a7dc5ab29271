"""Which part of a network may lose digits: its learned convolutions, and what lies between them.

Everything round them stays float32: subtracting an offset from counts, percentiles, running means,
the search for peaks, numbering and grouping. A label number or a camera count does not fit in 16
bits; the values between two convolutions do.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from models.errors import ModelError

LEARNED = ("Conv", "ConvTranspose")
BETWEEN = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize", "Add",
           "Concat")  # fmt: skip
"""What may lie between two convolutions without leaving the part."""


@dataclass(frozen=True, slots=True)
class Region:
    """Learned part of a graph."""

    nodes: tuple[Any, ...]
    """Its nodes in the order in which they run."""
    entering: tuple[str, ...]
    """Values that come in from the rest."""
    leaving: tuple[str, ...]
    """Values that the rest, or the caller, reads."""
    weights: tuple[str, ...]
    """Constants that are read by floating-point inputs of its nodes."""

    @property
    def convolutions(self) -> tuple[Any, ...]:
        """Its convolutions in the order in which they run."""
        return tuple(node for node in self.nodes if node.op_type in LEARNED)


def need_onnx() -> None:
    """Raise ``ModelError`` that says how to install what building needs, where it is missing."""
    if find_spec("onnx") is None:
        raise ModelError(
            "making a file of another precision needs the package onnx, which is not installed: "
            "pip install 'parfocal[build]'"
        )


def learned_region(model: Any, layers: tuple[str, ...] = LEARNED) -> Region:
    """Learned part of an ``onnx.ModelProto``.

    Parameters
    ----------
    model
        The network.
    layers
        Which kinds of convolution belong to it.

    Raises
    ------
    ModelError
        When it has no convolution with weights inside the file.
    """
    graph = model.graph
    constant = {one.name for one in graph.initializer}
    inside: dict[str, Any] = {}
    nodes: list[Any] = []
    for node in graph.node:  # a valid graph lists what makes a value before what reads it
        learned = node.op_type in layers and node.input[1] in constant
        data = _values(node, constant)
        between = node.op_type in BETWEEN and data and all(name in inside for name in data)
        if learned or between:
            nodes.append(node)
            inside.update(dict.fromkeys(node.output, node))
    if not any(node.op_type in layers for node in nodes):
        raise ModelError(
            "the network has no convolution with weights in the file, so there is nothing to build "
            "in another precision; use it as it is"
        )
    mine = {id(node) for node in nodes}
    outside = {name for node in graph.node if id(node) not in mine for name in node.input}
    outside |= {value.name for value in graph.output}
    entering = dict.fromkeys(
        name for node in nodes for name in _values(node, constant) if name not in inside
    )
    weights = dict.fromkeys(name for node in nodes for name in _floats(node) if name in constant)
    leaving = tuple(name for name in inside if name in outside)
    return Region(tuple(nodes), tuple(entering), leaving, tuple(weights))


def _floats(node: Any) -> list[str]:
    """Inputs of a node that are numbers to compute with; the sizes that Resize takes are not."""
    given = node.input[:1] if node.op_type == "Resize" else node.input
    return [name for name in given if name]


def _values(node: Any, constant: set[str]) -> list[str]:
    return [name for name in _floats(node) if name not in constant]
