"""What no camera or cell should be able to do to a tracker."""

import os

import numpy as np
import psutil
import pytest
from motion_scenes import Shot, discs, follow, lattice, mixed_up, points

from models.result import OBJECT_DTYPE, ImageContext
from models.settings import TrackSettings
from models.tracking import Tracker


def test_ten_thousand_objects_keep_their_ids() -> None:
    rng = np.random.default_rng(0)
    places, ids = lattice(10_000, 30.0, 0), np.arange(10_000)
    shots = [points(places + rng.normal(0, 1.5, places.shape), ids) for _ in range(3)]
    tracker = Tracker(TrackSettings())
    updates = follow(shots, tracker)
    assert mixed_up(shots, updates) == 0
    assert not any(update.divided.any() for update in updates)
    assert tracker.passed_over == 0


def test_objects_that_leave_over_the_border_and_come_in_are_no_divisions() -> None:
    places = lattice(49, 40.0, 1)
    radii = np.random.default_rng(1).uniform(8, 12, 49)
    shots = [
        discs(places + np.array([0, 9.0 * frame - 60]), radii, np.arange(49), (300, 220))
        for frame in range(10)
    ]
    assert {len(shot.ids) for shot in shots} != {49}
    updates = follow(shots)
    assert not any(update.divided.any() for update in updates)
    before: dict[int, int] = {}
    for shot, update in zip(shots, updates, strict=True):
        table = shot.objects
        whole = (table["bbox_x0"] > 0) & (table["bbox_x1"] < 220)
        whole &= (table["bbox_y0"] > 0) & (table["bbox_y1"] < 300)
        now = dict(zip(shot.ids[whole].tolist(), update.track_id[whole].tolist(), strict=True))
        assert all(before.get(cell, track) == track for cell, track in now.items())
        before = now


def test_two_objects_on_one_place_keep_two_ids() -> None:
    places = np.array([[50.0, 50], [50, 50], [90, 90]])
    updates = follow([points(places, np.arange(3))] * 6)
    first = set(updates[0].track_id.tolist())
    assert all(set(update.track_id.tolist()) == first for update in updates)


@pytest.mark.parametrize("labels", [True, False], ids=["masks", "points"])
def test_nothing_for_a_while_and_then_the_same_again(labels: bool) -> None:
    places = lattice(16, 40.0, 2)
    shot = discs(places, np.full(16, 10.0), np.arange(16), (200, 200))
    empty = Shot(np.zeros(0, OBJECT_DTYPE), np.zeros((200, 200), np.int32), np.zeros(0, int))
    if not labels:
        shot, empty = Shot(shot.objects, None, shot.ids), Shot(empty.objects, None, empty.ids)
    updates = follow([shot, shot, empty, empty, shot])
    assert set(updates[4].track_id.tolist()) == set(updates[1].track_id.tolist())
    late = follow([shot, shot, *[empty] * 6, shot])[-1]
    assert not set(late.track_id.tolist()) & set(updates[1].track_id.tolist())


def test_masks_and_their_order_decide_the_ids_alone() -> None:
    rng = np.random.default_rng(3)
    places, radii = lattice(60, 45.0, 3), rng.uniform(8, 13, 60)
    shots = []
    for _ in range(8):
        keep = rng.random(60) > 0.15
        shots.append(discs(places[keep], radii[keep], np.flatnonzero(keep), (400, 400)))
        places = places + rng.normal(0, 2, places.shape)
    one, two = follow(shots), follow(shots)
    for a, b in zip(one, two, strict=True):
        assert (a.track_id == b.track_id).all()
        assert (a.parent_id == b.parent_id).all()


