"""How good a restored image is: PSNR, SSIM, and resolution by Fourier ring correlation.

Fourier ring correlation compares two images of one field ring by ring of spatial frequency; the
frequency at which what they have in common sinks below a threshold is the resolution (van Heel and
Schatz, J Struct Biol 151, 250-262, 2005, doi 10.1016/j.jsb.2005.05.009).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError

LEAST_SIDE_PX: Final = 32
"""Smaller images have too few frequencies for a curve."""
CLEAN_LIMIT: Final = 0.5
"""Against a clean image this says what 1/7 says of two noisy halves (Rosenthal and Henderson,
J Mol Biol 333, 721-745, 2003)."""
_TAPER: Final = 0.125
"""Share of each side that is faded out, so that opposite borders do not correlate."""
_SMOOTH: Final = (0.25, 0.5, 0.25)

Reference = Literal["clean", "split"]
Image = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fit:
    """``gain * image + offset`` is nearest to the truth."""

    gain: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class RingCorrelation:
    """Correlation of two images by spatial frequency."""

    frequency: NDArray[np.float64]
    """(n,) cycles per pixel, 0 to 0.5."""
    correlation: NDArray[np.float64]
    """(n,) from -1 to 1."""
    half_bit: NDArray[np.float64]
    """(n,) threshold at which each pixel holds half a bit of information."""

    def resolution_px(self, limit: float | Literal["half-bit"]) -> float:
        """Period in pixels at which the smoothed curve first sinks below a limit.

        Returns
        -------
        float
            2 where it never does: finer than the pixels can show; infinity where it begins below.
        """
        curve = np.convolve(np.pad(self.correlation, 1, mode="edge"), _SMOOTH, "valid")
        line = self.half_bit if limit == "half-bit" else np.full_like(curve, limit)
        # one pixel has no information by definition, and the lowest rings have hardly more
        below = np.flatnonzero(curve[1:] < line[1:]) + 1
        if len(below) == 0:
            return 2.0
        at = int(below[0])
        over, under = curve[at - 1] - line[at - 1], line[at] - curve[at]
        share = over / (over + under) if at > 1 and over > 0 else 0.0
        frequency = self.frequency[at - 1] + share * (self.frequency[at] - self.frequency[at - 1])
        return 1.0 / float(frequency) if frequency > 0 else math.inf


@dataclass(frozen=True, slots=True, eq=False)
class RestorationScore:
    """Scores of one image against its truth."""

    psnr_db: float
    """Infinite for equal images."""
    ssim: float
    """NaN where scikit-image is missing."""
    data_range: float
    """Counts from black to white that PSNR and SSIM refer to."""
    fit: Fit
    """What was applied to the image before it was compared."""
    rings: RingCorrelation


def restoration_score(
    image: NDArray[Any],
    truth: NDArray[Any],
    *,
    data_range: float | None = None,
    fit: bool = False,
) -> RestorationScore:
    """Compare an image with the truth.

    Parameters
    ----------
    image, truth
        (y, x) of any real dtype, the same size.
    data_range
        Counts from black to white; None takes 255 for a truth of 8 bits, else the span of the
        truth.
    fit
        First scale the image by the gain and offset that bring it nearest to the truth, for images
        of another exposure.

    Raises
    ------
    ImageError
        When the sizes differ, the truth is one grey, or pixels are no finite numbers.
    """
    one, true = _checked(image, truth)
    span = data_range if data_range is not None else usual_range(truth)
    if not (math.isfinite(span) and span > 0):
        raise ImageError(
            f"got a data range of {span:g} counts, need more than 0; give --data-range"
        )
    scale = best_fit(one, true) if fit else Fit()
    fitted = one * scale.gain + scale.offset
    return RestorationScore(
        psnr(fitted, true, span), ssim(fitted, true, span), span, scale, ring_correlation(one, true)
    )


def usual_range(truth: NDArray[Any]) -> float:
    """255 for 8 bits, else from the least to the highest pixel."""
    if truth.dtype == np.uint8:
        return 255.0
    return float(truth.max()) - float(truth.min())


def best_fit(image: NDArray[Any], truth: NDArray[Any]) -> Fit:
    """Gain and offset of least squared error; gain 0 for an image that is one grey."""
    x, y = np.asarray(image, np.float64), np.asarray(truth, np.float64)
    dx = x - x.mean()
    power = float((dx * dx).mean())
    gain = float((dx * (y - y.mean())).mean()) / power if power > 0 else 0.0
    return Fit(gain, float(y.mean()) - gain * float(x.mean()))


def psnr(image: NDArray[Any], truth: NDArray[Any], data_range: float) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal images."""
    error = np.asarray(image, np.float64) - np.asarray(truth, np.float64)
    mean_square = float((error * error).mean())
    return 10.0 * math.log10(data_range**2 / mean_square) if mean_square > 0 else math.inf


