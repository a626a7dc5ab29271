"""The published StarDist 2D network (Schmidt et al. 2018, arXiv 1806.03535), declared in torch.

Layers and widths are those of the model that its authors publish for fluorescent nuclei: grid 2 x
2, a U-Net of depth 3 with 32 filters at the top and 3 x 3 kernels, 128 features, 32 rays. The
weights are random: speed does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

WEIGHTS = 1_425_185
"""Trainable values of the published network."""

RAYS = 32
FEATURES = 128
BASE = 32
DEPTH = 3

Predict = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]


def stardist_network(threads: int) -> Predict:
    """Network with random weights, run in eager mode by ``threads`` threads.

    Returns
    -------
    A function that takes a normalised image (y, x), both multiples of 16, and returns object
    probability (y / 2, x / 2) and distances to the outline (rays, y / 2, x / 2).

    Raises
    ------
    ImportError
        When torch is not installed.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    layers = nn.ModuleList()

    def conv(inputs: int, outputs: int, kernel: int = 3) -> Any:
        layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        layers.append(layer)
        return layer

    widths = [BASE * 2**level for level in range(DEPTH)]
    to_grid = [conv(1, BASE), conv(BASE, BASE)]
    down = [
        [conv(inputs, width), conv(width, width)]
        for inputs, width in zip([BASE, *widths[:-1]], widths, strict=True)
    ]
    middle = [conv(widths[-1], 2 * widths[-1]), conv(2 * widths[-1], widths[-1])]
    up = [
        [conv(2 * width, width), conv(width, max(width // 2, BASE))] for width in reversed(widths)
    ]
    features = conv(BASE, FEATURES)
    probability, distances = conv(FEATURES, 1, 1), conv(FEATURES, RAYS, 1)
    count = sum(value.numel() for value in layers.parameters())
    if count != WEIGHTS:
        raise AssertionError(f"the network has {count} weights, the published one {WEIGHTS}")
    layers.eval()

    def block(x: Any, parts: list[Any]) -> Any:
        for part in parts:
            x = functional.relu(part(x))
        return x

    def predict(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            x = functional.max_pool2d(block(torch.from_numpy(image)[None, None], to_grid), 2)
            skips = []
            for parts in down:
                x = block(x, parts)
                skips.append(x)
                x = functional.max_pool2d(x, 2)
            x = block(x, middle)
            for parts, skip in zip(up, reversed(skips), strict=True):
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
                x = block(torch.cat([x, skip], dim=1), parts)
            x = functional.relu(features(x))
            return probability(x).sigmoid()[0, 0].numpy(), distances(x)[0].numpy()

    return predict
