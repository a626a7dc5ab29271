"""A network to train on from the file of a trained one, such as those that ship.

Files hold networks whose norms are folded into the convolutions before them. A norm that is to
learn needs to know what comes in: it is watched on a few images, and the norms are unfolded so that
the network says what it said.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.catalog import weights_path
from models.errors import ModelError
from models.training.rebuild import module_from_onnx
from models.training.segment.graph import CountsToLabels
from models.training.segment.lean import LeanNet, as_trained
from models.training.segment.net import SegmentNet

LEAST_VARIANCE = 1e-4
"""Of a channel that says the same everywhere."""


def start_from(model: str | Path, batches: Sequence[Tensor]) -> SegmentNet:
    """The network of a file, ready to be trained on.

    Parameters
    ----------
    model
        Name of a segmentation network that ships, or path of an ONNX file that this program wrote.
    batches
        Some (n, c, y, x) inputs of the network, as those that it will be trained on.

    Raises
    ------
    ModelError
        When there is no such file, or it is of another kind.
    """
    module = module_from_onnx(weights_path(str(model))).module
    if not isinstance(module, CountsToLabels) or not isinstance(module.net, LeanNet):
        raise ModelError(f"{model} does not segment; start from nuclei, bacteria or cells")
    net = as_trained(module.net)
    _unfold_norms(net, batches)
    return net


@torch.no_grad()
def _unfold_norms(net: SegmentNet, batches: Sequence[Tensor]) -> None:
    """Let each norm take away and give back the mean and spread of what it is shown."""
    norms: list[Any] = [one for one in net.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    seen: dict[Any, list[Tensor]] = {norm: [] for norm in norms}

    def watch(norm: Any, given: tuple[Tensor, ...]) -> None:
        seen[norm].append(
            torch.stack([given[0].mean((0, 2, 3)), given[0].square().mean((0, 2, 3))])
        )

    hooks = [norm.register_forward_pre_hook(watch) for norm in norms]
    net.eval()
    for batch in batches:
        net(batch)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        mean, square = torch.stack(seen[norm]).mean(0)
        variance = (square - mean.square()).clamp(min=LEAST_VARIANCE)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - scale * norm.running_mean
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(shift + scale * mean)
