"""Is what denoising took away noise alone? The residual, whitened by the noise model, must say so.

Noise has no grain wider than a pixel. Smoothed, its energy falls by a factor that is known; where
more is left, something of the sample is in the residual. That is judged patch by patch, on the
busiest parts of the image, since detail fills but a little of it. (Tests of residuals for being
white are an old way to judge denoising without a clean image; see Almeida and Figueiredo, IEEE
Trans Image Process 2013, doi 10.1109/TIP.2013.2257810.) Beside it: is the noise itself of the kind
that the noise model knows?
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.result import DenoiseReport
from models.tasks.filters import gaussian_kernel
from models.tasks.noise import NoiseModel
from models.tasks.noise_blocks import top_of

PATCH_PX = 64
BUSY, OTHERS = 8, 8
"""Patches looked at: those with most in them, and as many of the rest in turn."""

WIDTHS_PX = (1.0, 2.0)
"""Gaussians that the residual is smoothed with: fine and coarse detail."""

STRUCTURE = 3.0
"""Energy of the smoothed residual, as a multiple of what noise leaves, at which the alarm goes.
With the clean image itself it is below 1.5, with non-local means tuned to the noise below 2.7, with
a Gaussian of twice the best width mostly above 5."""

TOO_SMALL = 0.4
"""Standard deviation of the whitened residual below which most noise is still in the picture."""

SAME_SIGN = 0.25
"""Correlation of the residual with the detail of the picture that counts as showing it."""

DETAIL_PX = 6.0
"""Width of the Gaussian above which structure of the picture is no detail."""

SHIFTED = 6.0
"""Standard errors by which the mean of a patch differs from the raw one if it is changed."""

GRAIN = 1.5
"""How far first differences of the noise may exceed second ones; 1 where pixels are independent."""

MISFIT = 2.0
"""Factor between the noise seen and that of the noise model, at its limit."""

SATURATED = 0.01
"""Part of the pixels at the top of the range, at its limit."""

SMALLEST_PX = 16
"""Images less wide than this are not judged."""

MOST_CHANNELS = 16
"""Channels of which it is remembered what was found."""

Patches = NDArray[np.float32]
"""(n, side, side)."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a look at one residual says; scores are 0 as it should be and 1 at the limit."""

    alarm: float = 0.0
    reason: str = ""
    strangeness: float = 0.0
    unlike_because: str = ""


class ResidualWatch:
    """Looks at one residual in so many, the first included. One thread uses it."""

    def __init__(self, every_frames: int = 10) -> None:
        self._every_frames = every_frames
        self.reset()

    def reset(self) -> None:
        """Forget what was found: the next frame is looked at."""
        self._turn, self._last, self._judged = 0, -1, Judged()

    def report(
        self,
        pixels: NDArray[Any],
        denoised: NDArray[np.float32],
        noise: NoiseModel,
        seq: int,
        *,
        fresh_because: str = "",
        model: str = "",
    ) -> DenoiseReport:
        """Report on one frame; the residual is looked at when it is its turn.

        Parameters
        ----------
        pixels, denoised
            (y, x) raw counts and what was made of them, not rounded.
        noise
            The model that they were denoised with.
        seq
            Number of the frame.
        fresh_because
            Why earlier frames were not used; empty where they were.
        model
            Name of the weights.
        """
        if self._last < 0 or not 0 <= seq - self._last < self._every_frames:
            self._judged = judge_residual(pixels, denoised, noise, self._turn)
            self._turn, self._last = self._turn + 1, seq
        now = self._judged
        return DenoiseReport(
            seq=seq,
            checked_seq=self._last,
            alarm=now.alarm,
            reason=now.reason,
            strangeness=now.strangeness,
            unlike_because=now.unlike_because,
            gain=noise.gain if noise.fitted else math.nan,
            offset=noise.offset,
            read_variance=noise.read_variance,
            read_noise_e=noise.read_noise_e,
            fresh=bool(fresh_because),
            fresh_because=fresh_because,
            model=model,
        )


