"""Segmentation mended by its tracks, before a frame is published."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import load_pipeline
from models.result import ImageContext
from models.settings import TrackSettings
from models.tasks.measure import compact, measure
from models.tracking import Tracker
from models.tracking.jump import jump_of
from models.tracking.mending import Mended, mend
from models.tracking.parting import part_pixels

SHAPE = (160, 220)
ECOLI = Path(__file__).parents[3] / "shared" / "data" / "track" / "ecoli_early"


def rods(bodies: list[tuple[float, float, float, float, float]]) -> np.ndarray:
    """Label image of rods (y, x, length, width, angle), each under its own label."""
    labels = np.zeros(SHAPE, dtype=np.int32)
    y, x = np.indices(SHAPE)
    for number, (cy, cx, length, width, angle) in enumerate(bodies, 1):
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = -(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)
        beyond = np.maximum(np.abs(along) - (length - width) / 2, 0)
        labels[beyond**2 + across**2 < (width / 2) ** 2] = number
    return labels


def context(frame: int) -> ImageContext:
    """A calibrated frame, so that places on the stage are checked too."""
    affine = np.array([[0.1, 0.0, 5.0], [0.0, 0.1, -3.0]])
    return ImageContext(frame, float(frame), 0.1, affine)


def step(tracker: Tracker, labels: np.ndarray, frame: int) -> tuple[Mended, np.ndarray]:
    """One frame through repair and tracking: what was mended, and the ids."""
    labels = compact(labels)
    pixels = (labels * 3 + 100).astype(np.uint16)
    ones = np.ones(int(labels.max()), np.float32)
    given = labels.copy()
    mended = mend(tracker, labels, measure(labels, pixels, ones, context(frame)), pixels,
                  context(frame))  # fmt: skip
    assert np.array_equal(labels, given)  # the input is never written to
    whole = measure(mended.labels, pixels, mended.objects["confidence"], context(frame))
    for name in whole.dtype.names or ():
        both = whole[name], mended.objects[name]
        same = np.allclose(*both, rtol=1e-4, atol=1e-3, equal_nan=True)
        assert same, f"{name} of a mended frame is not that of its label image"
    return mended, tracker.accept(mended.proposal).track_id


NEIGHBOURS = [(60.0, 80.0, 60.0, 14.0, 0.2), (76.0, 86.0, 56.0, 14.0, 0.2),
              (120.0, 150.0, 50.0, 14.0, 1.0)]  # fmt: skip


def test_two_cells_run_together_are_parted_under_their_own_ids() -> None:
    tracker = Tracker(TrackSettings())
    for frame in range(3):
        _, before = step(tracker, rods(NEIGHBOURS), frame)
    labels = rods(NEIGHBOURS)
    labels[labels == 2] = 1
    gap = (rods(NEIGHBOURS) == 0) & (np.abs(np.indices(SHAPE)[0] - 68) < 4)
    labels[gap & (np.abs(np.indices(SHAPE)[1] - 83) < 8)] = 1
    mended, ids = step(tracker, labels, 3)
    assert sorted(ids) == sorted(before)
    assert [repair.kind for repair in mended.repairs] == ["parted"]
    assert set(mended.repairs[0].tracks) == {before[0], before[1]}
    assert "beneath one object" in mended.repairs[0].because
    truth = rods(NEIGHBOURS)
    for number, track in enumerate(before, 1):
        here = mended.labels == 1 + int(np.flatnonzero(ids == track)[0])
        overlap = (here & (truth == number)).sum() / (here | (truth == number)).sum()
        assert overlap > 0.75
    _, after = step(tracker, rods(NEIGHBOURS), 4)
    assert sorted(after) == sorted(before)


def test_what_was_cut_in_a_cell_just_born_is_joined() -> None:
    tracker = Tracker(TrackSettings())
    mother = [(70.0, 100.0, 72.0, 14.0, 0.0)]
    daughters = [(70.0, 82.0, 38.0, 14.0, 0.0), (70.0, 120.0, 38.0, 14.0, 0.0)]
    step(tracker, rods(mother), 0)
    step(tracker, rods(mother), 1)
    _, born = step(tracker, rods(daughters), 2)
    labels = rods(daughters)
    labels[(labels == 1) & (np.indices(SHAPE)[1] < 80)] = 3
    mended, ids = step(tracker, labels, 3)
    assert sorted(ids) == sorted(born)
    assert [repair.kind for repair in mended.repairs] == ["joined"]
    assert int(mended.labels.max()) == 2


def test_a_division_is_left_alone() -> None:
    tracker = Tracker(TrackSettings())
    for frame in range(6):
        step(tracker, rods([(70.0, 100.0, 50.0 + 5 * frame, 14.0, 0.3)]), frame)
    angle = 0.3
    off = 20.0 * np.array([np.sin(angle), np.cos(angle)])
    two = [(70 + s * off[0], 100 + s * off[1], 39.0, 14.0, angle) for s in (-1, 1)]
    mended, ids = step(tracker, rods(two), 6)
    assert mended.repairs == ()
    assert len(ids) == 2
    assert 1 not in ids


def test_a_cell_that_goes_is_no_merge() -> None:
    tracker = Tracker(TrackSettings())
    for frame in range(3):
        step(tracker, rods(NEIGHBOURS), frame)
    mended, ids = step(tracker, rods([NEIGHBOURS[0], NEIGHBOURS[2]]), 3)
    assert mended.repairs == ()
    assert len(ids) == 2


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 11), min_size=1, max_size=4, unique=True),
    st.integers(0, 2**31),
)
def test_whatever_runs_together_the_label_image_is_what_the_objects_say(
    gone: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    places = [(30.0 + 22 * (k % 6), 45.0 + 110 * (k // 6), 60.0, 14.0, 0.0) for k in range(12)]
    tracker = Tracker(TrackSettings())
    for frame in range(2):
        step(tracker, rods(places), frame)
    labels = rods(places)
    for k in gone:
        labels[labels == k + 1] = int(rng.integers(1, 13))
    step(tracker, labels, 2)
    _, ids = step(tracker, rods(places), 3)
    assert len(set(ids.tolist())) == len(ids)


def test_pixels_go_to_the_nearer_body() -> None:
    y, x = np.nonzero(np.ones((8, 40), bool))
    place = np.array([[3.5, 9.5], [3.5, 29.5]])
    spread = np.array([[5.0, 33.0, 0.0], [5.0, 33.0, 0.0]])
    assert np.array_equal(part_pixels(y, x, place, spread), x >= 20)


def test_a_jump_of_the_field_keeps_all_ids() -> None:
    rng = np.random.default_rng(5)
    bodies = [(*rng.uniform((25, 35), (95, 150)), rng.uniform(25, 50), 11.0, rng.uniform(0, 3))
              for _ in range(9)]  # fmt: skip
    tracker = Tracker(TrackSettings())
    still = [rods(bodies)] * 3
    jumped = rods([(y + 38, x + 31, *rest) for y, x, *rest in bodies])
    cells: list[dict[int, int]] = []
    for frame, labels in enumerate([*still, jumped]):
        names = np.unique(labels[labels > 0])
        labels = compact(labels)
        table = measure(labels, labels.astype(np.uint16), np.ones(len(names), np.float32),
                        ImageContext(frame, float(frame)))  # fmt: skip
        ids = tracker.update(table, labels, ImageContext(frame, float(frame))).track_id
        cells.append(dict(zip(names.tolist(), ids.tolist(), strict=True)))
    kept = [cells[-1][name] == cells[0][name] for name in cells[-1] if name in cells[0]]
    assert len(kept) >= 7
    assert all(kept)


def test_no_jump_where_everything_was_replaced() -> None:
    from models.tracking.bodies import bodies_from_objects

    rng = np.random.default_rng(0)
    tables = []
    for _ in range(2):
        labels = rods([(*rng.uniform((20, 20), (140, 200)), 16.0, 10.0, 0.0) for _ in range(12)])
        labels = compact(labels)
        n = int(labels.max())
        tables.append(measure(labels, labels.astype(np.uint16), np.ones(n, np.float32), context(0)))
    first, second = (bodies_from_objects(table) for table in tables)
    assert jump_of(first, second, np.arange(len(first)), (80.0, 110.0)) is None


def test_label_images_from_a_file_are_never_changed() -> None:
    settings = {"name": "t", "segment": {"kind": "threshold"}, "track": {}}
    whole = rods(NEIGHBOURS)
    merged = np.where(whole == 2, 1, whole)
    with load_pipeline(settings) as pipeline:
        for frame, labels in enumerate([whole, whole, whole, merged]):
            pixels = (labels * 5 + 9).astype(np.uint16)
            result = pipeline.run(pixels, ImageContext(frame, float(frame)), labels)
        assert len(result.objects) == 2
        assert result.repairs == ()


@pytest.mark.slow
@pytest.mark.skipif(not ECOLI.is_dir(), reason="the E. coli movie is not beside the checkout")
def test_own_segmentation_of_a_colony_is_tracked_well(tmp_path: Path) -> None:
    if importlib.util.find_spec("traccuracy") is None:
        pytest.skip("needs the `score` extra")
    from live.experiment.loading import load_pipeline_settings
    from live.infer import infer
    from models.scoring.tracks import track_scores

    infer([ECOLI / "01"], load_pipeline_settings("bacteria"), tmp_path / "out", movie=True)
    truth = ECOLI / "01_GT" / "TRA"
    scores = track_scores(tmp_path / "out", truth, truth / "man_track.txt")
    assert scores.lnk >= 0.92
    assert scores.division_f1 >= 0.75
    assert scores.links_false == 0
