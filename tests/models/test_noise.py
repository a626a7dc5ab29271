"""The noise model read from frames is that of the camera that took them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from denoise_scenes import discs, exposed
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.result import ImageContext
from models.tasks.noise import NoiseModel, estimate_noise
from models.tasks.noise_running import AT_FIRST, EVERY, MOST_SETTINGS, NoiseEstimator

REAL = Path(__file__).parents[3] / "shared" / "data" / "denoise"
CAMERAS = [
    pytest.param(2.2, 100.0, 1.4, id="scmos"),
    pytest.param(0.5, 10.0, 1.0, id="fractions-of-a-count"),
    pytest.param(8.0, 300.0, 3.0, id="ccd"),
]


def true_variance(photons: float, gain: float, read_e: float) -> float:
    return gain**2 * (photons + read_e**2) + 1 / 12


@pytest.mark.parametrize("photons", [1, 5, 20, 100, 1000])
@pytest.mark.parametrize(("gain", "offset", "read_e"), CAMERAS)
def test_gain_and_variance_are_those_of_the_camera(
    photons: float, gain: float, offset: float, read_e: float
) -> None:
    rng = np.random.default_rng(1)
    light = discs(512, blur_px=2.0) * photons
    first, second = (exposed(light, rng, gain, offset, read_e) for _ in range(2))
    for model in (estimate_noise(second), estimate_noise(second, first)):
        assert model.fitted
        assert model.gain == pytest.approx(gain, rel=0.15)
        mean = offset + gain * photons
        expected = true_variance(photons, gain, read_e)
        assert float(model.variance(mean)) == pytest.approx(expected, rel=0.1)


def test_the_frame_before_helps_where_the_sample_is_sharp_and_still() -> None:
    rng = np.random.default_rng(1)
    light = discs(384, blur_px=0.9) * 1000
    first, second = (exposed(light, rng) for _ in range(2))
    alone, both = estimate_noise(second), estimate_noise(second, first)
    expected = true_variance(1000, 2.2, 1.4)
    assert float(both.variance(2300.0)) == pytest.approx(expected, rel=0.1)
    assert float(alone.variance(2300.0)) > float(both.variance(2300.0))


def test_a_frame_before_of_another_place_does_no_harm() -> None:
    rng = np.random.default_rng(1)
    here, elsewhere = (exposed(discs(384, seed) * 50, rng) for seed in (1, 2))
    model = estimate_noise(here, elsewhere)
    expected = true_variance(50, 2.2, 1.4)
    assert float(model.variance(210.0)) == pytest.approx(expected, rel=0.1)


def test_the_same_frame_twice_is_no_frame_without_noise() -> None:
    frame = exposed(discs(256) * 50, np.random.default_rng(1))
    assert estimate_noise(frame, frame.copy()) == estimate_noise(frame)


def test_eight_bits_saturated_cells_and_hot_pixels() -> None:
    rng = np.random.default_rng(3)
    frame = exposed(discs(384) * 25, rng, gain=2.0, offset=10.0, dtype=np.uint8)
    assert (frame == 255).mean() > 0.005
    frame[rng.integers(0, 384, 200), rng.integers(0, 384, 200)] = 255
    # most of the light is in pixels that cannot be used, so this is no fine estimate
    assert estimate_noise(frame).gain == pytest.approx(2.0, rel=0.4)


def test_single_photons_without_an_offset_are_not_clipped() -> None:
    rng = np.random.default_rng(3)
    frame = exposed(discs(384), rng, gain=1.0, offset=0.0, read_e=0.0, dtype=np.uint8)
    assert (frame == 0).mean() > 0.4
    assert estimate_noise(frame).gain == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize("level", [0, 100, 65535])
def test_an_image_without_light_gives_gaussian_noise(level: int) -> None:
    rng = np.random.default_rng(0)
    flat = np.full((128, 128), level, np.uint16)
    assert not estimate_noise(flat).fitted
    noisy = np.clip(rng.normal(500, 20, (128, 128)), 0, 65535).astype(np.uint16)
    model = estimate_noise(noisy)
    assert not model.fitted
    assert math.isnan(model.read_noise_e)
    assert float(model.variance(500.0)) == pytest.approx(400, rel=0.1)


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        elements=st.integers(0, 255),
    )
)
@settings(max_examples=60, deadline=None)
def test_no_image_gives_a_model_that_cannot_be_used(pixels: np.ndarray) -> None:
    model = estimate_noise(pixels)
    assert model.gain > 0
    assert model.read_variance > 0
    assert model.offset >= 0
    assert np.isfinite(model.variance(pixels)).all()
    assert (model.variance(pixels) > 0).all()
    assert np.isfinite(model.photons(pixels)).all()


def test_electrons() -> None:
    model = NoiseModel(gain=2.0, offset=100.0, read_variance=9.0)
    assert model.read_noise_e == pytest.approx(1.5)
    np.testing.assert_allclose(model.photons(np.array([100, 104])), [0, 2])
    np.testing.assert_allclose(model.variance(np.array([90, 100, 104])), [9, 9, 17])


def context(seq: int, **more: Any) -> ImageContext:
    return ImageContext(seq=seq, time_s=float(seq), **more)


def test_a_running_estimate_is_steadier_and_can_be_repeated() -> None:
    rng = np.random.default_rng(5)
    light = discs(192) * 10
    frames = [exposed(light, rng) for _ in range(EVERY + 3)]

    def gains() -> list[float]:
        estimator = NoiseEstimator()
        return [estimator.model(f, context(k)).gain for k, f in enumerate(frames)]

    once, again = gains(), gains()
    assert once == again
    assert once[-1] == pytest.approx(2.2, rel=0.1)
    assert len(set(once[AT_FIRST:EVERY])) == 1, "later frames are not looked at one by one"
    assert np.std(once[4:]) < np.std([estimate_noise(f).gain for f in frames])


def test_each_setting_has_its_own_model_and_their_number_is_bounded() -> None:
    rng = np.random.default_rng(5)
    bright = exposed(discs(256) * 50, rng, gain=1.0)
    other = exposed(discs(256) * 50, rng, gain=4.0)
    estimator = NoiseEstimator()
    assert estimator.model(bright, context(0, channel="a")).gain == pytest.approx(1.0, rel=0.15)
    assert estimator.model(other, context(1, channel="b")).gain == pytest.approx(4.0, rel=0.15)
    assert estimator.model(bright, context(2, channel="a")).gain == pytest.approx(1.0, rel=0.15)
    for k in range(2 * MOST_SETTINGS):
        estimator.model(bright[:32, :32], context(3 + k, exposure_ms=float(k)))
    assert len(estimator._known) == MOST_SETTINGS


def test_an_empty_moment_does_not_change_a_known_gain() -> None:
    rng = np.random.default_rng(5)
    estimator = NoiseEstimator()
    for k in range(3):
        found = estimator.model(exposed(discs(256) * 30, rng), context(k))
    empty = rng.normal(103, 3, (256, 256)).astype(np.uint16)
    after = [estimator.model(empty, context(3 + k)) for k in range(2)]
    assert found.fitted
    assert [one.gain for one in after] == pytest.approx([found.gain] * 2, rel=0.1)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the pictures beside the repository")
@pytest.mark.parametrize(
    ("noisy", "clean", "low", "high"),
    [
        # noise of neighbouring pixels is alike here, and single frames show but a part of it
        pytest.param("fmd_r1_noisy", "fmd_r1_clean", 0.4, 1.1, id="confocal"),
        pytest.param("gigadb_nucleus_low", "gigadb_nucleus_high", 0.8, 1.2, id="nucleus"),
    ],
)
def test_real_noise(noisy: str, clean: str, low: float, high: float) -> None:
    frame = tifffile.imread(REAL / f"{noisy}.tif")
    truth = tifffile.imread(REAL / f"{clean}.tif").astype(float)
    if "giga" in noisy:  # another exposure: brought to the same scale
        truth = np.polyval(np.polyfit(truth.ravel(), frame.ravel().astype(float), 1), truth)
    model = estimate_noise(frame)
    lit = (truth > np.quantile(truth, 0.8)) & (frame < 255)
    ratio = float(model.variance(truth[lit]).mean() / np.mean((frame[lit] - truth[lit]) ** 2))
    print(f"{noisy}: {model}, variance of lit pixels {ratio:.2f} of the true one")
    assert low < ratio < high
