"""From an exported network back to the torch module that it was written from.

An ONNX file keeps the weights under the module's own names, with each norm folded into the
convolution before it, and the way pixels are grouped as constants of the graph. Both are read here,
so that what ships can be run, and trained on, without its checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.training.classify.net import ClassNet, CropsToProbabilities
from models.training.denoise.export import OneFrame, denoiser_from_onnx
from models.training.segment.gather import Grouping, HeadsToLabels
from models.training.segment.graph import CountsToLabels
from models.training.segment.lean import FOLD, LeanNet
from models.training.segment.net import SegmentNet, widths_of

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A torch module that does what an ONNX file does."""

    module: nn.Module
    """In evaluation mode, float32, on the CPU; takes its inputs in order, gives a tuple."""
    inputs: Mapping[str, Shape]
    """Name and lengths of each input in order, None where an axis is free."""
    outputs: tuple[str, ...]
    convolutions: tuple[str, ...]
    """Names of the submodules that may run in 16 bits; the rest needs the digits of float32."""


def module_from_onnx(path: Path) -> Rebuilt:
    """Module with the weights of an ONNX file that this program exported in float32.

    Parameters
    ----------
    path
        A network for segmentation, denoising or classification, or grouping by itself.

    Raises
    ------
    ModelError
        When the file is of another network, or of another precision.
    """
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # of protobuf, whose own is hard to come by
        raise ModelError(f"{path} is no ONNX file: {error}") from error
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    weights = {
        name: torch.from_numpy(value.copy())
        for name, value in values.items()
        if str(value.dtype) == "float32"
    }
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        raise _foreign(path, "it is quantised")
    inputs = {one.name: _lengths(one) for one in graph.input}
    module, convolutions = _module(path, tuple(inputs), graph, weights)
    return Rebuilt(module.eval(), inputs, tuple(one.name for one in graph.output), convolutions)


def _module(
    path: Path, inputs: tuple[str, ...], graph: Any, weights: dict[str, Tensor]
) -> tuple[nn.Module, tuple[str, ...]]:
    if inputs[:1] == ("raw",):
        return HeadsToLabels(_grouping(path, graph, weights)), ()
    if inputs == ("image", "state", "noise", "fresh"):
        return OneFrame(denoiser_from_onnx(path)), ("net.move", "net.unet")
    if inputs == ("windows", "context"):
        classes = weights.get("net.head.bias", torch.zeros(0)).numel()
        sorter = CropsToProbabilities(ClassNet(classes, norm=False), 1.0)
        _fill(path, sorter, weights)
        return _OneAnswer(sorter), ("module.net",)
    if inputs[:2] == ("image", "limits"):
        return _segmenter(path, graph, weights), ("net",)
    raise _foreign(path, f"it takes {', '.join(inputs)}")


def _segmenter(path: Path, graph: Any, weights: dict[str, Tensor]) -> CountsToLabels:
    try:
        widths, head = widths_of(weights, "net.net."), weights["net.head.weight"]
    except KeyError as missing:
        raise _foreign(path, f"it has no {missing.args[0]}") from None
    lean = LeanNet(SegmentNet(widths), head.shape[0] // FOLD**2)
    for block in lean.modules():
        for name in ("first", "second"):
            norm = getattr(block, f"{name}_norm", None)
            if isinstance(norm, nn.BatchNorm2d):
                setattr(block, name, _with_bias(getattr(block, name)))
                setattr(block, f"{name}_norm", nn.Identity())
    module = CountsToLabels(lean, _grouping(path, graph, weights))
    # the exporter calls the bias that a norm became after the weight that it stands beside
    suffix = ".weight_bias"
    named = {name.removesuffix(suffix) + ".bias": v for name, v in weights.items()
             if name.endswith(suffix)}  # fmt: skip
    _fill(path, module, weights | named)
    return module


def _with_bias(layer: Any) -> nn.Conv2d:
    size, stride, padding = layer.kernel_size, layer.stride, layer.padding
    return nn.Conv2d(layer.in_channels, layer.out_channels, size, stride, padding)


def _fill(path: Path, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy the weights in by name; every one the module has must be there."""
    wanted = module.state_dict()
    for name, old in wanted.items():
        if name not in weights or weights[name].shape != old.shape:
            raise _foreign(path, f"it has no float32 {name} of {tuple(old.shape)}")
    module.load_state_dict({name: weights[name] for name in wanted})


def _grouping(path: Path, graph: Any, weights: Mapping[str, Tensor]) -> Grouping:
    """How pixels are grouped, from the constants of the graph."""
    pools = [_kernel(node) for node in graph.node if node.op_type == "MaxPool"]
    windows = [kernel[1] for kernel in pools if len(kernel) == 2 and kernel[0] == 1]
    looks = sum(node.op_type == "GatherElements" for node in graph.node)
    given = {out: node for node in graph.node for out in node.output}
    peaks = [node for node in graph.node if node.op_type == "GreaterOrEqual"]
    sigmoid = given.get("probability")
    if not windows or not looks % 2 or not peaks or sigmoid is None:
        raise _foreign(path, "it does not group pixels as this version does")
    limits: dict[str, float] = {}
    for node in graph.node:
        if node.op_type == "Greater":
            name = node.input[1]
            if name in given and given[name].op_type == "Where":
                name = given[name].input[2]  # the file's own, where no other is asked for
            if name in weights and weights[name].numel() == 1:
                # a sigmoid that does not overflow where the limit is that of any probability
                limits[node.input[0]] = (1 + math.tanh(float(weights[name]) / 2)) / 2
    try:
        foreground, centre = limits[sigmoid.input[0]], limits[peaks[0].input[0]]
    except KeyError:
        raise _foreign(path, "its limits cannot be read") from None
    return Grouping(foreground, centre, windows[0], windows[-1], (looks - 1) // 2 + 1)


def _kernel(node: Any) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == "kernel_shape"), [])


def _lengths(value: Any) -> Shape:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)


def _foreign(path: Path, what: str) -> ModelError:
    return ModelError(
        f"{path.name} is no float32 network that this version exported: {what}; run it with "
        "another engine, such as onnxruntime"
    )


class _OneAnswer(nn.Module):
    """The same, as a tuple."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        return (self.module(*inputs),)