def halving(every: int, frames: int) -> list[Shot]:
    """One cell of a line of cells that divides, and whose daughters divide, each ``every``."""
    cells = [(np.array([150.0, 400.0]), 26.0, 0)]
    count, shots = 1, []
    for frame in range(frames):
        if frame and frame % every == 0:
            children = []
            for place, radius, _ in cells:
                for side in (-1, 1):
                    away = np.array([0.0, side * radius * 0.75])
                    children.append((place + away, radius / 2**0.5 * 0.99, count))
                    count += 1
            cells = children
        spread = 1.0 + 0.02 * frame
        places = np.array([place for place, _, _ in cells])
        places[:, 1] = 400 + (places[:, 1] - 400) * spread
        radii = np.array([radius for _, radius, _ in cells])
        shots.append(discs(places, radii, np.array([one for *_, one in cells]), (300, 800)))
    return shots


@pytest.mark.parametrize("every", [2, 3, 6])
def test_daughters_divide_again_however_soon(every: int) -> None:
    shots = halving(every, 3 * every + 1)
    updates = follow(shots)
    born = [int(update.divided.sum()) for update in updates]
    assert [born[every * k] for k in (1, 2, 3)] == [2, 4, 8]
    assert sum(born) == 14
    assert mixed_up(shots, updates) == 0


def tissue(frames: int, seed: int) -> tuple[list[Shot], dict[int, int]]:
    """Packed points that push each other, a few dividing or leaving in every frame; mothers."""
    rng = np.random.default_rng(seed)
    places, ids, mothers, shots = lattice(144, 20.0, seed), np.arange(144), {}, []
    count = 144
    for _ in range(frames):
        shots.append(points(places, ids, area=0.0))
        fate = rng.random(len(ids))
        go_on = fate > 0.1
        split = np.flatnonzero(fate < 0.05)
        angle = rng.uniform(0, np.pi, len(split))
        half = 9.0 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
        fresh = count + np.arange(2 * len(split))
        mothers |= dict(zip(fresh.tolist(), np.tile(ids[split], 2).tolist(), strict=True))
        count += len(fresh)
        daughters = np.concatenate([places[split] - half, places[split] + half])
        places = np.concatenate([places[go_on], daughters])
        ids = np.concatenate([ids[go_on], fresh])
        for _ in range(10):
            away = places[:, None] - places[None]
            gap = np.hypot(away[..., 0], away[..., 1]) + 1e-9
            push = np.where((gap < 18) & (gap > 1e-6), (18 - gap) / gap * 0.15, 0.0)
            places = places + (away * push[..., None]).sum(axis=1)
        places = places + rng.normal(0, 1.0, places.shape)
    return shots, mothers


def test_divisions_in_packed_tissue() -> None:
    shots, mothers = tissue(10, 0)
    cell_of: dict[int, int] = {}
    right = told = 0
    for shot, update in zip(shots, follow(shots), strict=True):
        for cell, parent in zip(shot.ids, update.parent_id, strict=True):
            told += parent > 0
            right += parent > 0 and mothers.get(int(cell)) == cell_of[int(parent)]
        cell_of |= dict(zip(update.track_id.tolist(), shot.ids.tolist(), strict=True))
    assert 2 * right / (told + len(mothers)) > 0.75


@pytest.mark.slow
def test_ten_thousand_frames_in_the_same_memory() -> None:
    rng = np.random.default_rng(4)
    places, tracker = lattice(9, 40.0, 4), Tracker(TrackSettings(max_tracks=200))
    shots = [
        discs(places + rng.normal(0, 1.5, places.shape), np.full(9, 10.0), np.arange(9), (160, 160))
        for _ in range(8)
    ]
    process, used, saved = psutil.Process(os.getpid()), [], []
    for frame in range(10_000):
        shot = shots[frame % 8]
        update = tracker.update(shot.objects, shot.labels, ImageContext(frame, float(frame)))
        if frame % 1000 == 999:
            used.append(process.memory_info().rss)
            saved.append(len(tracker.export_state()))
    assert update.track_id.max() < 50
    assert used[-1] - used[1] < 4_000_000
    assert max(saved) < 1.2 * min(saved)
