"""The noise model of a running camera: looked at often at first, then now and then.

A single frame tells the gain within some per cent; the middle one of several estimates is steadier,
and a setting that does not change need not be looked at for every frame.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.result import ImageContext
from models.tasks.noise import NoiseModel, noise_of_blocks
from models.tasks.noise_blocks import Blocks, sample_blocks, top_of

KEPT = 9
"""Estimates of which the middle one is taken."""

AT_FIRST = 8
"""Frames that are all looked at, when a setting is new."""

EVERY = 32
"""Afterwards one frame in so many is looked at, and the one before it."""

MOST_SETTINGS = 32
"""Settings remembered; beyond it those unused for longest are forgotten."""

Setting = tuple[str, float, int, str]
"""Channel, exposure in ms, epoch and dtype: what the noise depends on."""


@dataclass(slots=True)
class _Known:
    seen: int = 0
    estimates: deque[NoiseModel] = field(default_factory=lambda: deque(maxlen=KEPT))
    before: Blocks | None = None
    """Blocks of the last frame, if the next one will be looked at."""
    before_at: str = ""
    """Position of that frame."""
    middle: NoiseModel | None = None


class NoiseEstimator:
    """Keeps one noise model for each setting of the camera. One thread uses it."""

    def __init__(self) -> None:
        self._known: OrderedDict[Setting, _Known] = OrderedDict()

    def reset(self) -> None:
        """Forget all: the next frame is of another camera, or the start of another movie."""
        self._known.clear()

    def model(
        self, pixels: NDArray[Any], context: ImageContext, *, same_place: bool = True
    ) -> NoiseModel:
        """Noise model to denoise this frame with; the same frames in order give the same models.

        Parameters
        ----------
        pixels
            (y, x) camera counts; not kept.
        context
            How they were taken.
        same_place
            Whether the frame before of this setting shows the same place.
        """
        setting = (context.channel, context.exposure_ms, context.epoch, pixels.dtype.str)
        known = self._known.setdefault(setting, _Known())
        self._known.move_to_end(setting)
        while len(self._known) > MOST_SETTINGS:
            self._known.popitem(last=False)
        now, then = _is_due(known.seen), _is_due(known.seen + 1)
        known.seen += 1
        blocks = sample_blocks(pixels) if now or then else None
        if now and blocks is not None:
            before = known.before if same_place and known.before_at == context.position else None
            known.estimates.append(noise_of_blocks(blocks, before, top_of(pixels)))
            known.middle = _middle(list(known.estimates))
        known.before, known.before_at = blocks if then else None, context.position
        assert known.middle is not None  # the first frame is always due
        return known.middle


def _is_due(number: int) -> bool:
    return number < AT_FIRST or number % EVERY == 0


def _middle(estimates: list[NoiseModel]) -> NoiseModel:
    """The one of middle gain among those of the kind that is more common, shot noise or none."""
    fitted = [one for one in estimates if one.fitted]
    # an empty moment says nothing against a gain that was seen before
    of_kind = fitted if 2 * len(fitted) >= len(estimates) else estimates[-1:]
    order = np.argsort([one.gain for one in of_kind], kind="stable")
    return of_kind[int(order[(len(order) - 1) // 2])]
