"""Counts of objects against other programs, and against plain loops over all pairs."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from models.scoring.contingency import contingency
from models.scoring.instances import (
    LIMITS,
    TOUCHES,
    Agreement,
    InstanceScores,
    agreement,
    compare,
    fates,
    matches,
    overlaps,
    pooled,
)

DATA = Path(__file__).parents[1] / "data"
NAMES = ("000", "016", "060", "216")
STARDIST = json.loads((DATA / "scores" / "stardist.json").read_text())
Labels = NDArray[np.int32]


def real(name: str) -> tuple[Labels, Labels]:
    """(predicted, true) label images of nuclei."""
    pred = np.asarray(Image.open(DATA / "scores" / f"{name}_labels.png")).astype(np.int32)
    return pred, np.asarray(Image.open(DATA / "nuclei" / f"{name}_lab.png")).astype(np.int32)


def same(ours: Agreement, theirs: dict[str, float]) -> None:
    assert (ours.true, ours.false, ours.missed) == (theirs["tp"], theirs["fp"], theirs["fn"])
    found = {"ap": ours.ap, "precision": ours.precision, "recall": ours.recall, "f1": ours.f1}
    found |= {"pq": ours.panoptic}
    for key, value in found.items():
        assert value == pytest.approx(theirs[key], abs=2e-6), key
    # where nothing matches they say 0, and a mean of nothing is not a number
    mean = theirs["mean_iou"] if ours.true else np.nan
    assert ours.mean_iou == pytest.approx(mean, abs=2e-6, nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_one_image_as_stardist_scores_it(name: str) -> None:
    assert STARDIST["version"] == "0.9.2"
    for one in compare(*real(name)).at:
        same(one, STARDIST["each"][name][f"{one.iou:g}"])


def test_pooled_as_stardist_pools() -> None:
    found = agreement((real(name) for name in NAMES), LIMITS)
    assert [one.iou for one in found] == list(LIMITS)
    for one in found:
        same(one, STARDIST["pooled"][f"{one.iou:g}"])
    each = pooled(compare(*real(name)) for name in NAMES)
    assert list(each.at) == found


def test_the_fixture_is_not_a_perfect_or_an_empty_result() -> None:
    half = STARDIST["pooled"]["0.5"]
    assert half["tp"] > 100
    assert half["fp"] > 5
    assert half["fn"] > 5


def squares(*places: tuple[int, int, int, int, int]) -> Labels:
    """Label image with (label, y0, x0, y1, x1)."""
    image = np.zeros((40, 40), np.int32)
    for label, y0, x0, y1, x1 in places:
        image[y0:y1, x0:x1] = label
    return image


def test_split_merged_false_and_missed() -> None:
    truth = squares((1, 0, 0, 10, 10), (2, 20, 0, 30, 5), (3, 20, 5, 30, 10), (4, 0, 30, 8, 38))
    pred = squares((5, 0, 0, 6, 10), (6, 6, 0, 10, 10), (7, 20, 0, 30, 10), (9, 30, 30, 38, 38))
    scores = compare(pred, truth)
    assert (scores.split, scores.merged) == (1, 1)
    half = scores.at[0]
    # 6 rows of 10 match; of the two halves of the merge, one matches at exactly 0.5
    assert (half.true, half.false, half.missed) == (2, 2, 2)
    assert scores.at[1].true == 1
    found = fates(pred, truth)
    assert found.pred_labels.tolist() == [5, 6, 7, 9]
    assert found.pred_right.tolist() == [True, False, True, False]
    assert found.pred_split.tolist() == [True, True, False, False]
    assert found.pred_merged.tolist() == [False, False, True, False]
    assert found.true_split.tolist() == [True, False, False, False]
    assert found.true_merged.tolist() == [False, True, True, False]
    assert found.true_found.sum() == 2
    assert matches(pred, truth).tolist() == [True, False, True, False]
    assert matches(pred, truth, 0.7).tolist() == [False] * 4


def test_a_slight_overlap_with_a_neighbour_is_no_merge() -> None:
    truth = squares((1, 0, 0, 10, 10), (2, 0, 10, 10, 20))
    pred = squares((1, 0, 0, 10, 11), (2, 0, 11, 10, 20))
    scores = compare(pred, truth)
    assert (scores.split, scores.merged) == (0, 0)
    assert scores.at[-1].true == 2


@pytest.mark.parametrize(
    ("dtype", "top"),
    [(np.uint8, 200), (np.uint16, 60_000), (np.uint32, 2**31 + 5), (np.int64, 2**40), (bool, 1)],
)
def test_any_dtype_and_any_numbers(dtype: type, top: int) -> None:
    image = np.zeros((40, 40), dtype)
    image[0:10, 0:10] = 1
    image[20:30, 0:10] = top
    found = contingency(image, image)
    assert found.pred_labels.tolist() == sorted({1, top})
    assert (found.iou == 1).all()
    assert compare(image, image).at[-1].ap == 1.0


def test_empty_images() -> None:
    empty, one = np.zeros((5, 5), np.int32), np.ones((5, 5), np.int32)
    nothing = compare(empty, empty).at[0]
    assert (nothing.ap, nothing.f1, nothing.panoptic) == (1.0, 1.0, 1.0)
    assert np.isnan([nothing.precision, nothing.recall, nothing.mean_iou]).all()
    assert compare(empty, one).at[0].missed == 1
    assert compare(one, empty).at[0].ap == 0.0
    assert matches(empty, one).shape == (0,)
    assert overlaps(one, empty).shape == (1, 0)
    assert pooled([]).at[0].ap == 1.0


def test_what_is_no_label_image_is_refused() -> None:
    one = np.ones((5, 5), np.int32)
    with pytest.raises(ValueError, match="negative labels, got -1"):
        compare(-one, one)
    with pytest.raises(ValueError, match="whole numbers, got float64"):
        compare(one, one * 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="differ in shape"):
        matches(one, one[1:])
    for limits in ((0.4,), (1.1,), ()):
        with pytest.raises(ValueError, match=r"0\.5 to 1"):
            compare(one, one, limits)
    with pytest.raises(ValueError, match="cannot be pooled"):
        pooled([compare(one, one, (0.5,))])


@st.composite
def label_pairs(draw: st.DrawFn) -> tuple[Labels, Labels]:
    """Two blocky label images that share some objects."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    truth = random.integers(0, draw(st.integers(1, 6)) + 1, shape)
    pred = np.where(random.random(shape) < draw(st.sampled_from([0.1, 0.4, 1.0])), 0, truth)
    pred = np.where(random.random(shape) < 0.2, random.integers(0, 9, shape), pred)
    step = draw(st.sampled_from([1, 3, 2**23]))
    return (pred * step).astype(np.int32), truth.astype(np.int32)


