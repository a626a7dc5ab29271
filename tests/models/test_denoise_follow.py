"""What is remembered goes along with what moves, and stays where nothing does."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network's own modules need torch")
ndimage = pytest.importorskip("scipy.ndimage", reason="scenes are moved with scipy")

from models.training.denoise.follow import both_moved, moved, moved_whole, shift_since  # noqa: E402
from models.training.denoise.textures import cells  # noqa: E402

GROUND = 5.0


def scene(seed: int = 0, side: int = 192) -> np.ndarray:
    """Photons of grainy cells on a flat ground."""
    picture = cells(np.random.default_rng(seed), side)
    return GROUND + 40 * picture / picture.max()


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, np.float32))[None, None]


def noisy(image: np.ndarray, seed: int = 1) -> torch.Tensor:
    return tensor(np.random.default_rng(seed).poisson(image))


def found(now: np.ndarray, before: np.ndarray, seed: int = 1) -> np.ndarray:
    """(2, y, x) shifts, told from a noisy frame and what was made of the one before."""
    return shift_since(noisy(now, seed), tensor(before), tensor(np.maximum(now, 1.0)))[0].numpy()


@pytest.mark.parametrize("step", [(3.0, -5.0), (-12.0, 9.0), (0.0, 14.0), (1.5, 0.5)])
def test_a_scene_that_moved_is_found_where_it_was(step: tuple[float, float]) -> None:
    before = scene()
    now = ndimage.shift(before, step, order=3, mode="mirror")
    shift = found(now, before)
    core = np.s_[24:-24, 24:-24]
    lit = now[core] > GROUND + 8
    for axis in (0, 1):
        off = shift[axis][core][lit] + step[axis]
        assert abs(np.median(off)) < 0.35
    brought = moved(tensor(before), torch.from_numpy(shift)[None])[0, 0].numpy()
    left = np.mean((brought - now)[core] ** 2)
    assert left < 0.15 * np.mean((before - now)[core] ** 2)


@pytest.mark.parametrize("photons", [1, 5, 40, 400])
def test_nothing_moves_in_a_scene_that_stands_still(photons: float) -> None:
    still = scene() * photons / 40
    shift = found(still, still)
    assert (shift == 0).mean() > 0.97


def test_nothing_but_noise_stays() -> None:
    flat = np.full((128, 128), 3.0)
    assert (found(flat, flat) == 0).mean() > 0.97


def test_a_cell_goes_and_its_neighbour_stays() -> None:
    y, x = np.indices((160, 160))

    def body(cy: float, cx: float) -> np.ndarray:
        return 40.0 * (np.hypot(y - cy, x - cx) < 12) * (1 + 0.5 * np.sin(y - cy) * np.cos(x - cx))

    before = GROUND + body(50, 50) + body(110, 110)
    now = GROUND + body(58, 44) + body(110, 110)
    shift = found(now, before)
    assert np.median(shift[0, 52:64, 38:50]) == pytest.approx(-8, abs=0.5)
    assert np.median(shift[1, 52:64, 38:50]) == pytest.approx(6, abs=0.5)
    assert np.abs(shift[:, 104:116, 104:116]).max() == 0


def test_what_stays_is_not_touched() -> None:
    image = tensor(scene())
    none = torch.zeros(1, 2, 192, 192)
    for same in (moved(image, none), moved_whole(image, none), *both_moved(image, image, none)):
        torch.testing.assert_close(same, image, rtol=0, atol=0)


def test_looking_up_is_sampling() -> None:
    random = torch.Generator().manual_seed(3)
    image = torch.rand(2, 3, 40, 56, generator=random)
    shift = 30 * torch.rand(2, 2, 40, 56, generator=random) - 15
    y = torch.arange(40.0)[:, None] + shift[:, 0]
    x = torch.arange(56.0)[None, :] + shift[:, 1]
    at = torch.stack([2 * x / 55 - 1, 2 * y / 39 - 1], dim=-1)
    sampled = torch.nn.functional.grid_sample(image, at, padding_mode="border", align_corners=True)
    torch.testing.assert_close(moved(image, shift), sampled, rtol=0, atol=1e-4)


def test_by_whole_pixels_it_is_the_one_above_and_to_the_left() -> None:
    image = torch.arange(64.0).reshape(1, 1, 8, 8)
    shift = torch.zeros(1, 2, 8, 8)
    shift[:, 0], shift[:, 1] = 1.9, -2.0
    brought = moved_whole(image, shift)[0, 0]
    assert brought[3, 4] == image[0, 0, 4, 2]
    assert brought[7, 0] == image[0, 0, 7, 0]
