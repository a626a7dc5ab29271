"""The tracker's promises: ids that last, whatever the camera and the stage do."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from motion_scenes import Shot, discs, follow, lattice, mixed_up, points

from models.errors import PipelineError
from models.result import OBJECT_DTYPE, ImageContext
from models.settings import TrackSettings
from models.tracking import Tracker


def wandering(frames: int, count: int = 60, seed: int = 0, step: float = 2.0) -> list[Shot]:
    """Discs that wander among each other in a 400 x 400 image."""
    rng = np.random.default_rng(seed)
    places = lattice(count, 48.0, seed)
    radii = rng.uniform(8, 13, count)
    shots = []
    for _ in range(frames):
        shots.append(discs(places, radii, np.arange(count), (420, 420)))
        places = places + rng.normal(0, step, places.shape)
    return shots


def test_ids_last() -> None:
    shots = wandering(12)
    assert mixed_up(shots, follow(shots)) == 0


def test_ids_last_for_points_alone() -> None:
    rng = np.random.default_rng(1)
    places, shots = lattice(80, 40.0, 1), []
    for _ in range(12):
        shots.append(points(places, np.arange(80)))
        places = places + rng.normal(0, 2, places.shape)
    assert mixed_up(shots, follow(shots)) == 0


def test_fast_steady_motion_is_foreseen() -> None:
    places = lattice(30, 60.0, 2)
    speed = np.random.default_rng(2).normal(0, 1, places.shape)
    speed *= 6 / np.linalg.norm(speed, axis=1, keepdims=True)
    shots = [points(places + frame * speed, np.arange(30), area=200) for frame in range(10)]
    assert mixed_up(shots, follow(shots)) == 0


def test_a_jump_of_the_whole_field_is_followed() -> None:
    shots = []
    places, radii = lattice(25, 60.0, 3), np.random.default_rng(3).uniform(9, 15, 25)
    for frame in range(6):
        jump = np.array([14.0, -11.0]) * (frame >= 3)
        shots.append(discs(places + 40 + jump, radii, np.arange(25), (420, 420)))
    assert mixed_up(shots, follow(shots)) == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_third_missing_for_one_frame_keep_their_ids(seed: int) -> None:
    shots = wandering(9, seed=seed)
    keep = np.random.default_rng(seed).random(len(shots[4].ids)) > 0.3
    cut = shots[4].objects[keep]
    labels = np.where(np.isin(shots[4].labels, cut["label"]), shots[4].labels, 0)
    shots[4] = Shot(cut, labels, shots[4].ids[keep])
    assert mixed_up(shots, follow(shots)) == 0


def test_permuted_labels_change_nothing() -> None:
    shots = wandering(8, seed=5)
    rng = np.random.default_rng(0)
    plain = follow(shots)
    shuffled = []
    for shot in shots:
        new = np.concatenate([[0], 1 + rng.permutation(len(shot.objects)) * 3])
        order = rng.permutation(len(shot.objects))
        table = shot.objects.copy()
        table["label"] = new[table["label"]]
        shuffled.append((Shot(table[order], new[shot.labels], shot.ids[order]), order))
    other = follow([shot for shot, _ in shuffled])
    for one, two, (_, order) in zip(plain, other, shuffled, strict=True):
        assert (one.track_id[order] == two.track_id).all()
        assert (one.parent_id[order] == two.parent_id).all()


def test_same_input_same_ids() -> None:
    one, two = follow(wandering(8, seed=6)), follow(wandering(8, seed=6))
    assert all((a.track_id == b.track_id).all() for a, b in zip(one, two, strict=True))


def stage(y_um: float, x_um: float, seq: int, time_s: float | None = None) -> ImageContext:
    """An image of 0.5 µm pixels whose corner lies at a stage position."""
    matrix = np.array([[0.5, 0.0, x_um], [0.0, 0.5, y_um]])
    return ImageContext(seq, float(seq) if time_s is None else time_s, 0.5, matrix)


def test_half_a_field_of_stage_move_keeps_what_stays_in_view() -> None:
    rng = np.random.default_rng(7)
    places, radii = lattice(300, 42.0, 7), rng.uniform(8, 13, 300)
    shots, contexts = [], []
    corners = [(0, 0)] * 3 + [(0, 150)] * 3 + [(150, 150)] * 3 + [(0, 0)] * 3
    for seq, (y, x) in enumerate(corners):
        shots.append(discs(places - (y, x), radii, np.arange(300), (300, 300)))
        contexts.append(stage(y * 0.5, x * 0.5, seq))
        places = places + rng.normal(0, 1.0, places.shape)
    updates = follow(shots, contexts=contexts)
    before = dict(zip(shots[2].ids, updates[2].track_id, strict=True))
    after = dict(zip(shots[3].ids, updates[3].track_id, strict=True))
    stayed = [cell for cell in after if cell in before]
    assert len(stayed) > 15
    # a cell cut by the border changes its centre: only those may differ
    assert sum(before[cell] != after[cell] for cell in stayed) <= 1
    back = dict(zip(shots[9].ids, updates[9].track_id, strict=True))
    assert sum(before[cell] != back.get(cell) for cell in before) <= 3


def test_magnification_may_change_between_frames() -> None:
    places, radii = lattice(20, 60.0, 8), np.full(20, 12.0)
    wide = discs(places, radii, np.arange(20), (340, 340))
    close = discs(places * 2 - 100, radii * 2, np.arange(20), (340, 340))
    matrices = [
        np.array([[1.0, 0, 0], [0, 1.0, 0]]),
        np.array([[0.5, 0, 50.0], [0, 0.5, 50.0]]),
    ]
    contexts = [ImageContext(k, float(k), 1.0, m) for k, m in enumerate(matrices)]
    updates = follow([wide, close], contexts=contexts)
    before = dict(zip(wide.ids, updates[0].track_id, strict=True))
    after = dict(zip(close.ids, updates[1].track_id, strict=True))
    whole = close.ids[close.objects["area_px"] > 1700]
    assert len(whole) >= 4
    assert all(before[cell] == after[cell] for cell in whole)


@pytest.mark.parametrize(
    "times",
    [
        pytest.param([0, 1, 2, 3, 33, 34, 35], id="pause"),
        pytest.param([0, 1, 2, 3, 3.1, 3.2, 3.3], id="burst"),
        pytest.param([0, 0, 0, 0, 0, 0, 0], id="clock that stands still"),
        pytest.param([0, 0.4, 2.2, 2.5, 4.4, 4.6, 6.9], id="jitter"),
    ],
)
def test_time_may_do_what_it_likes(times: list[float]) -> None:
    shots = wandering(len(times), seed=9)
    contexts = [ImageContext(k, t) for k, t in enumerate(times)]
    assert mixed_up(shots, follow(shots, contexts=contexts)) == 0


def test_dropped_frames_keep_ids() -> None:
    shots = wandering(12, seed=10)
    kept = [0, 1, 2, 3, 6, 7, 11]
    contexts = [ImageContext(k, float(k)) for k in kept]
    some = [shots[k] for k in kept]
    assert mixed_up(some, follow(some, contexts=contexts)) == 0


def dividing() -> list[Shot]:
    """A disc becomes a long one and then two; four quiet neighbours."""
    quiet = np.array([[40.0, 40], [40, 160], [160, 40], [160, 160]])
    shots = []
    for frame in range(8):
        if frame < 4:
            places, radii, ids = [[100.0, 100]], [15.0], [9]
        else:
            apart = 9.0 + 2 * (frame - 4)
            places, radii, ids = [[100.0, 100 - apart], [100, 100 + apart]], [10.5, 10.5], [10, 11]
        shots.append(
            discs(
                np.concatenate([quiet, places]),
                np.array([14.0] * 4 + radii),
                np.array([0, 1, 2, 3, *ids]),
                (200, 200),
            )
        )
    return shots


def test_a_division_has_a_mother_two_new_ids_and_one_first_frame() -> None:
    shots = dividing()
    updates = follow(shots)
    mother = updates[3].track_id[list(shots[3].ids).index(9)]
    assert not any(update.divided.any() for update in updates[:4])
    born = updates[4]
    assert sorted(shots[4].ids[born.divided]) == [10, 11]
    assert (born.parent_id[born.divided] == mother).all()
    assert mother not in born.track_id
    assert (born.age_frames[born.divided] == 1).all()
    assert not any(update.divided.any() for update in updates[5:])
    assert mixed_up(shots, updates) == 0


@pytest.mark.parametrize("cut", [0.3, 0.55, 0.8])
def test_a_daughter_that_the_border_cuts_has_her_mother(cut: float) -> None:
    places, steady = lattice(16, 36, seed=3) + 60, np.full(16, 10.0)
    rng = np.random.default_rng(0)
    shots = []
    for frame in range(7):
        places = places + rng.normal(0, 0.6, places.shape)
        if frame < 5:
            cells, radii, ids = [[13.0, 120.0]], [11.0], [20]
        else:
            # of the upper one this part of the diameter is outside
            cells, radii, ids = [[8 * (1 - 2 * cut), 118.0], [24.0, 122.0]], [8.0, 8.0], [21, 22]
        every = np.concatenate([places, cells])
        shots.append(
            discs(every, np.append(steady, radii), np.append(np.arange(16), ids), (230, 230))
        )
    updates = follow(shots)
    born = updates[5]
    assert sorted(shots[5].ids[born.divided]) == [21, 22]
    assert (born.parent_id[born.divided] == updates[4].track_id[shots[4].ids == 20]).all()
    assert not any(update.divided.any() for update in updates[:5])


def test_divisions_can_be_left_out() -> None:
    updates = follow(dividing(), Tracker(TrackSettings(divisions=False)))
    assert not any(update.divided.any() or update.parent_id.any() for update in updates)


def test_a_saved_tracker_goes_on_as_if_never_stopped() -> None:
    shots = dividing()
    whole = follow(shots)
    first = Tracker(TrackSettings())
    follow(shots[:3], first)
    second = Tracker(TrackSettings())
    second.restore_state(first.export_state())
    for seq, shot in enumerate(shots[3:], 3):
        update = second.update(shot.objects, shot.labels, ImageContext(seq, float(seq)))
        assert (update.track_id == whole[seq].track_id).all()
        assert (update.parent_id == whole[seq].parent_id).all()


def test_a_damaged_state_is_refused() -> None:
    tracker = Tracker(TrackSettings())
    follow(wandering(2), tracker)
    state = tracker.export_state()
    for bad in (b"", b"nonsense", state[:-7], state[:40] + b"\xff" * 9 + state[49:]):
        with pytest.raises(PipelineError, match="saved tracks"):
            Tracker(TrackSettings()).restore_state(bad)
    with pytest.raises(PipelineError, match="at most 5"):
        Tracker(TrackSettings(max_tracks=5)).restore_state(state)


places = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 90)), max_size=12
)


@given(frames=st.lists(places, min_size=1, max_size=8), seed=st.integers(0, 2**16))
@settings(max_examples=150, deadline=None)
def test_no_id_twice_in_a_frame_and_none_comes_back_as_a_mother(
    frames: list[list[tuple[int, int, int]]], seed: int
) -> None:
    tracker = Tracker(TrackSettings())
    seen: set[int] = set()
    mothers: set[int] = set()
    for seq, frame in enumerate(frames):
        table = np.zeros(len(frame), dtype=OBJECT_DTYPE)
        table["label"] = np.arange(1, len(frame) + 1)
        for row, (y, x, area) in zip(table, frame, strict=True):
            row["y_px"], row["x_px"], row["area_px"] = y, x, area
        update = tracker.update(table, None, ImageContext(seq, float(seq)))
        ids = update.track_id.tolist()
        assert len(set(ids)) == len(ids)
        assert (update.track_id > 0).all()
        assert set(update.parent_id.tolist()) - {0} <= seen
        assert not mothers & set(ids)
        assert ((update.age_frames == 1) == ~np.isin(update.track_id, list(seen))).all()
        assert np.isfinite(update.speed_px).all()
        mothers |= set(update.parent_id.tolist()) - {0}
        seen |= set(ids)


@pytest.mark.parametrize("count", [0, 1])
def test_few_objects(count: int) -> None:
    shot = points(np.full((count, 2), 50.0), np.arange(count))
    assert mixed_up([shot] * 4, follow([shot] * 4)) == 0


def test_ten_thousand_objects_on_one_spot_do_not_explode() -> None:
    tracker = Tracker(TrackSettings())
    shot = points(np.full((10_000, 2), 50.0), np.arange(10_000))
    for update in follow([shot] * 2, tracker):
        assert len(np.unique(update.track_id)) == 10_000
    assert tracker.passed_over > 0


def test_all_replaced_at_once() -> None:
    here = points(lattice(50, 30.0, 0), np.arange(50))
    there = points(lattice(50, 30.0, 0) + 5000, np.arange(50, 100))
    first, second = follow([here, there])
    assert not set(first.track_id) & set(second.track_id)
    assert not second.divided.any()


def test_memory_stays_flat() -> None:
    tracker = Tracker(TrackSettings(max_tracks=100))
    shots = [
        discs(lattice(4, 40.0, seed), np.full(4, 9.0), np.arange(4), (90, 90)) for seed in (0, 1)
    ]

    def run(first: int, frames: int) -> None:
        for seq in range(first, first + frames):
            shot = shots[seq % 2]
            # the stage goes on and on: tracks leave the field for ever
            tracker.update(shot.objects, shot.labels, stage(0.0, 30.0 * seq, seq))

    run(0, 200)
    tracemalloc.start()
    run(200, 50)
    before = tracemalloc.get_traced_memory()[0]
    run(250, 100)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 50_000
    assert len(tracker.export_state()) < 100 * 400
    assert tracker.forgotten > 0


def test_objects_on_one_line_are_ordered_however_they_are_numbered() -> None:
    from models.tracking.tracker import _by_place

    random = np.random.default_rng(5)
    objects = np.zeros(200, OBJECT_DTYPE)
    objects["y_px"] = random.integers(0, 12, 200)
    objects["x_px"] = random.integers(0, 8, 200)
    objects["area_px"] = random.permutation(200)
    expected = np.sort(objects, order=["y_px", "x_px", "area_px"])
    for _ in range(3):
        shuffled = random.permutation(objects)
        np.testing.assert_array_equal(shuffled[_by_place(shuffled)], expected)