def plain(pred: Labels, truth: Labels) -> tuple[NDArray[np.float64], InstanceScores]:
    """IoU of all pairs and the scores, by loops; whom an object matches is found by search."""
    a = [pred == label for label in np.unique(pred) if label]
    b = [truth == label for label in np.unique(truth) if label]
    iou = np.array([[(p & t).sum() / (p | t).sum() for t in b] for p in a]).reshape(len(a), len(b))
    at = []
    for limit in LIMITS:
        rows: set[int] = set()
        columns: set[int] = set()
        shared = 0.0
        for row, column in sorted(np.ndindex(iou.shape), key=lambda rc: -iou[rc]):
            if iou[row, column] >= limit and row not in rows and column not in columns:
                rows.add(row)
                columns.add(column)
                shared += iou[row, column]
        n = len(rows)
        at.append(Agreement(limit, n, len(a) - n, len(b) - n, shared))
    touching = iou > TOUCHES
    # as in Caicedo et al.: sums along rows and columns of the pairs above the limit
    split, merged = (touching.sum(0) > 1).sum(), (touching.sum(1) > 1).sum()
    return iou, InstanceScores(tuple(at), int(split), int(merged))


@given(label_pairs())
@settings(max_examples=150, deadline=None)
def test_agrees_with_plain_loops(pair: tuple[Labels, Labels]) -> None:
    iou, expected = plain(*pair)
    np.testing.assert_array_equal(overlaps(*pair), iou)
    found = compare(*pair)
    assert (found.split, found.merged) == (expected.split, expected.merged)
    for ours, theirs in zip(found.at, expected.at, strict=True):
        assert (ours.true, ours.false, ours.missed) == (theirs.true, theirs.false, theirs.missed)
        assert ours.overlap == pytest.approx(theirs.overlap)
    what = fates(*pair)
    assert what.pred_right.sum() == what.true_found.sum() == found.at[0].true
    assert (what.true_split.sum(), what.pred_merged.sum()) == (found.split, found.merged)
    for limit in (0.5, 0.75):
        assert matches(*pair, limit).sum() == {a.iou: a.true for a in found.at}[limit]


@given(label_pairs())
@settings(max_examples=50, deadline=None)
def test_swapping_sides_swaps_errors(pair: tuple[Labels, Labels]) -> None:
    one, other = compare(*pair), compare(*pair[::-1])
    assert (one.split, one.merged) == (other.merged, other.split)
    for a, b in zip(one.at, other.at, strict=True):
        assert (a.true, a.false, a.missed) == (b.true, b.missed, b.false)
        assert (a.ap, a.f1) == (b.ap, b.f1)


def test_many_objects_are_counted_without_a_table_of_all_pairs() -> None:
    rows, columns = np.indices((1200, 1200)) // 4
    truth = (rows * 300 + columns + 1).astype(np.int32)  # 90 000 objects: 8e9 pairs
    scores = compare(np.roll(truth, 1, axis=0), truth)
    assert scores.at[0].true == 90_000
    assert scores.at[3].true == 0
