"""PSNR, SSIM and ring correlation against other programs, and against what is known by theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ImageError
from models.scoring.restoration import (
    best_fit,
    psnr,
    restoration_score,
    ring_correlation,
    split_frames,
    ssim,
)

metrics = pytest.importorskip("skimage.metrics", reason="the reference is scikit-image")
ndimage = pytest.importorskip("scipy.ndimage", reason="the reference is scipy")


def pair(dtype: str = "uint16") -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    clean = ndimage.gaussian_filter(rng.random((96, 120)), 2)
    clean = (clean - clean.min()) / np.ptp(clean) * 200 + 20
    noisy = np.clip(rng.poisson(clean), 0, 255)
    return noisy.astype(dtype), clean.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_psnr_and_ssim_are_those_of_scikit_image(dtype: str) -> None:
    image, truth = pair(dtype)
    span = 255.0 if dtype == "uint8" else float(np.ptp(truth))
    score = restoration_score(image, truth)
    assert score.data_range == span
    wanted = metrics.peak_signal_noise_ratio(
        truth.astype(float), image.astype(float), data_range=span
    )
    assert score.psnr_db == pytest.approx(wanted, abs=1e-9)
    wanted = metrics.structural_similarity(
        truth.astype(float), image.astype(float), data_range=span
    )
    assert score.ssim == pytest.approx(wanted, abs=1e-9)


def test_equal_images() -> None:
    _, truth = pair()
    score = restoration_score(truth, truth)
    assert math.isinf(score.psnr_db)
    assert score.ssim == 1.0
    assert score.rings.resolution_px("half-bit") == 2.0


@given(gain=st.floats(0.1, 20), offset=st.floats(-500, 500))
@settings(max_examples=20, deadline=None)
def test_a_fit_undoes_gain_and_offset(gain: float, offset: float) -> None:
    image, truth = pair("float32")
    plain = restoration_score(image, truth, fit=True)
    moved = restoration_score(image.astype(float) * gain + offset, truth, fit=True)
    assert moved.psnr_db == pytest.approx(plain.psnr_db, abs=1e-6)
    fit = best_fit(truth * gain + offset, truth)
    assert fit.gain * gain == pytest.approx(1, rel=1e-4)


def noisy_twins(sigma_px: float, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Two images of one blurred random field with noise of their own, and its 1/7 period."""
    rng = np.random.default_rng(1)
    field = ndimage.gaussian_filter(rng.normal(size=(512, 512)), sigma_px, mode="wrap")
    field = (field - field.mean()) / field.std()
    first, second = (field + noise * rng.normal(size=field.shape) for _ in range(2))
    line = np.fft.fftfreq(512)
    power = np.exp(-((2 * np.pi * sigma_px) ** 2) * (line[:, None] ** 2 + line[None] ** 2)).mean()
    # signal power at this frequency over signal and noise is 1/7
    ratio = noise**2 / 6 * power
    frequency = math.sqrt(-math.log(ratio)) / (2 * np.pi * sigma_px)
    return field, first, second, 1 / frequency


@pytest.mark.parametrize("sigma_px", [1.0, 1.5, 2.0, 3.0])
def test_resolution_of_a_known_blur(sigma_px: float) -> None:
    field, first, second, wanted = noisy_twins(sigma_px, 0.3)
    rings = ring_correlation(first, second)
    assert rings.resolution_px(1 / 7) == pytest.approx(wanted, rel=0.07)
    # against the clean field, 1/2 stands near where 1/7 of two halves does
    assert ring_correlation(first, field).resolution_px(0.5) == pytest.approx(wanted, rel=0.10)


def test_half_bit_limit_follows_its_formula() -> None:
    _, first, second, _ = noisy_twins(1.5, 0.3)
    limit = ring_correlation(first, second).half_bit
    assert (np.diff(limit[:20:4]) < 0).all()
    assert limit[-1] == pytest.approx(0.2071 / 1.2071, abs=0.08)


def test_noise_alone_has_no_resolution() -> None:
    rng = np.random.default_rng(0)
    rings = ring_correlation(*rng.normal(size=(2, 256, 256)))
    assert rings.resolution_px("half-bit") == math.inf
    assert abs(rings.correlation[10:]).max() < 0.3


def test_more_noise_means_less_resolution() -> None:
    periods = []
    for noise in (0.1, 0.3, 1.0):
        _, first, second, _ = noisy_twins(1.5, noise)
        periods.append(ring_correlation(first, second).resolution_px("half-bit"))
    assert periods == sorted(periods)


def test_split_frames_are_means_of_even_and_odd() -> None:
    frames = np.arange(5 * 4).reshape(5, 2, 2)
    even, odd = split_frames(frames)
    assert np.array_equal(even, frames[[0, 2]].mean(axis=0))
    assert np.array_equal(odd, frames[[1, 3]].mean(axis=0))
    with pytest.raises(ImageError, match="2 at least"):
        split_frames(frames[:1])


def test_what_cannot_be_compared_is_refused() -> None:
    image, truth = pair()
    with pytest.raises(ImageError, match="119 x 96 and 120 x 96"):
        restoration_score(image[:, :-1], truth)
    with pytest.raises(ImageError, match="data range of 0"):
        restoration_score(image, np.full_like(truth, 7))
    with pytest.raises(ImageError, match="NaN"):
        restoration_score(np.full(truth.shape, np.nan), truth)
    with pytest.raises(ImageError, match="32 px each way"):
        ring_correlation(image[:20, :20], truth[:20, :20])
    assert psnr(image, truth, 255) > 20
    assert ssim(image, truth, 255) > 0.5
