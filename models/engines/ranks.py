"""A sort of all pixels, of which two ranks are read, becomes two short selections.

TensorRT sorts at most 3840 values. The shipped networks sort every sixteenth pixel to read the 1st
and the 99.8th percentile off it; that needs no more than the lowest hundredth and the highest five
hundredth, which fits up to `MOST_PIXELS`. The values found are the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MOST_PIXELS = 6_100_000
"""Pixels of an image of which one sixteenth of a hundredth is 3840; larger ones go in tiles."""

_PROBE = 256
"""A free length in the image on which it is looked which ranks are low and which are high."""


def shorten_sorts(model: Any) -> bool:
    """Replace each whole sort in an ``onnx.ModelProto``; True when there was one."""
    changed = False
    for sort in [node for node in model.graph.node if node.op_type == "TopK"]:
        readers = [node for node in model.graph.node if sort.output[0] in node.input]
        plain = {one.name: one.i for one in sort.attribute}
        if plain.get("largest", 1) or not readers or any(n.op_type != "Gather" for n in readers):
            continue
        ranks = _ranks(model, sort, [node.input[1] for node in readers])
        if ranks is None:
            continue
        _replace(model, sort, readers, ranks)
        changed = True
    return changed


def _ranks(model: Any, sort: Any, indices: list[str]) -> list[float] | None:
    """Where in the sorted values each index reads, 0 the lowest, 1 the highest.

    None where not all values are sorted, which is to say that it is a selection already.
    """
    import onnx
    import onnxruntime as ort

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    count, every = sort.input[1], f"{sort.name}_every"
    probe.graph.node.append(onnx.helper.make_node("Size", [sort.input[0]], [every]))
    wanted = list(dict.fromkeys((count, every, *indices)))
    _only_what_makes(probe.graph, wanted)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {
        given.name: np.zeros([k if isinstance(k, int) else _PROBE for k in given.shape], np.float32)
        for given in session.get_inputs()
    }
    found = dict(zip(wanted, session.run(wanted, feeds), strict=True))
    if found[every] != np.ravel(found[count])[0]:
        return None
    last = max(float(np.ravel(found[count])[0]) - 1, 1.0)
    return [float(np.ravel(found[name])[0]) / last for name in indices]


def _only_what_makes(graph: Any, wanted: list[str]) -> None:
    """Keep the nodes that some integers depend on: the rest may not run on a CPU, as in bf16."""
    import onnx

    needed, kept = set(wanted), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    whole = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    del graph.node[:], graph.output[:]
    graph.node.extend(whole)
    graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None) for name in wanted
    )


def _replace(model: Any, sort: Any, readers: list[Any], ranks: list[float]) -> None:
    """Put a selection of its own in front of each reader, and take the sort away."""
    import onnx

    node, graph = onnx.helper.make_node, model.graph
    one = f"{sort.name}_one"
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.int64), one))
    values, count = sort.input[0], sort.input[1]
    for reader, rank in zip(readers, ranks, strict=True):
        name, index = f"{sort.name}_{reader.name}", reader.input[1]
        high = rank > 0.5
        flat, need = f"{name}_flat", f"{name}_need"
        made = [node("Reshape", [index, one], [flat], f"{name}_reshape")]
        if high:  # counted from the top
            made.append(node("Sub", [count, flat], [need], f"{name}_sub"))
        else:
            made.append(node("Add", [flat, one], [need], f"{name}_add"))
        chosen, at = f"{name}_chosen", f"{name}_at"
        made += [
            node(
                "TopK", [values, need], [chosen, f"{name}_where"], f"{name}_topk",
                axis=-1, largest=int(high), sorted=1,
            ),
            node("Sub", [need, one], [f"{name}_last"], f"{name}_end"),
        ]  # fmt: skip
        # the reader's index may be a scalar, and so must the one that takes its place
        made.append(node("Reshape", [f"{name}_last", f"{name}_shape"], [at], f"{name}_back"))
        made.insert(0, node("Shape", [index], [f"{name}_shape"], f"{name}_rank"))
        reader.input[0], reader.input[1] = chosen, at
        place = list(graph.node).index(reader)
        for offset, new in enumerate(made):
            graph.node.insert(place + offset, new)
    graph.node.remove(sort)
    del graph.value_info[:]
