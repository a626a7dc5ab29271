"""Write a torch module as an ONNX file with its weights inside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

OPSET = 18


def write_onnx(
    module: nn.Module,
    path: Path,
    examples: Sequence[Tensor],
    shapes: Sequence[Any],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Path:
    """Export and return ``path``; missing folders are made.

    Parameters
    ----------
    module
        In evaluation mode.
    path
        File to write.
    examples
        One tensor for each input.
    shapes
        For each input which axes are free, as ``torch.onnx.export`` takes it; None for none.
    inputs, outputs
        Their names.
    """
    # of packages that are not there and are not needed
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # the exporter warns of its own internals
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(), tuple(examples), dynamo=True, opset_version=OPSET,
            dynamic_shapes=tuple(shapes), input_names=list(inputs), output_names=list(outputs),
            verbose=False,
        )  # fmt: skip
    assert program is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(str(path), external_data=False)
    forget_origin(path)
    return path


def forget_origin(path: Path) -> None:
    """Take out of an ONNX file where on this machine each node was written down."""
    import onnx

    model = onnx.load(str(path))
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info,
                 *graph.initializer, *model.functions):  # fmt: skip
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, str(path))
