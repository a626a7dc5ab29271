"""Networks of 16 bits: the learned part of an ONNX file in ``fp16`` or ``bf16``, no more.

Inputs and outputs stay float32. The file says the type of each value itself (TensorRT calls this
strongly typed), so that no engine rounds what was not meant to be rounded.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from models.building.region import Region, learned_region, need_onnx
from models.errors import ModelError

Sixteen = Literal["fp16", "bf16"]

OPSET = {"fp16": 18, "bf16": 22}
"""Version of ONNX from which on every layer of the learned part is defined for the type."""


LAYERS = {"fp16": ("Conv", "ConvTranspose"), "bf16": ("Conv",)}
"""TensorRT has no transposed convolution in bf16, and those are the last layers."""


def sixteen_bit(content: bytes, kind: Sixteen) -> bytes:
    """ONNX file whose learned part computes in 16 bits.

    Parameters
    ----------
    content
        ONNX file in float32.
    kind
        ``fp16`` (11 bits of precision, up to 65504) or ``bf16`` (8 bits, range of float32).

    Raises
    ------
    ModelError
        When the package onnx is missing, the file is not in float32, or a weight does not fit.
    """
    model = read_model(content)
    import onnx

    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if opset < OPSET[kind]:
        model = onnx.version_converter.convert_version(model, OPSET[kind])
    region = learned_region(model, LAYERS[kind])
    _narrow_weights(model, region, kind)
    _cast_at_the_borders(model, region, kind)
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def rounded_twin(content: bytes, kind: Sixteen) -> bytes:
    """ONNX file in float32 whose weights and learned values are rounded as `sixteen_bit` would.

    Every engine runs it: it tells what the rounding costs where none computes in that type.
    """
    model = read_model(content)
    import onnx

    region = learned_region(model, LAYERS[kind])
    type16 = _type(kind)
    graph = model.graph
    constants = {one.name: one for one in graph.initializer}
    for name in region.weights:
        values = onnx.numpy_helper.to_array(constants[name])
        constants[name].CopyFrom(onnx.numpy_helper.from_array(_rounded(values, kind), name))
    made = {name for node in region.nodes for name in node.output}
    for name in (*region.entering, *sorted(made)):
        small, back = f"{name}_{kind}", f"{name}_from_{kind}"
        casts = [
            onnx.helper.make_node("Cast", [name], [small], f"{small}_round", to=type16),
            onnx.helper.make_node("Cast", [small], [back], f"{back}_back", to=1),
        ]
        for node in graph.node:
            if name in made or any(node is one for one in region.nodes):
                node.input[:] = [back if given == name else given for given in node.input]
        _insert_after(graph, name, casts)
    del graph.value_info[:]
    return bytes(model.SerializeToString())


def read_model(content: bytes) -> Any:
    """``onnx.ModelProto`` of a file in float32; ``ModelError`` when it is none."""
    need_onnx()
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf raises several kinds
        raise ModelError(f"this is no ONNX file: {error}") from error
    if not model.graph.node:
        raise ModelError("this is no ONNX file: it holds no graph")
    inside = precision_of_nodes(model)
    if inside != "fp32":
        raise ModelError(f"the network is in {inside} already; build from the float32 file")
    return model


def precision_of_nodes(model: Any) -> str:
    """``int8``, ``fp16``, ``bf16`` or ``fp32``: what an ``onnx.ModelProto`` computes in."""
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        return "int8"
    types = {one.name: one.data_type for one in model.graph.initializer}
    named = {10: "fp16", 16: "bf16"}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose") and types.get(node.input[1]) in named:
            return named[types[node.input[1]]]
    return "fp32"


def _narrow_weights(model: Any, region: Region, kind: Sixteen) -> None:
    """Weights of the region in 16 bits, under a name of their own where others read them too."""
    import onnx

    graph = model.graph
    mine = {id(node) for node in region.nodes}
    shared = {name for node in graph.node if id(node) not in mine for name in node.input}
    constants = {one.name: one for one in graph.initializer}
    renamed: dict[str, str] = {}
    for name in region.weights:
        held = constants[name]
        if held.data_type != onnx.TensorProto.FLOAT:
            raise ModelError(f"weights {name} are not float32; build from the float32 file")
        values = onnx.numpy_helper.to_array(held)
        if kind == "fp16" and float(np.abs(values).max(initial=0.0)) > np.finfo(np.float16).max:
            raise ModelError(
                f"weights {name} go up to {np.abs(values).max():.3g}, fp16 ends at 65504; build "
                "with --precision bf16"
            )
        fresh = _narrow(values, name, kind)
        if name in shared:
            fresh.name = renamed[name] = f"{name}_{kind}"
            graph.initializer.append(fresh)
        else:
            held.CopyFrom(fresh)
    for node in region.nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def _cast_at_the_borders(model: Any, region: Region, kind: Sixteen) -> None:
    """To 16 bits where values come in, and back to float32 where they leave."""
    import onnx

    graph = model.graph
    mine = {id(node) for node in region.nodes}
    for name in region.entering:
        small = f"{name}_{kind}"
        for node in region.nodes:
            node.input[:] = [small if given == name else given for given in node.input]
        cast = onnx.helper.make_node("Cast", [name], [small], f"{small}_cast", to=_type(kind))
        _insert_after(graph, name, [cast])
    for name in region.leaving:
        # the float32 value keeps the name: outside, and in the outputs, nothing changes
        small = f"{name}_{kind}"
        for node in graph.node:
            if id(node) in mine:
                node.input[:] = [small if given == name else given for given in node.input]
                node.output[:] = [small if made == name else made for made in node.output]
        cast = onnx.helper.make_node("Cast", [small], [name], f"{name}_back", to=1)
        _insert_after(graph, small, [cast])


def _insert_after(graph: Any, name: str, nodes: list[Any]) -> None:
    """Put nodes right after what makes a value, or first where it is an input."""
    place = next((k + 1 for k, node in enumerate(graph.node) if name in node.output), 0)
    for offset, node in enumerate(nodes):
        graph.node.insert(place + offset, node)


def _type(kind: Sixteen) -> int:
    return {"fp16": 10, "bf16": 16}[kind]


def _narrow(values: Any, name: str, kind: Sixteen) -> Any:
    import onnx

    if kind == "fp16":
        return onnx.numpy_helper.from_array(values.astype(np.float16), name)
    high = (_rounded(values, kind).view(np.uint32) >> 16).astype(np.uint16)
    return onnx.helper.make_tensor(name, _type(kind), values.shape, high.tobytes(), raw=True)


def _rounded(values: Any, kind: Sixteen) -> Any:
    """Float32 values that 16 bits can hold, ties to even."""
    if kind == "fp16":
        return values.astype(np.float16).astype(np.float32)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    bits += 0x7FFF + ((bits >> 16) & 1)
    return (bits & 0xFFFF0000).astype(np.uint32).view(np.float32).reshape(values.shape)
