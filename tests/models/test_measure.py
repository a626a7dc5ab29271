"""Measurements against scikit-image, and on the shapes that break such code."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.result import MORE_COLUMNS, OBJECT_DTYPE, ImageContext
from models.tasks.measure import compact, measure, measure_denoised

CONTEXT = ImageContext(seq=0, time_s=0.0)

SAME = {
    "area_px": ("area", 0.0),
    "y_px": ("centroid-0", 1e-4),
    "x_px": ("centroid-1", 1e-4),
    "bbox_y0": ("bbox-0", 0.0),
    "bbox_x0": ("bbox-1", 0.0),
    "bbox_y1": ("bbox-2", 0.0),
    "bbox_x1": ("bbox-3", 0.0),
    "mean_intensity": ("intensity_mean", 1e-2),
    "max_intensity": ("intensity_max", 0.0),
    "major_px": ("axis_major_length", 1e-3),
    "minor_px": ("axis_minor_length", 1e-3),
    "eccentricity": ("eccentricity", 1e-3),
}


def ellipses(shape: tuple[int, int], count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, dtype=np.int32)
    y, x = np.indices(shape)
    for label in range(1, count + 1):
        cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        a, b, angle = *rng.uniform(3, 14, 2), rng.uniform(0, np.pi)
        u = (y - cy) * np.cos(angle) + (x - cx) * np.sin(angle)
        v = (x - cx) * np.cos(angle) - (y - cy) * np.sin(angle)
        labels[(u / a) ** 2 + (v / b) ** 2 < 1] = label
    return compact(labels)


def table_of(labels: np.ndarray, pixels: np.ndarray, context: ImageContext = CONTEXT) -> np.ndarray:
    count = int(labels.max())
    return measure(labels, pixels, np.ones(count, dtype=np.float32), context)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agrees_with_scikit_image(seed: int) -> None:
    skimage = pytest.importorskip("skimage.measure")
    labels = ellipses((203, 307), 60, seed)
    pixels = np.random.default_rng(seed).integers(0, 65_535, labels.shape).astype(np.uint16)
    names = {name.split("-")[0] for name, _ in SAME.values()} | {"orientation", "label"}
    expected = skimage.regionprops_table(labels, pixels, properties=tuple(names))
    found = table_of(labels, pixels)
    for ours, (theirs, tolerance) in SAME.items():
        np.testing.assert_allclose(found[ours], expected[theirs], atol=tolerance, err_msg=ours)
    # a direction has no sign: pi/2 and -pi/2 are one
    turn = found["orientation_rad"] - expected["orientation"]
    assert np.abs(np.sin(turn)).max() < 1e-3


def test_places_on_the_stage() -> None:
    labels = np.zeros((20, 30), dtype=np.int32)
    labels[4:7, 9:12] = 1
    matrix = np.array([[0.5, 0.0, 100.0], [0.0, 0.5, 200.0]])
    found = table_of(labels, labels.astype(np.uint8), ImageContext(0, 0.0, 0.5, matrix))
    assert (found["x_um"][0], found["y_um"][0]) == (105.0, 202.5)
    unknown = table_of(labels, labels.astype(np.uint8))
    assert np.isnan(unknown["x_um"][0])


@given(
    labels=hnp.arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)),
                      elements=st.integers(0, 4)),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_every_object_is_in_its_box(labels: np.ndarray) -> None:
    labels = compact(labels)
    pixels = np.arange(labels.size, dtype=np.uint16).reshape(labels.shape)
    for row in table_of(labels, pixels):
        y, x = np.nonzero(labels == row["label"])
        assert row["area_px"] == len(y)
        assert (row["bbox_y0"], row["bbox_y1"]) == (y.min(), y.max() + 1)
        assert (row["bbox_x0"], row["bbox_x1"]) == (x.min(), x.max() + 1)
        assert row["max_intensity"] == pixels[y, x].max()
        for name in OBJECT_DTYPE.names:
            if not name.endswith("_um") and name not in MORE_COLUMNS:
                assert np.isfinite(row[name]), name


def test_no_object() -> None:
    assert len(table_of(np.zeros((5, 5), np.int32), np.zeros((5, 5), np.uint8))) == 0


@pytest.mark.parametrize("values", [(0, 3, 3, 7), (5, 5, 2, 0), (0, 0, 0, 0), (2**30, 1, 0, 9)])
def test_compact_keeps_the_order_and_leaves_no_gap(values: tuple[int, ...]) -> None:
    labels = np.array([values], dtype=np.int64)
    found = compact(labels)
    kept = sorted(set(values) - {0})
    want = [0 if v == 0 else kept.index(v) + 1 for v in values]
    assert found.tolist() == [want]
    assert found.dtype == np.int32


def test_the_denoised_image_is_measured_beside_the_raw_one() -> None:
    rng = np.random.default_rng(3)
    labels = compact(rng.integers(0, 5, (40, 50)).astype(np.int32))
    raw = rng.integers(0, 4000, (40, 50)).astype(np.uint16)
    clean = rng.integers(0, 4000, (40, 50)).astype(np.uint16)
    confidence = np.ones(int(labels.max()), np.float32)
    table = measure(labels, raw, confidence, CONTEXT)
    assert table["mean_denoised"].tolist() == table["mean_intensity"].tolist()
    measure_denoised(table, labels, clean)
    other = measure(labels, clean, confidence, CONTEXT)
    assert table["mean_denoised"].tolist() == other["mean_intensity"].tolist()
    assert table["max_denoised"].tolist() == other["max_intensity"].tolist()
