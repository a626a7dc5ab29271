"""Write a trained network as an ONNX file that goes from camera counts to a label image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from models.engines.ranks import shorten_sorts
from models.training.onnxfile import write_onnx
from models.training.segment.gather import Grouping
from models.training.segment.graph import CountsToLabels
from models.training.segment.lean import LeanNet
from models.training.segment.net import HEADS, STRIDE, SegmentNet

INPUTS = ("image", "limits", "centre")


def export_onnx(net: SegmentNet, path: Path, how: Grouping | None = None) -> Path:
    """Write ``path``: ``image``, ``limits``, ``centre`` to ``labels`` and ``probability``.

    As of `CountsToLabels`; height and width are free multiples of 16. The weights are inside the
    file.
    """
    return write_segmenter(CountsToLabels(LeanNet(net, HEADS.index("contact")), how), path)


def write_segmenter(graph: CountsToLabels, path: Path, inputs: Sequence[str] = INPUTS) -> Path:
    """Write a graph for segmentation that takes the first of `INPUTS`; see `export_onnx`."""
    high = 8192 // STRIDE
    shape = {
        0: STRIDE * torch.export.Dim("rows", min=2, max=high),
        1: STRIDE * torch.export.Dim("columns", min=2, max=high),
    }
    examples = (torch.rand(6 * STRIDE, 10 * STRIDE), torch.zeros(2), torch.zeros(1))
    count = len(inputs)
    names = tuple(inputs), ("labels", "probability")
    write_onnx(graph.eval(), path, examples[:count], (shape, None, None)[:count], *names)
    _sort_less(path)
    return path


def _sort_less(path: Path) -> None:
    """Have the file select the two percentiles in place of sorting all that they are read from."""
    import onnx

    model = onnx.load(str(path))
    if shorten_sorts(model):
        onnx.save(model, str(path))
