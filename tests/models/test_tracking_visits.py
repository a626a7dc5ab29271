"""Ground that the stage left and came back to."""

from __future__ import annotations

import numpy as np
import pytest

from models.result import OBJECT_DTYPE, ImageContext
from models.settings import TrackSettings
from models.tracking import Tracker
from models.tracking.visits import MOST, clock_since, remembered

SIDE = 400


def test_the_newest_visit_counts_and_strange_ground_was_never_seen():
    visits = remembered((), 1.0, (0, 0), (10, 10))
    visits = remembered(visits, 5.0, (100, 0), (110, 10))
    visits = remembered(visits, 7.0, (0.5, 0), (10.5, 10))  # the first field, within its stage
    assert len(visits) == 2
    since = clock_since(visits, 9.0, np.array([[5.0, 5.0], [105.0, 5.0], [50.0, 5.0]]))
    assert since.tolist() == [2.0, 4.0, np.inf]


def test_a_tour_of_many_fields_is_bounded_and_keeps_the_newest():
    visits = ()
    for number in range(3 * MOST):
        visits = remembered(visits, float(number), (100.0 * number, 0), (100.0 * number + 10, 10))
    assert len(visits) == MOST
    assert visits[-1][0] == 3 * MOST - 1


def discs(places, radius):
    """Label image and table of discs at (y, x)."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    y, x = np.indices(labels.shape)
    rows = np.zeros(len(places), OBJECT_DTYPE)
    for number, ((cy, cx), r) in enumerate(zip(places, radius, strict=True), 1):
        disc = (y - cy) ** 2 + (x - cx) ** 2 < r * r
        labels[disc] = number
        row = rows[number - 1]
        row["label"], row["y_px"], row["x_px"], row["area_px"] = number, cy, cx, disc.sum()
        row["major_px"] = row["minor_px"] = 2 * r
        row["bbox_y0"], row["bbox_x0"], row["bbox_y1"], row["bbox_x1"] = (
            cy - r, cx - r, cy + r + 1, cx + r + 1,
        )  # fmt: skip
        row["confidence"] = 1
    return rows, labels


def context(seq, shift_um):
    affine = np.array([[1.0, 0.0, shift_um], [0.0, 1.0, 0.0]])
    return ImageContext(seq, seq * 0.25, pixel_size_um=1.0, px_to_um=affine)


@pytest.mark.parametrize("away", [1, 12])
def test_a_division_while_the_stage_was_elsewhere_is_seen_on_return(away):
    here = [(100 * i + 60, 100 * j + 60) for i in range(3) for j in range(3)]
    tracker = Tracker(TrackSettings())
    for seq in range(20):
        update = tracker.update(*discs(here, [13] * 9), context(seq, 0.0))
    mother = update.track_id[4]
    for seq in range(20, 20 + away):
        tracker.update(*discs([(200, 200)], [13]), context(seq, 5000.0))
    (y, x), others = here[4], here[:4] + here[5:]
    both = [(y, x - 16), (y, x + 16)]
    update = tracker.update(*discs(others + both, [13] * 8 + [9, 9]), context(20 + away, 0.0))
    assert update.divided[-2:].all()
    assert (update.parent_id[-2:] == mother).all()
    assert not update.divided[:-2].any()
