"""How strong the noise of frames is at each level of light, with no clean image.

What a denoiser leaves of noise is missing from its residual: of noise of variance v a good one
keeps about v (1 - d) there, where d is how far the answer in a pixel follows the count in that very
pixel (the divergence in Stein's unbiased estimate of risk; from one random perturbation by the way
of Ramani et al., IEEE Trans Image Process 2008). Divided by 1 - d, bin by bin of the light, the
residual gives the variance. The bare residual is up to a third too low in the bright places of real
scans: a network taught with so little noise learns to leave the rest in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.tasks.noise import NoiseModel

Floats = NDArray[np.float32]

QUANTILES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995, 1.0)
FEWEST_PX = 400
"""Pixels in a bin whose variance is believed."""
STEP = 0.25
"""Standard deviation of the perturbation, in that of the noise."""
MOST_FOLLOWED = 0.6
"""Divergence above which a residual says little of the noise."""
LEAST, MOST = 0.5, 3.0
"""How far the measured variance may be from the noise model's."""
TAIL = 6.0
"""Standard deviations above which a residual is of a speck of the sample, not of noise."""


@dataclass(frozen=True, slots=True, eq=False)
class VarianceRatio:
    """Variance of the noise as a multiple of the noise model's, by level of light."""

    levels: Floats
    """(n,) counts, ascending."""
    ratios: Floats
    """(n,)."""

    def at(self, clean: Floats) -> Floats:
        """Of pixels that are ``clean`` counts on average; any shape, float32."""
        return np.interp(clean, self.levels, self.ratios).astype(np.float32)


def measured_ratio(
    frames: NDArray[np.generic],
    clean: Floats,
    model: NoiseModel,
    denoise: Callable[[Floats], Floats],
) -> VarianceRatio:
    """Hold the residual of a denoiser against the noise model.

    Parameters
    ----------
    frames
        (t, y, x) counts.
    clean
        (t, y, x) what ``denoise`` makes of them.
    model
        Of the frames' noise.
    denoise
        (t, y, x) counts to counts; called once.
    """
    counts = np.asarray(frames, np.float32)
    spread = np.sqrt(model.variance(clean))
    sign = np.random.default_rng(0).choice(np.array([-1.0, 1.0], np.float32), counts.shape)
    moved = denoise(counts + STEP * spread * sign) - clean
    followed = moved * sign / (STEP * spread)
    left = np.clip((counts - clean) / spread, -TAIL, TAIL) ** 2
    edges = np.unique(np.quantile(clean, QUANTILES))
    bins = np.clip(np.searchsorted(edges, clean, side="right") - 1, 0, max(len(edges) - 2, 0))
    levels: list[float] = []
    ratios: list[float] = []
    for number in range(max(len(edges) - 1, 1)):
        here = bins == number
        if np.count_nonzero(here) < FEWEST_PX:
            continue
        kept = 1 - min(max(float(followed[here].mean()), 0.0), MOST_FOLLOWED)
        levels.append(float(clean[here].mean()))
        ratios.append(float(np.clip(left[here].mean() / kept, LEAST, MOST)))
    if not levels:
        levels, ratios = [float(clean.mean())], [1.0]
    return VarianceRatio(np.array(levels, np.float32), np.array(ratios, np.float32))
