"""The living sample: one seed one history, lineage without gaps, steady density, little overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.simulated.cells import Cells, shape_in_cycle
from drivers.simulated.crowding import near_pairs
from drivers.simulated.sample import Sample
from drivers.simulated.scene import Fading


def small(seed: int = 3, cycle_s: float = 30) -> Sample:
    return Sample(seed, side_um=400, spacing_um=34, cycle_s=cycle_s)


def same(one: Cells, other: Cells) -> bool:
    names = ("ids", "x_um", "y_um", "radius_um", "aspect", "brightness", "angle")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_the_state_depends_on_time_and_seed_alone() -> None:
    often, once, other = small(), small(), small(seed=4)
    for time_s in np.arange(0, 12, 0.37):
        often.advance(time_s)
    for sample in (often, once, other):
        sample.advance(12)
    assert once.time_s == pytest.approx(12)
    assert same(often.cells(), once.cells())
    assert list(often.divisions) == list(once.divisions)
    assert not same(once.cells(), other.cells())


def test_every_nucleus_has_one_mother_and_divides_once() -> None:
    sample = small()
    first = set(sample.cells().ids.tolist())
    sample.advance(60)
    divisions = list(sample.divisions)
    assert len(divisions) > 50
    times = [division.time_s for division in divisions]
    assert times == sorted(times)
    born = [d for division in divisions for d in division.daughters]
    mothers = [division.mother for division in divisions]
    assert len(set(born)) == len(born)
    assert len(set(mothers)) == len(mothers)
    assert not set(born) & first
    assert set(mothers) <= first | set(born)
    alive = sample.cells().ids
    assert len(np.unique(alive)) == len(alive)
    assert not set(alive.tolist()) & set(mothers)


def test_daughters_appear_beside_where_the_mother_was_and_part() -> None:
    sample = small()
    before = sample.cells()
    found = 0
    for step in range(1, 300):
        sample.advance(step * 0.1)
        now = sample.cells()
        for division in [d for d in sample.divisions if d.time_s == sample.time_s]:
            mother = before.ids == division.mother
            pair = np.isin(now.ids, division.daughters)
            if pair.sum() < 2:  # the sheet's border took one
                continue
            found += 1
            middle = now.x_um[pair].mean(), now.y_um[pair].mean()
            place = before.x_um[mother][0], before.y_um[mother][0]
            assert np.hypot(middle[0] - place[0], middle[1] - place[1]) < 1.5
            apart = np.hypot(np.ptp(now.x_um[pair]), np.ptp(now.y_um[pair]))
            assert 4 < apart < 12
        before = now
    assert found > 20


def test_density_stays_and_nuclei_hardly_overlap() -> None:
    sample = small()
    start = len(sample)
    for time_s in (30, 90, 200):  # seven cycles: growth alone would give a hundred times as many
        sample.advance(time_s)
        assert 0.6 * start < len(sample) < 1.6 * start
        cells = sample.cells()
        at = np.stack([cells.x_um, cells.y_um], axis=1)
        assert np.abs(at).max() <= 200
        one, other = near_pairs(at, 60)
        apart = np.hypot(*(at[one] - at[other]).T)
        close = apart < 0.8 * (cells.radius_um[one] + cells.radius_um[other])
        assert close.sum() <= 0.05 * len(sample)


def test_divisions_come_at_a_steady_rate() -> None:
    sample = small()
    sample.advance(120)
    counts, _ = np.histogram([d.time_s for d in sample.divisions], bins=8, range=(0, 120))
    assert counts.min() > 0.4 * counts.mean()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.floats(1, 80), st.integers(0, 9))
def test_near_pairs_are_those_of_the_slow_way(n: int, reach: float, seed: int) -> None:
    at = np.random.default_rng(seed).uniform(0, 100, (n, 2)).astype(np.float32)
    one, other = near_pairs(at, reach)
    got = {frozenset(pair) for pair in zip(one.tolist(), other.tolist(), strict=True)}
    assert len(got) == len(one)
    apart = np.abs(at[:, None] - at[None])
    near = np.triu((apart < reach).all(axis=2), 1)
    assert got == {frozenset(pair) for pair in np.argwhere(near).tolist()}


def test_a_nucleus_grows_condenses_and_stands_in_a_plate() -> None:
    age = np.array([0.0, 0.1, 0.9, 0.96, 0.99], np.float32)
    shape = shape_in_cycle(age, np.full(5, 1.3, np.float32))
    newborn, young, old, round_one, plate = range(5)
    assert shape.radius[newborn] < shape.radius[young] < shape.radius[old]
    assert shape.radius[round_one] < shape.radius[old]
    assert shape.aspect[round_one] < 1.1 < shape.aspect[old] < 2 < shape.aspect[plate]
    assert shape.brightness[plate] > shape.brightness[round_one] > 1.7
    assert shape.brightness[young] == pytest.approx(1)
    assert shape.condensed.tolist() == pytest.approx([1, 0, 0, 1, 1])


def test_light_fades_daughters_inherit_and_dye_is_renewed() -> None:
    sample = small()
    sample.advance(20)
    fading = Fading(frames=100, cycle_s=30)
    division = sample.divisions[-1]
    mother = np.array([division.mother], np.int32)
    other = np.array([0], np.int32)
    fading.shine(mother, 50)
    assert fading.left(mother) == pytest.approx(np.exp(-0.5))
    assert fading.left(other) == 1
    fading.follow(sample.divisions, 0)
    daughters = np.array(division.daughters, np.int32)
    assert fading.left(daughters) == pytest.approx(np.exp(-0.5))
    fading.follow(sample.divisions, 30)
    assert fading.left(daughters) == pytest.approx(np.exp(-0.25))
