"""Two noisy copies of a frame: what one has of noise says nothing of the other's."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from models.tasks.noise import NoiseModel  # noqa: E402
from models.training.denoise.recorrupt import (  # noqa: E402
    STRENGTH,
    Recorruption,
    recorruption_for,
)
from models.training.denoise.variance import (  # noqa: E402
    MOST,
    VarianceRatio,
    measured_ratio,
)

SIDE = 320
GAIN, OFFSET, READ = 3.0, 20.0, 2.0
MODEL = NoiseModel(GAIN, OFFSET, READ)


def scan(photons: float) -> tuple[np.ndarray, np.ndarray]:
    """A frame of few photons, (1, y, x), and its truth, which rises from left to right."""
    rng = np.random.default_rng(4)
    light = np.tile(np.linspace(0.2, 2.0, SIDE) * photons, (SIDE, 1))
    counts = GAIN * rng.poisson(light) + OFFSET + rng.normal(0, READ**0.5, light.shape)
    truth = np.asarray(GAIN * light + OFFSET, np.float32)[None]
    return np.asarray(counts, np.float32)[None], truth


def white() -> np.ndarray:
    kernel = np.zeros((7, 7), np.float32)
    kernel[3, 3] = 1.0
    return kernel


@pytest.mark.parametrize("photons", [0.5, 5.0])
def test_the_second_copy_is_right_whatever_the_first_says(photons: float) -> None:
    counts, truth = scan(photons)
    one = VarianceRatio(np.array([0.0], np.float32), np.array([1.0], np.float32))
    how = Recorruption(MODEL, one, white())
    draw = torch.Generator().manual_seed(0)
    frames, clean = torch.from_numpy(counts)[None], torch.from_numpy(truth)[None]
    copy, drawn = how.copies(frames, clean, draw)
    first = (copy - clean).numpy().ravel()
    second = (frames - drawn / STRENGTH - clean).numpy().ravel()
    assert np.var(first) == pytest.approx(
        (1 + STRENGTH**2) * float(how.variance(clean).mean()), rel=0.05
    )
    # not only uncorrelated: where the first copy is far up, as specks of noise are, no less so
    unit = second.std()
    for power in (1, 2):
        part = first**power - np.mean(first**power)
        together = float(np.mean(part * second)) / (part.std() * unit)
        assert abs(together) < 0.015
    far = first > np.quantile(first, 0.98)
    assert abs(second[far].mean()) < 5 * unit / np.sqrt(far.sum())


@pytest.mark.parametrize("true", [0.8, 1.0, 1.6])
def test_variance_is_found_without_the_truth(true: float) -> None:
    counts, _ = scan(8.0)
    told = NoiseModel(GAIN / true, OFFSET, READ / true)

    def denoise(frames: np.ndarray) -> np.ndarray:
        """Mean of two rows and two columns: a fourth of the noise stays."""
        four = frames.reshape(1, SIDE // 2, 2, SIDE // 2, 2).mean((2, 4))
        return np.asarray(four.repeat(2, 1).repeat(2, 2), np.float32)

    found = measured_ratio(counts, denoise(counts), told, denoise)
    assert len(found.levels) > 5
    middle = found.at(np.linspace(35, 60, 9, dtype=np.float32))
    assert middle == pytest.approx(true, rel=0.1)
    assert found.ratios.max() <= MOST


def test_noise_that_neighbours_share_is_drawn_so() -> None:
    rng = np.random.default_rng(2)
    kernel = np.array([0.6, 0.8])
    noise = rng.normal(0, 5, (1, SIDE, SIDE + 1))
    noise = kernel[0] * noise[..., 1:] + kernel[1] * noise[..., :-1]
    clean = np.full((1, SIDE, SIDE), 200.0, np.float32)
    how = recorruption_for(
        clean + noise, clean, NoiseModel(1e-3, 0.0, 25.0, fitted=False), lambda _: clean
    )
    frames = torch.from_numpy(np.asarray(clean + noise, np.float32))[None]
    _, drawn = how.copies(frames, torch.from_numpy(clean)[None], torch.Generator().manual_seed(0))
    made = drawn.numpy()[0, 0]
    shared = float(np.mean(made[:, 1:] * made[:, :-1]) / np.mean(made**2))
    assert shared == pytest.approx(0.48, abs=0.05)
    assert made.std() == pytest.approx(5.0, rel=0.05)
