"""What the network sees of an image: made the same way in training and in the exported graph."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LOW_PERCENTILE, HIGH_PERCENTILE = 1.0, 99.8
STRIDE_PX = 4
"""Percentiles look at every such row and column; sorting all would cost more than the network."""
LINEAR_RANGE = (-0.5, 2.0)
COMPRESSION = 20.0


def normalise(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Camera counts (y, x) to 0 at the 1st percentile of the image and 1 at the 99.8th."""
    seen = image[::STRIDE_PX, ::STRIDE_PX]
    low, high = np.percentile(seen, (LOW_PERCENTILE, HIGH_PERCENTILE), method="nearest")
    spread = max(float(high - low), 1e-6)
    return np.asarray((image - low) / spread, dtype=np.float32)


def two_views(x: Tensor) -> Tensor:
    """Show a normalised image to the network, once linear, once compressed.

    The compressed view keeps dim cells visible beside a bright bead that sets the linear scale.

    Parameters
    ----------
    x
        (n, 1, y, x), 0 at the 1st percentile of the image, 1 at the 99.8th.

    Returns
    -------
    Tensor
        (n, 2, y, x).
    """
    linear = x.clamp(*LINEAR_RANGE)
    compressed = torch.log1p(COMPRESSION * x.clamp(0.0, COMPRESSION)) / 3.0
    return torch.cat([linear, compressed], dim=1)
