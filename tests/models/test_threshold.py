"""The classical segmentation on real nuclei and on images with nothing to find."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.scoring import agreement
from models.settings import ThresholdSettings
from models.tasks.basins import part
from models.tasks.threshold import guess_polarity, segment

DATA = Path(__file__).parents[1] / "data"
SETTINGS = ThresholdSettings()


def real_nuclei() -> list[tuple[np.ndarray, np.ndarray]]:
    pairs = []
    for file in sorted((DATA / "nuclei").glob("*_img.png")):
        with Image.open(file) as image, Image.open(str(file).replace("_img", "_lab")) as labels:
            pairs.append((np.array(image), np.array(labels).astype(np.int32)))
    return pairs


def test_finds_real_nuclei() -> None:
    pairs = real_nuclei()
    assert len(pairs) == 4
    found = agreement([(segment(image, SETTINGS)[0], truth) for image, truth in pairs], (0.5,))
    assert found[0].ap > 0.64  # Otsu with distance watershed on the whole set


def test_labels_are_whole_numbers_without_gaps_and_confidence_is_a_share() -> None:
    for image, _ in real_nuclei():
        labels, confidence = segment(image, SETTINGS)
        assert labels.dtype == np.int32
        assert labels.shape == image.shape
        assert set(np.unique(labels)) - {0} == set(range(1, len(confidence) + 1))
        assert confidence.dtype == np.float32
        assert ((confidence > 0) & (confidence <= 1)).all()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("polarity", ["bright", "dark", "auto"])
@pytest.mark.parametrize("counts", [2, 100, 3000])
def test_noise_alone_has_no_objects(counts: int, polarity: str, seed: int) -> None:
    image = np.random.default_rng(seed).poisson(counts, (256, 320)).astype(np.uint16)
    labels, _ = segment(image, ThresholdSettings(polarity=polarity))
    assert labels.max() == 0


@pytest.mark.parametrize("value", [0, 65_535])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (31, 33), (257, 129)])
def test_one_grey_value_has_no_objects(shape: tuple[int, int], value: int) -> None:
    labels, confidence = segment(np.full(shape, value, dtype=np.uint16), SETTINGS)
    assert labels.shape == shape
    assert labels.max() == 0
    assert len(confidence) == 0


def scene(offset: int = 0, scale: float = 1.0, dtype: str = "uint16") -> np.ndarray:
    """Five discs, two of them touching, one on the border, one tiny and one a bright bead."""
    y, x = np.indices((200, 220))
    image = np.full(y.shape, 200.0)
    for cy, cx, radius in ((50, 60, 14), (50, 85, 14), (120, 150, 18), (199, 20, 15)):
        image[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = 700
    rng = np.random.default_rng(5)
    return ((rng.poisson(image) * scale) + offset).astype(dtype)


def test_touching_objects_are_parted() -> None:
    labels, _ = segment(scene(), SETTINGS)
    assert labels.max() == 4
    assert labels[50, 60] != labels[50, 85]
    together, _ = segment(scene(), ThresholdSettings(split=False))
    assert together[50, 60] == together[50, 85]


def test_offset_and_gain_change_nothing() -> None:
    plain, _ = segment(scene(), SETTINGS)
    moved, _ = segment(scene(offset=3000, scale=20), SETTINGS)
    assert agreement([(moved, plain)], (0.9,))[0].ap == 1.0


def test_a_bead_a_hundred_times_brighter_hides_nothing() -> None:
    image = scene()
    image[20:26, 180:186] = 60_000
    labels, _ = segment(image, SETTINGS)
    for y, x in ((50, 60), (50, 85), (120, 150)):
        assert labels[y, x] > 0


def test_dark_bodies_with_a_bright_halo() -> None:
    y, x = np.indices((200, 220))
    image = np.full(y.shape, 120.0)
    for cy, cx in ((60, 60), (120, 140)):
        far = np.hypot((y - cy) / 8.0, (x - cx) / 24.0)
        image[far < 1.5] = 190
        image[far < 1] = 30
    noisy = np.random.default_rng(0).normal(image, 4).clip(0, 255).astype(np.uint8)
    assert guess_polarity(noisy.astype(np.float32), noise=4.0) == "dark"
    labels, _ = segment(noisy, SETTINGS)
    assert labels.max() == 2
    assert labels[60, 60] > 0
    assert labels[120, 140] > 0


def test_hills_are_parted_at_deep_saddles_only() -> None:
    height = np.array([[1, 3, 2.8, 3.2, 0.5, 2, 1]], dtype=np.float32)
    mask = np.ones(height.shape, dtype=bool)
    assert part(height, mask, 0.5).tolist() == [[1, 1, 1, 1, 2, 2, 2]] or part(
        height, mask, 0.5
    ).tolist() == [[1, 1, 1, 1, 1, 2, 2]]
    assert part(height, mask, 0.1).max() == 3
    assert part(height, mask, 5.0).max() == 1
    assert part(height, np.zeros_like(mask), 0.5).max() == 0
