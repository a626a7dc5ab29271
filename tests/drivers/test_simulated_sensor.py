"""The sensor: counts with the mean, spread and skew that physics asks for."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.simulated.sensor import FULL_SCALE, Sensor

SHAPE = (256, 192)


def frames(
    sensor: Sensor, photons: float, n: int = 60, shape: tuple[int, int] = SHAPE
) -> np.ndarray:
    rng = np.random.default_rng(4)
    return np.stack(
        [sensor.expose(np.full(shape, photons, np.float32), rng) for _ in range(n)]
    ).astype(np.float64)


def test_darkness_is_offset_and_read_noise() -> None:
    counts = frames(Sensor(SHAPE, offset=100, read_noise_e=1.4, gain=2.2), 0.0)
    assert counts.mean() == pytest.approx(100, abs=0.5)
    assert np.median(counts.std(axis=0)) == pytest.approx(1.4 * 2.2, rel=0.12)
    assert counts.std(axis=0).max() > 2 * 1.4 * 2.2


@pytest.mark.parametrize("photons", [5.0, 20.0, 100.0, 1000.0])
def test_mean_and_variance_of_light(photons: float) -> None:
    counts = frames(Sensor(SHAPE, offset=100, read_noise_e=0.0, gain=2.0), photons) - 100
    assert counts.mean() == pytest.approx(2 * photons, rel=0.01)
    assert counts.var(axis=0).mean() == pytest.approx(4 * photons, rel=0.06)


def test_faint_light_is_skewed_as_poisson_numbers_are() -> None:
    counts = frames(Sensor(SHAPE, offset=100, read_noise_e=0.0, gain=8.0), 6.0, n=200)
    centred = counts - counts.mean(axis=0)
    skew = (centred**3).mean() / (centred**2).mean() ** 1.5
    assert skew == pytest.approx(1 / np.sqrt(6), rel=0.1)


def test_noise_of_neighbours_and_of_frames_is_independent() -> None:
    counts = frames(Sensor(SHAPE), 50.0, n=40)
    noise = counts - counts.mean(axis=0)
    assert np.abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.05
    beside = np.corrcoef(noise[:, :, :-1].ravel(), noise[:, :, 1:].ravel())[0, 1]
    below = np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]
    assert abs(beside) < 0.02
    assert abs(below) < 0.02


def test_the_same_generator_gives_the_same_counts() -> None:
    light = np.full(SHAPE, 30, np.float32)
    one = Sensor(SHAPE, seed=3).expose(light.copy(), np.random.default_rng(9))
    two = Sensor(SHAPE, seed=3).expose(light.copy(), np.random.default_rng(9))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, Sensor(SHAPE, seed=3).expose(light, np.random.default_rng(8)))


def test_too_much_light_saturates() -> None:
    counts = Sensor(SHAPE).expose(np.full(SHAPE, 1e6, np.float32), np.random.default_rng(0))
    assert (counts == FULL_SCALE).all()


def test_binning_raises_the_read_noise() -> None:
    small = (128, 96)
    one = frames(Sensor(small, binning=1), 0.0, shape=small)
    two = frames(Sensor(small, binning=2), 0.0, shape=small)
    ratio = two.std(axis=0).mean() / one.std(axis=0).mean()
    assert ratio == pytest.approx(2, rel=0.05)