def ssim(image: NDArray[Any], truth: NDArray[Any], data_range: float) -> float:
    """Mean structural similarity, windows of 7 x 7 px (Wang et al., IEEE Trans Image Process 2004).

    Returns
    -------
    float
        As scikit-image computes it; NaN where that is not installed.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        return math.nan
    one, true = np.asarray(image, np.float64), np.asarray(truth, np.float64)
    measure: Any = structural_similarity
    return float(measure(one, true, data_range=data_range))


def ring_correlation(first: NDArray[Any], second: NDArray[Any]) -> RingCorrelation:
    """Fourier ring correlation of two images of one field, in rings one frequency step wide.

    Parameters
    ----------
    first, second
        (y, x) of any real dtype, the same size, at least ``LEAST_SIDE_PX`` each way; the middle
        square is used. Their noise must be independent for the curve to speak of the sample.

    Raises
    ------
    ImageError
        When they differ in size, are too small, or hold what is no finite number.
    """
    one, other = _checked(first, second)
    side = min(one.shape)
    if side < LEAST_SIDE_PX:
        raise ImageError(f"got images of {_size(one)}, need {LEAST_SIDE_PX} px each way at least")
    window = _window(side)
    spectra = [
        np.fft.fft2((_middle(a, side) - _middle(a, side).mean()) * window) for a in (one, other)
    ]
    steps = np.fft.fftfreq(side) * side
    ring = np.rint(np.hypot(steps[:, None], steps[None, :])).astype(np.int64)
    count = side // 2 + 1
    inside = ring < count
    at = ring[inside]

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(at, values[inside], count), np.float64)

    common = total((spectra[0] * spectra[1].conj()).real)
    power = total(np.abs(spectra[0]) ** 2) * total(np.abs(spectra[1]) ** 2)
    correlation = np.divide(common, np.sqrt(power), out=np.zeros(count), where=power > 0)
    correlation[0] = 1.0  # the means were taken off: what is left of them says nothing
    # half of a ring mirrors the other, and fading out spreads each frequency over its neighbours
    independent = np.bincount(at, minlength=count) / 2 * float((window**2).mean())
    root = np.sqrt(np.maximum(independent, 1.0))
    half_bit = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
    return RingCorrelation(np.arange(count) / side, correlation, half_bit)


def split_frames(frames: NDArray[Any]) -> tuple[Image, Image]:
    """Means of the even and of the odd frames of a still place: two halves for a ring correlation.

    Raises
    ------
    ImageError
        When there are fewer than two frames.
    """
    if frames.ndim != 3 or len(frames) < 2:
        raise ImageError(f"got frames of shape {frames.shape}, need (t, y, x) with 2 at least")
    even = len(frames) // 2 * 2
    return (
        frames[0:even:2].mean(axis=0, dtype=np.float64),
        frames[1:even:2].mean(axis=0, dtype=np.float64),
    )


def _checked(image: NDArray[Any], truth: NDArray[Any]) -> tuple[Image, Image]:
    if image.shape != truth.shape or image.ndim != 2:
        raise ImageError(
            f"got images of {_size(image)} and {_size(truth)}, need one size: compare images of "
            "the same field, neither cropped nor scaled"
        )
    one, true = np.asarray(image, np.float64), np.asarray(truth, np.float64)
    for name, array in (("image", one), ("truth", true)):
        if not np.isfinite(array).all():
            raise ImageError(f"the {name} holds NaN or infinity; put real counts there first")
    return one, true


def _window(side: int) -> Image:
    """Flat in the middle, faded out along the borders by a cosine."""
    fade = max(int(side * _TAPER), 1)
    line = np.ones(side)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
    line[:fade], line[-fade:] = ramp, ramp[::-1]
    return np.asarray(line[:, None] * line[None, :])


def _middle(image: Image, side: int) -> Image:
    y, x = ((length - side) // 2 for length in image.shape)
    return image[y : y + side, x : x + side]


def _size(image: NDArray[Any]) -> str:
    return " x ".join(str(length) for length in image.shape[::-1])
