"""Drawn fields of adherent cells: what is labelled is drawn, and light obeys the optics."""

from __future__ import annotations

from dataclasses import replace

import mahotas
import numpy as np
import pytest

from models.training.phase.bodies import compose, make_body, random_habit
from models.training.phase.dirt import camera, debris, dust, lamp
from models.training.phase.fields import draw_counts, draw_field
from models.training.phase.optics import Optics, expose, random_optics
from models.training.phase.shapes import KINDS

SIZE = 96
CLEAR = np.ones((SIZE, SIZE), np.float32)
PLAIN = Optics(
    mode="phase", ring_dim=0.6, ring_sign=1, halo_px=12.0, halo_wide=0.0, defocus_px=0.0,
    blur_px=0.6,
)  # fmt: skip


def disc(delay_rad: float) -> np.ndarray:
    """Phase delay of a flat disc of radius 10 in the middle."""
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    return np.where(y * y + x * x < 100, delay_rad, 0.0).astype(np.float32)


@pytest.mark.parametrize("mode", ["phase", "brightfield"])
def test_an_empty_dish_gives_even_light(mode: str) -> None:
    optics = replace(PLAIN, mode=mode, defocus_px=1.5)
    np.testing.assert_allclose(expose(disc(0.0), CLEAR, optics), 1.0, atol=1e-4)


def test_a_thin_body_is_dark_with_a_bright_halo_in_positive_phase_contrast() -> None:
    light = expose(disc(0.3), CLEAR, PLAIN)
    middle = SIZE // 2
    assert light[middle, middle] < 0.8
    assert light[middle, middle + 14] > 1.05
    assert abs(light[0, 0] - 1.0) < 0.02


def test_the_other_ring_turns_dark_to_bright() -> None:
    light = expose(disc(0.3), CLEAR, replace(PLAIN, ring_sign=-1))
    assert light[SIZE // 2, SIZE // 2] > 1.2


def test_a_thick_body_is_bright_in_the_same_optics() -> None:
    assert expose(disc(2.2), CLEAR, PLAIN)[SIZE // 2, SIZE // 2] > 1.2


def test_a_pure_phase_cannot_be_seen_in_focus_but_out_of_it() -> None:
    sharp = replace(PLAIN, mode="brightfield")
    np.testing.assert_allclose(expose(disc(0.5), CLEAR, sharp), 1.0, atol=1e-4)
    light = expose(disc(0.5), CLEAR, replace(sharp, defocus_px=3.0))
    assert light.std() > 0.02
    # what is bent away from one place arrives at another
    assert light.mean() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_cell_has_the_area_asked_for(kind: str) -> None:
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        body = make_body(kind, (64.0, 64.0), 12.0, 0.3, 128, random_habit(False, rng), rng)
        assert body is not None
        found.append(float((body.level < 1).sum()) / (np.pi * 144))
        assert np.isfinite(body.phase).all()
        assert (body.phase[body.level > 1.05] == 0).all()
    assert 0.75 < np.median(found) < 1.25


def test_a_cell_beyond_the_field_is_none() -> None:
    rng = np.random.default_rng(1)
    habit = random_habit(False, rng)
    assert make_body("round", (-80.0, 20.0), 6.0, 0.0, 64, habit, rng) is None


@pytest.mark.parametrize("sheet", [False, True])
def test_every_label_is_one_piece(sheet: bool) -> None:
    rng = np.random.default_rng(7)
    habit = random_habit(sheet, rng)
    made = [
        make_body("spindle", tuple(rng.uniform(0, 128, 2)), 9.0, rng.uniform(0, 3), 128, habit, rng)
        for _ in range(60)
    ]
    _, _, labels = compose([body for body in made if body is not None], 128, 0.1, False)
    numbers = np.unique(labels)[1:]
    assert len(numbers) > 20
    for number in numbers:
        assert mahotas.label(labels == number)[1] == 1


def test_the_same_seed_draws_the_same_field_and_another_does_not() -> None:
    first, second, other = (draw_counts(96, 14.0, np.random.default_rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize("seed", range(6))
def test_a_drawn_field_is_a_normalised_picture(seed: int) -> None:
    image, labels = draw_field(128, 20.0, np.random.default_rng(seed))
    assert image.shape == labels.shape == (128, 128)
    assert image.dtype == np.float32
    assert labels.dtype == np.int32
    assert np.isfinite(image).all()
    low, high = np.percentile(image, (1.0, 99.8))
    assert (low, high) == (pytest.approx(0.0, abs=1e-5), pytest.approx(1.0, abs=1e-5))


def test_labelled_cells_differ_from_what_is_around_them() -> None:
    clear = []
    for seed in range(10):
        image, labels = draw_field(128, 16.0, np.random.default_rng([5, seed]))
        if 0 < (labels > 0).mean() < 0.4:
            spread = image[labels > 0].std() / max(float(image[labels == 0].std()), 1e-6)
            clear.append(spread > 1)
    assert len(clear) >= 3
    assert np.mean(clear) > 0.7


def test_dirt_lamp_and_camera_stay_in_bounds() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        phase, dimming = debris(80, 12.0, rng)
        assert np.isfinite(phase).all()
        assert 0 < dimming.min() <= dimming.max() <= 1
        light = dust(80, 12.0, True, rng) * lamp(80, rng)
        counts = camera(light, rng)
        assert light.min() > 0
        assert 0 <= counts.min() <= counts.max() <= 255
        assert random_optics(12.0, rng).blur_px > 0
