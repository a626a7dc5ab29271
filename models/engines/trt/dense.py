"""Fully connected layers become convolutions of one pixel, which is the same sum.

For GPUs of compute capability 7.5 tensorrt-rtx has no matrix product in float32, but it has
convolutions.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def dense_to_convolutions(model: Any) -> bool:
    """Replace each ``Gemm`` with constant weights in an ``onnx.ModelProto``; True if any was."""
    import onnx

    graph = model.graph
    weights = {one.name: one for one in graph.initializer}
    changed = False
    for layer in [node for node in graph.node if node.op_type == "Gemm"]:
        how = {one.name: onnx.helper.get_attribute_value(one) for one in layer.attribute}
        scaled = how.get("alpha", 1.0) != 1.0 or how.get("beta", 1.0) != 1.0
        if scaled or how.get("transA", 0) or layer.input[1] not in weights:
            continue
        matrix = onnx.numpy_helper.to_array(weights[layer.input[1]])
        matrix = matrix if how.get("transB", 0) else matrix.T
        name = layer.name or layer.output[0]
        constants = {
            f"{name}_kernel": np.ascontiguousarray(matrix[:, :, None, None]),
            f"{name}_to4": np.array([0, -1, 1, 1], np.int64),
            f"{name}_to2": np.array([0, -1], np.int64),
        }
        graph.initializer.extend(
            onnx.numpy_helper.from_array(value, key) for key, value in constants.items()
        )
        _swap(graph, layer, name)
        changed = True
    return changed


def _swap(graph: Any, layer: Any, name: str) -> None:
    import onnx

    node = onnx.helper.make_node
    bias = [layer.input[2]] if len(layer.input) > 2 else []
    made = [
        node("Reshape", [layer.input[0], f"{name}_to4"], [f"{name}_in"], f"{name}_deep"),
        node("Conv", [f"{name}_in", f"{name}_kernel", *bias], [f"{name}_out"], f"{name}_sum"),
        node("Reshape", [f"{name}_out", f"{name}_to2"], list(layer.output), f"{name}_flat"),
    ]
    place = list(graph.node).index(layer)
    for offset, new in enumerate(made):
        graph.node.insert(place + offset, new)
    graph.node.remove(layer)
