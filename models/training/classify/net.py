"""The network that sorts crops into classes: a small residual network.

Three levels of residual blocks (He et al. 2016, arXiv 1512.03385) on 32 x 32 crops, the mean over
what is left of the picture, and a layer that joins it with the context of the object.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.errors import ModelError
from models.tasks.crops import CHANNELS, CONTEXT

WIDTHS = (12, 24, 48)
_JOINED = 32
_CONTEXT_WIDTH = 16


class _Residual(nn.Module):
    """Two 3 x 3 convolutions, added to what came in."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: bool) -> None:
        super().__init__()
        self.first = _conv(inputs, outputs, stride, norm)
        self.second = _conv(outputs, outputs, 1, norm)
        same = stride == 1 and inputs == outputs
        self.across: nn.Module = nn.Identity() if same else _conv(inputs, outputs, stride, norm, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        return nnf.relu(self.second(nnf.relu(self.first(x))) + self.across(x))


def _conv(inputs: int, outputs: int, stride: int, norm: bool, side: int = 3) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=not norm)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs)) if norm else nn.Sequential(layer)


class ClassNet(nn.Module):
    """Crops and their context to one logit a class.

    Parameters
    ----------
    classes
        How many.
    norm
        With batch normalisation, for training from nothing; without, its effect is in the weights.

    Notes
    -----
    ``forward`` takes windows (n, 3, 32, 32) and context (n, 3), both as `models.tasks.crops` cuts
    them, and gives (n, classes).
    """

    def __init__(self, classes: int, norm: bool = True) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.norm = norm
        self.stem = _conv(len(CHANNELS), first, 2, norm, 5)
        self.body = nn.Sequential(
            _Residual(first, first, 1, norm),
            _Residual(first, second, 2, norm),
            _Residual(second, second, 1, norm),
            _Residual(second, third, 2, norm),
        )
        self.beside = nn.Linear(len(CONTEXT), _CONTEXT_WIDTH)
        self.join = nn.Linear(third + _CONTEXT_WIDTH, _JOINED)
        self.head = nn.Linear(_JOINED, classes)

    def forward(self, windows: Tensor, context: Tensor) -> Tensor:
        """Run the network."""
        seen = self.body(nnf.relu(self.stem(windows))).mean(dim=(2, 3))
        both = torch.cat([seen, nnf.relu(self.beside(context))], dim=1)
        return self.head(nnf.relu(self.join(both)))


class CropsToProbabilities(nn.Module):
    """Network, temperature and softmax as one graph."""

    def __init__(self, net: ClassNet, temperature: float) -> None:
        super().__init__()
        self.net = without_norm(net)
        # dividing the last layer is dividing the logits (Guo et al. 2017, arXiv 1706.04599)
        with torch.no_grad():
            self.net.head.weight.div_(temperature)
            self.net.head.bias.div_(temperature)

    def forward(self, windows: Tensor, context: Tensor) -> Tensor:
        """(n, classes), each row adding up to 1."""
        return torch.softmax(self.net(windows, context), dim=1)


def without_norm(net: ClassNet) -> ClassNet:
    """Copy in evaluation mode that gives the same logits without batch normalisation."""
    small = copy.deepcopy(net).cpu().eval()
    small.norm = False
    for module in list(small.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Sequential) and len(child) == 2:
                layer, norm = child
                if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(module, name, nn.Sequential(fuse_conv_bn_eval(layer, norm)))
    return small


def net_from_onnx(path: Path, classes: int) -> ClassNet:
    """Network with the weights of an exported one, to train on from there.

    The last layer is new: which of its classes are alike nobody knows.

    Raises
    ------
    ModelError
        When the file does not hold the weights of such a network under their names.
    """
    import onnx
    from onnx import numpy_helper

    held: dict[str, Any] = {
        one.name.removeprefix("net."): numpy_helper.to_array(one)
        for one in onnx.load(str(path)).graph.initializer
    }
    net = ClassNet(classes, norm=False)
    state = net.state_dict()
    for name, old in state.items():
        if name.startswith("head."):
            continue
        if name not in held or held[name].shape != tuple(old.shape):
            raise ModelError(
                f"{path.name} does not hold {name} of shape {tuple(old.shape)}; it was not made by "
                "`parfocal models train classify` of this version, so training cannot start from it"
            )
        state[name] = torch.from_numpy(held[name].copy())
    net.load_state_dict(state)
    return net
