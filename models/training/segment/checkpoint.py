"""Read what a training of a segmentation network left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from models.errors import ModelError
from models.training.segment.net import SegmentNet, widths_of


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are accepted.

    Raises
    ------
    ModelError
        When there is none.
    """
    if not path.is_file():
        raise ModelError(f"no checkpoint at {path}; train first, or give the folder of a training")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_net(checkpoint: Path) -> SegmentNet:
    """Averaged network of a checkpoint, in evaluation mode.

    Raises
    ------
    ModelError
        When there is none, or it is of another kind of network.
    """
    average = load_checkpoint(checkpoint).get("average", {})
    try:
        net = SegmentNet(widths_of(average))
    except KeyError as missing:
        raise ModelError(
            f"{checkpoint} holds no segmentation network: no {missing.args[0]} in it"
        ) from None
    net.load_state_dict(average)
    return net.eval()
