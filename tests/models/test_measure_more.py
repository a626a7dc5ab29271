"""Perimeter, statistics, texture and neighbours against scikit-image and plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models import load_pipeline
from models.errors import PipelineError
from models.result import ImageContext
from models.tasks.measure import compact, measure
from models.tasks.measure_more import channel_intensities, measure_more, nearest

CONTEXT = ImageContext(seq=0, time_s=0.0)


def more_of(labels: np.ndarray, pixels: np.ndarray, **asked: object) -> np.ndarray:
    count = int(labels.max(initial=0))
    table = measure(labels, pixels, np.ones(count, np.float32), CONTEXT)
    measure_more(table, labels, pixels, **asked)
    return table


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 16), st.integers(1, 16)),
                  elements=st.integers(0, 4)), st.integers(0, 2**31))  # fmt: skip
def test_agrees_with_scikit_image(labels: np.ndarray, seed: int) -> None:
    skimage = pytest.importorskip("skimage.measure")
    labels = compact(labels)
    pixels = np.random.default_rng(seed).integers(0, 65_536, labels.shape).astype(np.uint16)
    names = ("perimeter", "intensity_min", "intensity_std")
    theirs = skimage.regionprops_table(labels, pixels, properties=names)
    ours = more_of(labels, pixels)
    for mine, other in zip(("perimeter_px", "min_intensity", "std_intensity"), names, strict=True):
        np.testing.assert_allclose(ours[mine], theirs[other], rtol=1e-4, atol=1e-2, err_msg=mine)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)),
                  elements=st.integers(0, 5)))  # fmt: skip
def test_neighbours_are_those_that_share_a_side_or_a_corner(labels: np.ndarray) -> None:
    labels = compact(labels)
    wide = np.pad(labels, 1)
    true: dict[int, set[int]] = {k: set() for k in range(1, int(labels.max(initial=0)) + 1)}
    for y, x in np.argwhere(wide > 0):
        around = wide[y - 1 : y + 2, x - 1 : x + 2]
        true[int(wide[y, x])] |= {int(k) for k in around.ravel()} - {0, int(wide[y, x])}
    found = more_of(labels, labels.astype(np.uint16))["neighbours"]
    assert found.tolist() == [len(true[k]) for k in sorted(true)]


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 60), st.just(2)),
                  elements=st.floats(0, 1000)))  # fmt: skip
def test_the_nearest_is_the_nearest(place: np.ndarray) -> None:
    apart = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_allclose(nearest(place), apart.min(axis=1))


def test_roughness_is_grain_and_not_a_ramp() -> None:
    labels = np.zeros((60, 130), np.int32)
    labels[5:55, 5:60], labels[5:55, 70:125] = 1, 2
    rng = np.random.default_rng(0)
    grain = 1000 + rng.normal(0, 40, labels.shape)
    ramp = 1000 + 2.0 * np.indices(labels.shape)[0]
    pixels = np.where(labels == 1, grain, ramp).astype(np.uint16)
    table = more_of(labels, pixels)
    assert table["roughness"][0] == pytest.approx(40, rel=0.05)
    assert table["roughness"][1] < 2
    assert table["std_intensity"][1] > 20


def test_a_second_channel_and_what_is_not_asked_for() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[2:8, 2:8], labels[10:16, 12:20] = 1, 2
    second = np.arange(600, dtype=np.uint16).reshape(20, 30)
    table = more_of(labels, second // 2, texture=False, neighbours=False)
    mean, highest = channel_intensities(table, labels, second)
    assert mean.tolist() == [second[labels == k].mean() for k in (1, 2)]
    assert highest.tolist() == [second[labels == k].max() for k in (1, 2)]
    assert np.isnan(table["perimeter_px"]).all()
    assert (table["neighbours"] == -1).all()


def test_nothing_and_one_object() -> None:
    nothing = np.zeros((9, 9), np.int32)
    assert more_of(nothing, nothing.astype(np.uint16)).shape == (0,)
    one = nothing.copy()
    one[4, 4] = 1
    (row,) = more_of(one, one.astype(np.uint16))
    assert row["nearest_px"] == np.inf
    assert row["roughness"] == 0


def test_a_pipeline_measures_more_where_it_is_asked_to() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[4:12, 4:12], labels[4:12, 12:20] = 3, 7
    pixels = (labels * 10 + 5).astype(np.uint16)
    plain = {"name": "t", "segment": {"kind": "threshold"}}
    for asked, there in (({}, False), ({"measure": {"texture": False}}, True)):
        with load_pipeline({**plain, **asked}) as pipeline:
            result = pipeline.run(pixels, CONTEXT, labels)
            assert result.objects["neighbours"].tolist() == ([1, 1] if there else [-1, -1])
            assert np.isfinite(result.objects["nearest_px"]).all() == there
            assert np.isnan(result.objects["perimeter_px"]).all()
    with pytest.raises(PipelineError, match=r"measure\.contrast"):
        load_pipeline({**plain, "measure": {"contrast": True}})
