"""Drawn nuclei that divide and die: the truth fits the picture, and the same seed repeats it."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from drivers.simulated.states import STATES, render_state_field

SEEDS = range(24)


@pytest.fixture(scope="module")
def fields() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Area relative to a usual nucleus, brightness likewise, and state, of whole nuclei."""
    found = []
    for seed in SEEDS:
        field = render_state_field(seed, (224, 224), diameter_px=24, photons=200)
        area = np.bincount(field.labels.ravel())[1:]
        light = np.bincount(field.labels.ravel(), field.image.ravel())[1:] / area
        dark = np.percentile(field.image[field.labels == 0], 20)
        states = np.array(field.states)
        usual = (states == "interphase") & (field.seen >= 1)
        if usual.sum() >= 3:
            found.append(
                (
                    (area / np.median(area[usual]))[field.seen >= 1],
                    ((light - dark) / np.median(light[usual] - dark))[field.seen >= 1],
                    states[field.seen >= 1],
                )
            )
    return found


def test_the_same_seed_gives_the_same_picture() -> None:
    first, again = (render_state_field(3, (160, 160)) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.states == again.states
    assert not np.array_equal(first.image, render_state_field(4, (160, 160)).image)


def test_every_label_has_a_state_and_a_part_that_is_seen() -> None:
    for seed in SEEDS:
        field = render_state_field(seed, (160, 192))
        present = np.unique(field.labels)
        assert np.array_equal(present, np.arange(len(present)))
        assert len(field.states) == len(field.seen) == len(present) - 1
        assert set(field.states) <= set(STATES)
        assert ((field.seen > 0) & (field.seen <= 1)).all()
        inner = field.labels[1:-1, 1:-1]
        touching = set(np.unique(field.labels)) - set(np.unique(inner))
        assert all(field.seen[label - 1] < 1 for label in touching if label)


def test_states_look_as_they_should(
    fields: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> None:
    area, light, state = (np.concatenate([one[k] for one in fields]) for k in range(3))
    assert min((state == name).sum() for name in STATES) >= 30
    median = {
        name: (np.median(area[state == name]), np.median(light[state == name])) for name in STATES
    }
    assert median["mitotic"][0] < 0.8
    assert median["mitotic"][1] > 1.4
    assert median["dead"][0] < 0.6
    # neither brightness nor size alone tells: they overlap
    for values in (area, light):
        usual = values[state == "interphase"]
        low, high = np.percentile(usual, (5, 95))
        assert ((values[state == "mitotic"] > low) & (values[state == "mitotic"] < high)).any()


def test_photons_set_the_noise() -> None:
    def noise(photons: float) -> float:
        field = render_state_field(8, (192, 192), diameter_px=30, photons=photons)
        inside = (field.labels[:, 1:] == field.labels[:, :-1]) & (field.labels[:, 1:] > 0)
        counts = field.image.astype(float)
        step = np.median(np.abs(np.diff(counts, axis=1)[inside]))
        return float(step / (np.median(counts[:, 1:][inside]) - np.percentile(counts, 5)))

    assert noise(5) > 2 * noise(1000)
    assert render_state_field(1, photons=33.0).photons == 33.0


def test_the_command_writes_tables(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "drivers.simulated.fields", "--out", str(tmp_path)]
    wanted = ["--states", "--count", "1", "--seed", "9", "--size", "128", "--photons", "40"]
    subprocess.run([*command, *wanted], check=True)
    field = render_state_field(9, (128, 128), photons=40.0)
    assert np.array_equal(tifffile.imread(tmp_path / "0000_img.tif"), field.image)
    assert np.array_equal(tifffile.imread(tmp_path / "0000_lab.tif"), field.labels)
    with (tmp_path / "0000_cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == list(field.states)
    assert [int(row["label"]) for row in rows] == list(range(1, len(rows) + 1))
    assert {row["photons"] for row in rows} == {"40"}
    alone = subprocess.run([*command, "--photons", "4"], capture_output=True, text=True)
    assert alone.returncode == 2
    assert "--photons needs --states" in alone.stderr