class Watches:
    """A watch for each channel: what is removed in one says nothing of another."""

    def __init__(self, every_frames: int = 10) -> None:
        self._every_frames = every_frames
        self._kept: OrderedDict[str, ResidualWatch] = OrderedDict()

    def reset(self) -> None:
        """Forget what was found: the next frame of each is looked at."""
        self._kept.clear()

    def of(self, channel: str) -> ResidualWatch:
        """The watch of one channel; of `MOST_CHANNELS` at most, those used last."""
        watch = self._kept.setdefault(channel, ResidualWatch(self._every_frames))
        self._kept.move_to_end(channel)
        while len(self._kept) > MOST_CHANNELS:
            self._kept.popitem(last=False)
        return watch


def judge_residual(
    pixels: NDArray[Any], denoised: NDArray[np.float32], noise: NoiseModel, turn: int = 0
) -> Judged:
    """Judge raw less denoised, both (y, x) counts; ``turn`` chooses which dull patches are seen."""
    side = min(PATCH_PX, *pixels.shape)
    if side < SMALLEST_PX:
        return Judged()
    chosen = _chosen(denoised, side, turn)
    raw = _cut(np.asarray(pixels), side, chosen)
    picture = _cut(denoised, side, chosen)
    sigma: Patches = np.sqrt(noise.variance(picture), dtype=np.float32)
    residual: Patches = (raw - picture) / sigma
    alarm, reason = _structure(residual, picture / sigma)
    strange, because = _unlike(raw, sigma, _top_share(pixels))
    return Judged(alarm, reason if alarm > 1 else "", strange, because if strange > 1 else "")


def _structure(residual: Patches, picture: Patches) -> tuple[float, str]:
    """Score and reason of a whitened residual, beside the picture in units of the noise."""
    spread = math.sqrt(float(np.mean(residual**2)))
    if spread < TOO_SMALL:
        score = min((1 - spread) / (1 - TOO_SMALL), 2.0)
        return score, f"most noise is left in the picture (residual {spread:.2f} of the noise)"
    fine = np.maximum(_fine(residual), 1e-6)
    excess = 0.0
    for width_px in WIDTHS_PX:
        smoothed = _smooth(residual, width_px)
        left = float(np.sum(gaussian_kernel(width_px) ** 2)) ** 2
        ratio = np.mean(smoothed**2, axis=(1, 2)) / (left * fine)
        excess = max(excess, _second_highest(ratio))
    score = max(excess - 1, 0.0) / (STRUCTURE - 1)
    return (
        score,
        f"{_what(residual, picture, fine)} (residual {excess:.1f} times as smooth as noise)",
    )


def _what(residual: Patches, picture: Patches, fine: NDArray[np.floating[Any]]) -> str:
    """In words, what a residual that is not noise alone looks like."""
    # wide, since a picture that was blurred has no fine detail left to compare with
    detail = picture - _smooth(picture, DETAIL_PX)
    smoothed = _smooth(residual, 1.0)
    size = math.sqrt(float(np.sum(smoothed**2)) * float(np.sum(detail**2)))
    same = float(np.sum(smoothed * detail)) / size if size > 0 else 0.0
    if same > SAME_SIGN:
        return "the residual shows edges of the sample: detail is being removed"
    if same < -SAME_SIGN:
        return "picture and frame differ at edges of the sample: detail is removed or made up"
    mean = residual.mean(axis=(1, 2)) * residual.shape[1] / np.sqrt(fine)
    if _second_highest(np.abs(mean)) > SHIFTED:
        return "the brightness of whole areas is being changed"
    return "the residual has a grain that noise has not: something of the sample is in it"


def _unlike(raw: Patches, sigma: Patches, top_share: float) -> tuple[float, str]:
    """Score and reason of the noise itself."""
    blocks = _quartered(raw)
    fine = np.maximum(_fine(blocks), 1e-6)
    steps = np.mean(np.diff(blocks, axis=1) ** 2, axis=(1, 2))
    steps = (steps + np.mean(np.diff(blocks, axis=2) ** 2, axis=(1, 2))) / 4
    # the sample's own edges are in the steps, so the quiet blocks speak
    grain = float(np.quantile(steps / fine, 0.1))
    expected = np.mean(_quartered(sigma) ** 2, axis=(1, 2))
    misfit = _misfit(fine / np.maximum(expected, 1e-6))
    scores = {
        f"noise of neighbouring pixels is alike ({grain:.1f}; 1 where it is not): a resized or "
        "compressed image?": (grain - 1) / (GRAIN - 1),
        "the noise is not as the noise model says": abs(math.log(misfit)) / math.log(MISFIT),
        f"{top_share:.1%} of the pixels are saturated": top_share / SATURATED,
    }
    because = max(scores, key=lambda key: scores[key])
    return max(scores[because], 0.0), because


