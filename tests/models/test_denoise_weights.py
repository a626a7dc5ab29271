"""What the shipped denoiser must do, on the simulated sample and on flat fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from denoise_scenes import discs, exposed, simulated_movie

from models import ImageContext, load_pipeline
from models.catalog import WEIGHTS
from models.tasks.denoiser import NetworkDenoiser
from models.tasks.filters import smooth
from models.tasks.noise import estimate_noise
from models.tasks.residual import judge_residual

pytestmark = pytest.mark.skipif(
    not (WEIGHTS / "denoise.onnx").is_file(), reason="needs the weights of the denoiser"
)
GAIN, OFFSET = 2.2, 100.0


def denoised(frames: Any, *, temporal: bool = True) -> np.ndarray:
    """Exact counts (t, y, x)."""
    out = []
    with NetworkDenoiser("denoise", temporal=temporal) as denoiser:
        for k, frame in enumerate(frames):
            found = denoiser.denoise(frame, ImageContext(k, float(k))).exact
            assert found is not None
            out.append(found)
    return np.array(out)


def movie_of(mean_photons: float, seconds_per_frame: float, frames: int = 8) -> Any:
    """Noisy frames and the counts that they would have without noise."""
    clean = simulated_movie(frames, mean_photons, seconds_per_frame, side=192)
    rng = np.random.default_rng(4)
    return np.array([exposed(one, rng, GAIN, OFFSET) for one in clean]), clean * GAIN + OFFSET


def error(found: np.ndarray, clean: np.ndarray) -> float:
    return float(np.mean((found - clean) ** 2))


def decibels(worse: float, better: float) -> float:
    return float(10 * np.log10(worse / better))


@pytest.mark.parametrize("photons", [1, 5, 20, 100, 1000])
@pytest.mark.parametrize(
    ("gain", "offset", "dtype"),
    [
        pytest.param(2.2, 100.0, np.uint16, id="16-bit"),
        pytest.param(0.2, 4.0, np.uint8, id="8-bit"),
    ],
)
def test_flat_fields_keep_their_mean(
    photons: float, gain: float, offset: float, dtype: type
) -> None:
    rng = np.random.default_rng(7)
    y, x = np.indices((160, 160))
    light = photons * np.where((y < 80) ^ (x < 80), 1.5, 0.5)
    frames = np.array([exposed(light, rng, gain, offset, 1.0, dtype) for _ in range(4)])
    with NetworkDenoiser("denoise") as denoiser:
        found = [denoiser.denoise(one, ImageContext(k, float(k))) for k, one in enumerate(frames)]
    for rows in (slice(8, 72), slice(88, 152)):
        for columns in (slice(8, 72), slice(88, 152)):
            area = (slice(None), rows, columns)
            raw = float(frames[area].mean())
            exact = float(np.array([one.exact for one in found])[area].mean())
            whole = float(np.array([one.image for one in found])[area].mean())
            assert exact == pytest.approx(raw, rel=0.01)
            assert whole == pytest.approx(raw, rel=0.01)


def test_a_bleaching_curve_is_that_of_the_raw_frames() -> None:
    light = discs(192) * 30
    rng = np.random.default_rng(1)
    fading = np.exp(-np.arange(16) / 12)
    frames = np.array([exposed(light * left, rng, GAIN, OFFSET) for left in fading])
    found = denoised(frames)
    lit = light > 40
    raw_curve = frames[:, lit].mean(axis=1) - OFFSET
    curve = found[:, lit].mean(axis=1) - OFFSET
    np.testing.assert_allclose(curve / curve[0], raw_curve / raw_curve[0], atol=0.01)
    np.testing.assert_allclose(found[:, lit].mean(axis=1), frames[:, lit].mean(axis=1), rtol=0.01)


@pytest.mark.parametrize("photons", [5, 20, 100])
def test_fast_cells_leave_no_ghosts(photons: float) -> None:
    frames, clean = movie_of(photons, 5.0)
    with_time, alone = denoised(frames), denoised(frames, temporal=False)
    # what was there before and is not there now
    gone = (clean[:-1] - clean[1:]) > 0.5 * (clean.max() - OFFSET) * 0.3
    assert gone.sum() > 200
    ghost = float((with_time[1:] - clean[1:])[gone].mean())
    left = float((clean[:-1] - clean[1:])[gone].mean())
    plain = float((alone[1:] - clean[1:])[gone].mean())
    assert ghost < max(0.03 * left, 1.5 * plain)
    # and nowhere is it worse than without the frames before
    assert error(with_time, clean) <= 1.05 * error(alone, clean)


@pytest.mark.parametrize("photons", [5, 20, 100])
def test_earlier_frames_help_where_the_sample_is_slow(photons: float) -> None:
    frames, clean = movie_of(photons, 0.005, frames=12)
    with_time, alone = denoised(frames)[6:], denoised(frames, temporal=False)[6:]
    assert decibels(error(alone, clean[6:]), error(with_time, clean[6:])) >= 1.0


@pytest.mark.parametrize(("photons", "least_db"), [(5, 0.4), (20, 0.25), (100, 0.0)])
def test_earlier_frames_help_where_cells_move_by_pixels(photons: float, least_db: float) -> None:
    frames, clean = movie_of(photons, 5.0)
    with_time, alone = denoised(frames)[4:], denoised(frames, temporal=False)[4:]
    assert decibels(error(alone, clean[4:]), error(with_time, clean[4:])) >= least_db


@pytest.mark.parametrize("photons", [5, 20, 100])
def test_it_beats_the_best_gaussian(photons: float) -> None:
    frames, clean = movie_of(photons, 5.0, frames=3)
    widths = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
    best = min(error(np.array([smooth(one, width) for one in frames]), clean) for width in widths)
    assert decibels(best, error(denoised(frames), clean)) >= 2.0


@pytest.mark.parametrize("photons", [1, 5, 20, 100, 1000])
def test_the_alarm_stays_quiet(photons: float) -> None:
    frames, _ = movie_of(photons, 0.25, frames=4)
    for frame, found in zip(frames, denoised(frames), strict=True):
        judged = judge_residual(frame, found, estimate_noise(frame))
        assert judged.alarm <= 1, judged.reason


def test_same_frames_same_bits() -> None:
    frames, _ = movie_of(20, 0.25, frames=4)
    np.testing.assert_array_equal(denoised(frames), denoised(frames))


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (130, 131)])
def test_any_size_is_taken(shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).poisson(50, shape).astype(np.uint16)
    found = denoised([frame, frame])
    assert found.shape == (2, *shape)
    assert found.mean() == pytest.approx(frame.mean(), rel=0.05)


@pytest.mark.parametrize("level", [0, 40, 65535])
def test_images_without_light_or_full_of_it_stay_as_they_are(level: int) -> None:
    frame = np.full((64, 64), level, np.uint16)
    with NetworkDenoiser("denoise") as denoiser:
        for k in range(3):
            image = denoiser.denoise(frame, ImageContext(k, float(k))).image
            assert np.abs(image.astype(int) - level).max() <= max(1, level // 1000)


@pytest.mark.parametrize("photons", [5, 20])
def test_no_cells_are_found_in_what_is_left_of_the_ground(photons: float) -> None:
    clean = simulated_movie(3, photons, 1e-3, seed=2)
    rng = np.random.default_rng(2)
    settings = {
        "name": "x",
        "denoise": {"kind": "network"},
        "segment": {"kind": "network", "model": "nuclei"},
    }
    with load_pipeline(settings) as pipeline:
        for k, light in enumerate(clean):
            found = pipeline.run(exposed(light, rng, GAIN, OFFSET), ImageContext(k, float(k)))
            assert 12 <= len(found.objects) <= 18
