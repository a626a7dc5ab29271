"""Write a trained network as an ONNX file that goes from camera counts to a label image."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import torch
from torch import nn

from models.training.gather import Grouping
from models.training.graph import CountsToLabels
from models.training.net import HEADS, STRIDE, SegmentNet
from models.training.train_segment import load_checkpoint

OPSET = 18


def load_net(checkpoint: Path) -> SegmentNet:
    """Averaged network of a checkpoint, in evaluation mode."""
    state = load_checkpoint(checkpoint)
    net = SegmentNet(int(state["base"]))
    net.load_state_dict(state["average"])
    return net.eval()


def without_contact(net: SegmentNet) -> SegmentNet:
    """Copy of ``net`` that does not compute the contact head, which only training needs."""
    small = copy.deepcopy(net.cpu()).eval()
    wide = small.head
    used = 4 * HEADS.index("contact")  # four channels a head, of which it is the last
    small.head = nn.Conv2d(wide.in_channels, used, 1)
    with torch.no_grad():
        small.head.weight.copy_(wide.weight[:used])
        assert wide.bias is not None
        assert small.head.bias is not None
        small.head.bias.copy_(wide.bias[:used])
    return small.eval()


def export_onnx(net: SegmentNet, path: Path, how: Grouping | None = None) -> Path:
    """Write ``path``: input ``image`` (y, x) float32, outputs ``labels`` and ``probability``.

    Height and width are free multiples of 16. The weights are inside the file.
    """
    graph = CountsToLabels(without_contact(net), how).eval()
    high = 8192 // STRIDE
    shape = {
        0: STRIDE * torch.export.Dim("rows", min=2, max=high),
        1: STRIDE * torch.export.Dim("columns", min=2, max=high),
    }
    example = torch.rand(6 * STRIDE, 10 * STRIDE)
    with warnings.catch_warnings():
        # the exporter warns of its own internals
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph, (example,), dynamo=True, opset_version=OPSET, dynamic_shapes=(shape,),
            input_names=["image"], output_names=["labels", "probability"], verbose=False,
        )  # fmt: skip
    assert program is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(str(path), external_data=False)
    return path
