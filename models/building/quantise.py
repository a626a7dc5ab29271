"""Networks of 8 bits: a quantise and a dequantise round each convolution, in the ONNX file.

The range of each value is measured on calibration frames. Weights are symmetric, with a scale for
each output channel. Biases stay float32, as TensorRT needs them. Only the learned part is touched,
and not its first convolutions, which read what was normalised: on nuclei of 512 x 512 they cost 2.5
of 100 objects. The heads stay as well, a convolution and the transposed one that lays its channels
out as pixels: no CPU engine has the second in eight bits, and as many objects were lost to them.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from models.building.precision import read_model
from models.building.region import Region, learned_region
from models.engines.base import filled
from models.errors import ModelError

Inputs = Mapping[str, NDArray[Any]]
"""What one run of a network takes, by name."""

QUANTISED = ("Conv", "Add", "MaxPool", "Resize")
"""Layers that compute in 8 bits."""

LEAVE = ((1, 0), (1, 1), (2, 2))
"""How many convolutions after each way in, and before each way out, to leave in float32, in the
order of trying."""


def quantised(
    content: bytes,
    inputs: Sequence[Inputs],
    *,
    symmetric: bool = False,
    leave: tuple[int, int] = LEAVE[0],
) -> bytes:
    """ONNX file whose learned part computes in 8 bits.

    Parameters
    ----------
    content
        ONNX file in float32.
    inputs
        What the network was given on the calibration frames; a dozen are enough. What may be
        left out of a run may be left out here.
    symmetric
        Values of -128 to 127 with no offset, which is all that TensorRT takes and what OpenVINO is
        fastest with; else 0 to 255 with an offset, which ONNX Runtime is fastest with on a CPU.
    leave
        How many convolutions after each way in and before each way out stay in float32.

    Raises
    ------
    ModelError
        When the package onnx is missing, there is nothing to calibrate on, or nothing is left to
        quantise.
    """
    model = read_model(content)
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    if not inputs:
        raise ModelError("int8 needs calibration frames, got none; give --calibrate RUN or FOLDER")
    _name_nodes(model)
    chosen = _chosen(learned_region(model), leave)
    sizes = {one.name: _size(one) for one in model.graph.input}
    kind = QuantType.QInt8 if symmetric else QuantType.QUInt8
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(model.SerializeToString())
        given = _reader([filled(one, sizes) for one in inputs])
        quantize_static(
            str(source), str(target), given, quant_format=QuantFormat.QDQ,
            per_channel=True, activation_type=kind, weight_type=QuantType.QInt8,
            nodes_to_quantize=chosen, op_types_to_quantize=list(QUANTISED),
            extra_options={
                "QuantizeBias": False, "WeightSymmetric": True, "ActivationSymmetric": symmetric,
            },
        )  # fmt: skip
        return target.read_bytes()


def _chosen(region: Region, leave: tuple[int, int]) -> list[str]:
    """Names of the nodes to quantise."""
    first, last = leave
    learned = [node.name for node in region.convolutions if node.op_type == "Conv"]
    left = _within(region.nodes, first)
    left |= _within(region.nodes[::-1], last, backwards=True) | _heads(region.nodes)
    chosen = [
        node.name for node in region.nodes if node.op_type in QUANTISED and node.name not in left
    ]
    if not any(name in chosen for name in learned):
        raise ModelError(
            f"the network has {len(learned)} convolutions; with {first} after each way in and "
            f"{last} before each way out left as they are none is there to quantise; use "
            "--precision fp16"
        )
    return chosen


def _heads(nodes: Sequence[Any]) -> set[str]:
    """Names of the convolutions whose answers a transposed convolution reads."""
    unfolded = {name for node in nodes if node.op_type == "ConvTranspose" for name in node.input}
    return {node.name for node in nodes if node.op_type == "Conv" and node.output[0] in unfolded}


def _within(nodes: Sequence[Any], most: int, *, backwards: bool = False) -> set[str]:
    """Names of the convolutions so many steps from where values come in, or go out, or fewer.

    The nodes come in the order of the steps; where ways join, the longest counts.
    """
    depth: dict[str, int] = {}
    found = set()
    for node in nodes:
        before, after = (node.output, node.input) if backwards else (node.input, node.output)
        steps = max((depth.get(name, 0) for name in before), default=0)
        if node.op_type == "Conv":
            steps += 1
            if steps <= most:
                found.add(node.name)
        for name in after:
            depth[name] = max(depth.get(name, 0), steps)
    return found


def _size(given: Any) -> tuple[int, ...] | None:
    """Of an input of the graph; None where it is free."""
    shape = given.type.tensor_type.shape.dim
    return tuple(one.dim_value for one in shape) if all(one.dim_value for one in shape) else None


def _name_nodes(model: Any) -> None:
    """A name for each node: layers are chosen by it, and exporters may leave it out."""
    taken = {node.name for node in model.graph.node}
    for index, node in enumerate(model.graph.node):
        if not node.name:
            name = f"layer_{index}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)


def _reader(inputs: Sequence[Inputs]) -> Any:
    """The calibration inputs as ONNX Runtime's quantiser asks for them, one after another."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[Inputs] = iter(inputs)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            given = next(self._left, None)
            return None if given is None else dict(given)

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the quantiser's advice, which it gives through the root logger."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
