"""Rendered training pictures: true outlines, endless variety, the same again for the same seed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from drivers.simulated.fields import render_training_field

SEEDS = range(40)


def test_the_same_seed_gives_the_same_pixels_and_another_does_not() -> None:
    image, labels = render_training_field(5)
    again, labels_again = render_training_field(5)
    assert np.array_equal(image, again)
    assert np.array_equal(labels, labels_again)
    other, _ = render_training_field(6)
    assert not np.array_equal(image, other)


@pytest.mark.parametrize("shape", [(256, 256), (130, 301)])
def test_form(shape: tuple[int, int]) -> None:
    image, labels = render_training_field(1, shape)
    assert (image.shape, image.dtype) == (shape, np.uint16)
    assert (labels.shape, labels.dtype) == (shape, np.int32)
    present = np.unique(labels)
    assert np.array_equal(present, np.arange(len(present)))


def test_labels_lie_on_the_bright_objects() -> None:
    """Nearly every nucleus is brighter than the ring round it, unless the ring holds another."""
    brighter = total = 0
    for seed in SEEDS:
        image, labels = render_training_field(seed)
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            window = tuple(slice(max(s.start - 4, 0), s.stop + 4) for s in box)
            mask = labels[window] == number
            ring = ndimage.binary_dilation(mask, iterations=4) & (labels[window] == 0)
            ring &= ~ndimage.binary_dilation(mask, iterations=2)
            if ring.sum() < 10:
                continue
            total += 1
            pixels = image[window].astype(float)
            brighter += pixels[mask].mean() > pixels[ring].mean()
    assert total > 300
    assert brighter / total > 0.97


def test_sizes_density_and_brightness_vary() -> None:
    pairs = [render_training_field(seed) for seed in SEEDS]
    count = [labels.max() for _, labels in pairs]
    diameter = [
        np.median(np.sqrt(4 / np.pi * np.bincount(labels.ravel())[1:]))
        for _, labels in pairs
        if labels.max() > 3
    ]
    assert min(count) <= 10
    assert max(count) >= 100
    assert min(diameter) < 14
    assert max(diameter) > 40
    assert max(image.max() for image, _ in pairs) > 10 * min(image.max() for image, _ in pairs)


def test_diameter_can_be_asked_for() -> None:
    areas = [
        np.bincount(render_training_field(seed, diameter_px=24)[1].ravel())[1:] for seed in range(8)
    ]
    usual = np.median(np.sqrt(4 / np.pi * np.concatenate(areas)))
    assert usual == pytest.approx(24, rel=0.15)


def test_the_command_writes_pairs(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    command = [sys.executable, "-m", "drivers.simulated.fields", "--out", str(out)]
    subprocess.run([*command, "--count", "2", "--seed", "7", "--size", "96"], check=True)
    names = sorted(path.name for path in out.iterdir())
    assert names == ["0000_img.tif", "0000_lab.tif", "0001_img.tif", "0001_lab.tif"]
    image, labels = render_training_field(8, (96, 96))
    assert np.array_equal(tifffile.imread(out / "0001_img.tif"), image)
    assert np.array_equal(tifffile.imread(out / "0001_lab.tif"), labels)