def _misfit(ratio: NDArray[np.floating[Any]]) -> float:
    """Noise seen as a multiple of that expected, if three quarters of the blocks agree; else 1."""
    low, high = (float(k) for k in np.quantile(ratio, (0.25, 0.75)))
    return max(low, 1.0) if low > 1 else min(max(high, 1e-6), 1.0)


def _top_share(pixels: NDArray[Any]) -> float:
    """Part of the pixels at the top of the range, of a sample of them."""
    some = pixels[:: max(pixels.shape[0] // 256, 1), :: max(pixels.shape[1] // 256, 1)]
    top = top_of(pixels)
    # an image without any light is all at its top, which says nothing
    return float(np.mean(some >= top)) if float(some.min()) < top else 0.0


def _chosen(denoised: NDArray[np.float32], side: int, turn: int) -> NDArray[np.intp]:
    """Numbers of the patches to look at, in raster order of the grid of whole patches."""
    rows, columns = denoised.shape[0] // side, denoised.shape[1] // side
    step = max(side // 16, 1)
    coarse = denoised[: rows * side : step, : columns * side : step]
    parts = coarse.reshape(rows, side // step, columns, side // step) if side % step == 0 else None
    if rows * columns <= BUSY + OTHERS or parts is None:
        return np.arange(min(rows * columns, BUSY + OTHERS))
    order = np.argsort(-parts.var(axis=(1, 3)).ravel(), kind="stable")
    rest = np.sort(order[BUSY:])
    others = rest[(turn * OTHERS + np.arange(OTHERS)) * 7 % len(rest)]
    return np.unique(np.concatenate([order[:BUSY], others]))


def _cut(image: NDArray[Any], side: int, chosen: NDArray[np.intp]) -> Patches:
    rows, columns = image.shape[0] // side, image.shape[1] // side
    whole = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    row, column = np.divmod(chosen, columns)
    return np.asarray(whole.swapaxes(1, 2)[row, column], np.float32)


def _quartered(patches: Patches) -> Patches:
    """Each patch as four."""
    half = patches.shape[1] // 2
    cut = patches[:, : 2 * half, : 2 * half].reshape(-1, 2, half, 2, half)
    return cut.swapaxes(2, 3).reshape(-1, half, half)


def _fine(patches: Patches) -> NDArray[np.float32]:
    """Variance of the pixel noise in each patch (n,), of second differences both ways."""
    rows = patches[:, :-2] - 2 * patches[:, 1:-1] + patches[:, 2:]
    mask = rows[:, :, :-2] - 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    return np.asarray(np.mean(mask**2, axis=(1, 2)) / 36.0, np.float32)


def _smooth(patches: Patches, width_px: float) -> Patches:
    """Gaussian of each patch, mirrored at its border."""
    blur = _blur(patches.shape[1], width_px)
    return np.asarray(blur @ patches @ blur.T, np.float32)


@lru_cache(maxsize=8)
def _blur(side: int, width_px: float) -> NDArray[np.float32]:
    """Matrix (side, side) that smooths along one axis: for patches faster than shifted sums."""
    weights = gaussian_kernel(width_px)
    radius = len(weights) // 2
    place = np.arange(-radius, side + radius) % (2 * side)
    mirrored = np.minimum(place, 2 * side - 1 - place)
    matrix = np.zeros((side, side), np.float32)
    for row in range(side):
        np.add.at(matrix[row], mirrored[row : row + len(weights)], weights)
    return matrix


def _second_highest(values: NDArray[np.floating[Any]]) -> float:
    """So that one patch with a speck of dust decides nothing; that of a small image does."""
    return float(np.sort(values)[-2] if len(values) > 1 else values[0])
