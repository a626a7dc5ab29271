"""Between a denoiser's weights and its ONNX file, both ways: no other file of weights is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.training.denoise.net import MULTIPLE, STATE_CHANNELS, DenoiseNet
from models.training.onnxfile import write_onnx

LARGEST_PX = 8192


class OneFrame(nn.Module):
    """A denoiser on one image and one noise model at a time, as the file has it."""

    def __init__(self, net: DenoiseNet) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, image: Tensor, state: Tensor, noise: Tensor, fresh: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Denoised image and what is remembered for the next one."""
        counts, kept = self.net(image, state, noise[None], fresh[None])
        return counts, kept


def export_denoiser(net: DenoiseNet, path: Path) -> Path:
    """Write ``path``: inputs ``image`` (1, 1, y, x), ``state`` (1, 3, y, x), ``noise`` (3,) and
    ``fresh`` (1,); outputs ``denoised`` and ``state_out``. All float32, as of `DenoiseNet`.
    """
    net = DenoiseNet.like(net)
    high = LARGEST_PX // MULTIPLE
    shape = {
        2: MULTIPLE * torch.export.Dim("rows", min=4, max=high),
        3: MULTIPLE * torch.export.Dim("columns", min=4, max=high),
    }
    size = (8 * MULTIPLE, 12 * MULTIPLE)
    examples = (
        torch.rand(1, 1, *size) * 100,
        torch.zeros(1, STATE_CHANNELS, *size),
        torch.tensor([1.0, 0.0, 1.0]),
        torch.ones(1),
    )
    return write_onnx(
        OneFrame(net), path, examples, (shape, shape, None, None),
        ("image", "state", "noise", "fresh"), ("denoised", "state_out"),
    )  # fmt: skip


def denoiser_from_onnx(path: Path) -> DenoiseNet:
    """Network whose weights are those of an ONNX file that `export_denoiser` wrote.

    Raises
    ------
    ModelError
        When it is of another network.
    """
    import onnx
    from onnx import numpy_helper

    held = {
        part.name.removeprefix("net."): torch.from_numpy(numpy_helper.to_array(part).copy())
        for part in onnx.load(str(path)).graph.initializer
    }
    net = DenoiseNet(_widths(held, path))
    wanted = net.state_dict()
    wrong = [name for name, value in wanted.items() if _shape(held, name) != value.shape]
    if wrong:
        raise ModelError(
            f"{path.name} is no denoiser of this program: it has no {wrong[0]} of "
            f"{tuple(wanted[wrong[0]].shape)}; start from one that `parfocal models list` shows"
        )
    layers = {_layer(name) for name in wanted}
    more = [name for name in held if name.startswith("unet.") and _layer(name) not in layers]
    if more:
        raise ModelError(
            f"{path.name} is a denoiser of another version of this program: it has {more[0]} too; "
            "start from one that `parfocal models list` shows"
        )
    net.load_state_dict({name: held[name] for name in wanted})
    return net.eval()


def _layer(name: str) -> str:
    return name.rsplit(".", 1)[0]


def _shape(held: Mapping[str, Tensor], name: str) -> torch.Size | None:
    return held[name].shape if name in held else None


def _widths(held: Mapping[str, Tensor], path: Path) -> tuple[int, ...]:
    layers = [f"unet.down.{level}.b.bias" for level in range(3)]
    if not all(layer in held for layer in layers):
        raise ModelError(
            f"{path.name} is no denoiser of this program: {layers[0]} is not in it; start from "
            "one that `parfocal models list` shows"
        )
    return tuple(len(held[layer]) for layer in layers)
