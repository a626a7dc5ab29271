"""``parfocal bench lineage``: its scores can fail, and its rows say what they must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.lineage import Case, best, compared, scored
from benchmarks.lineage_ceiling import NEVER, Step, Ways, decide
from benchmarks.lineage_data import (
    FAR,
    SMALL_ECOLI,
    UNKNOWN,
    Links,
    Movie,
    Spot,
    division_f1,
    division_link_f1,
    divisions,
    ecoli,
    largest_overlap,
    link_f1,
    ours,
    pasts,
    simulated,
    true_links,
)
from benchmarks.track_peers import ids_of
from models.result import OBJECT_DTYPE


def links(*pairs: tuple[Spot, Spot]) -> Links:
    return frozenset(pairs)


# cell 0 goes on, cell 1 divides, and one of its daughters goes on
TRUE = links(
    ((0, 0), (1, 0)), ((0, 1), (1, 1)), ((0, 1), (1, 2)), ((1, 0), (2, 0)), ((1, 2), (2, 1))
)  # fmt: skip


@pytest.mark.parametrize(
    ("told", "f1", "of_divisions", "of_their_links"),
    [
        pytest.param(TRUE, 1, 1, 1, id="all right"),
        pytest.param(links(), 0, 0, 0, id="nothing told"),
        pytest.param(TRUE - {((1, 0), (2, 0))}, 8 / 9, 1, 1, id="a link missing"),
        pytest.param(TRUE | {((1, 1), (2, 2))}, 10 / 11, 1, 1, id="a link too many"),
        pytest.param(TRUE - {((0, 1), (1, 2))}, 8 / 9, 0, 0, id="a division missed"),
        pytest.param(
            TRUE - {((0, 1), (1, 2))} | {((0, 0), (1, 2))}, 8 / 10, 0, 0, id="another mother"
        ),
        pytest.param(
            TRUE - {((0, 1), (1, 2))} | {((0, 1), (1, 3))}, 8 / 10, 0, 0.5, id="another daughter"
        ),
        pytest.param(TRUE | {((0, 1), (1, 3))}, 10 / 11, 0, 0.8, id="a daughter too many"),
        pytest.param(
            TRUE | {((1, 0), (2, 3))}, 10 / 11, 2 / 3, 2 / 3, id="a division that was none"
        ),
        pytest.param(
            links(((0, 1), (1, 1)), ((0, 1), (2, 1))), 2 / 7, 0, 0, id="daughters in two frames"
        ),
    ],
)
def test_scores_by_hand(told: Links, f1: float, of_divisions: float, of_their_links: float) -> None:
    assert link_f1(told, TRUE) == pytest.approx(f1)
    assert division_f1(told, TRUE) == pytest.approx(of_divisions)
    assert division_link_f1(told, TRUE) == pytest.approx(of_their_links)


def test_truth_goes_to_where_the_cell_or_its_mother_was_last_seen() -> None:
    frames = [np.array([4, 7]), np.array([7]), np.array([8, 9, 4])]
    found = true_links(frames, {8: 7, 9: 7, 4: 0})
    assert found == links(
        ((0, 1), (1, 0)), ((1, 0), (2, 0)), ((1, 0), (2, 1)), ((0, 0), (2, 2))
    )  # fmt: skip
    assert divisions(found) == {((1, 0), frozenset({(2, 0), (2, 1)}))}


def test_largest_overlap_takes_the_larger_and_divides() -> None:
    labels = np.zeros((2, 8, 16), np.int32)
    labels[0, :, :8], labels[0, :, 8:] = 1, 2
    labels[1, :4, :9] = 1  # eight columns of the first, one of the second
    labels[1, 4:, :7] = 2
    labels[1, 4:, 9:] = 3
    tables = [np.zeros(count, OBJECT_DTYPE) for count in (2, 3)]
    for table in tables:
        table["label"] = np.arange(1, len(table) + 1)
    found = largest_overlap(Movie(tables, list(labels), links()))
    assert found == links(((0, 0), (1, 0)), ((0, 0), (1, 1)), ((0, 1), (1, 2)))


def test_the_past_is_the_true_one() -> None:
    tables = [np.zeros(count, OBJECT_DTYPE) for count in (2, 3, 2)]
    for table in tables:
        table["y_px"], table["area_px"] = 10 * np.arange(len(table)), 100
    tables[2]["area_px"] = 50
    found = pasts(Movie(tables, None, TRUE))
    assert (found[0] == [UNKNOWN, 0, 0, 0, FAR]).all()
    assert found[1][1:].tolist() == [[0, 0, 0, 0, 10], [0, 0, 0, 0, 10]]
    assert found[2][1].tolist() == [1, np.log(0.5), -10, 0, FAR]  # her sister is gone


def test_what_is_decided_fits_together_and_is_the_likeliest() -> None:
    one, two = np.array([[0, 0], [0, 1], [1, 1], [1, 2]]), np.array([[0, 0, 1], [1, 1, 2]])
    empty = np.zeros((0, 0))
    ways = [Ways(rows, empty, np.zeros(len(rows), bool)) for rows in (one, two)]
    step = Step(2, 3, (ways[0], ways[1]))
    odds = [np.array([2.0, 1.0, 3.0, 1.0]), np.array([-1.0, -3.0])]
    # both cells going on would be likelier, but then the last object came from nowhere
    assert sorted(decide(step, odds, NEVER)) == [[0, 0, 1], [1, 2]]
    assert sorted(decide(step, odds, 0.5)) == [[0, 0], [1, 1]]
    odds[1][1] = 1.0
    assert sorted(decide(step, odds, NEVER)) == [[0, 0], [1, 1, 2]]


def test_ids_are_those_of_what_an_object_is_linked_to() -> None:
    ids = ids_of([(2, 3), (0, 1), (1, 2), (1, 4)], 6)
    assert len(set(ids[:5].tolist())) == 1
    assert ids[5] not in ids[:5]


def test_each_measure_takes_the_reach_that_is_best_for_it() -> None:
    case = Case("hand-made", [Movie([], None, TRUE)], {"link F1": None, "division F1": None}, ())
    one = TRUE - {((0, 1), (1, 2))}
    other = TRUE - {((0, 0), (1, 0)), ((1, 0), (2, 0))}
    found = best(case, {0.5: [one], 2.0: [other]})
    assert found["link F1"] == (pytest.approx(8 / 9), ", reach 0.5 spacings")
    assert found["division F1"] == (pytest.approx(1.0), ", reach 2 spacings")


def test_rows_of_the_small_movie() -> None:
    movie = ecoli(SMALL_ECOLI)
    assert len(movie.tables) == 12
    assert len(divisions(movie.truth)) == 19
    asked = {"link F1": 0.9, "division F1": None}
    rows = compared(Case("small", [movie], asked, ()), peers=False)
    assert [(row["case"], row["peer"]) for row in rows] == [
        ("small, link F1", "asked for"),
        ("small, link F1, beside largest overlap", "largest overlap"),
        ("small, division F1, beside largest overlap", "largest overlap"),
    ]
    assert [row.get("bar") for row in rows] == [1.0, None, None]
    for row in rows:
        assert 0.9 < row["value_ours"] <= 1
        assert row["ratio"] == pytest.approx(row["value_ours"] / row["value_peer"])


def test_a_wrong_link_lowers_the_row() -> None:
    movie = ecoli(SMALL_ECOLI)
    told = ours(movie)
    moved = next(iter(sorted(told)))
    wrong = told - {moved} | {(moved[0], (moved[1][0], moved[1][1] + 1))}
    assert link_f1(wrong, movie.truth) < link_f1(told, movie.truth)
    blind = replace(movie, truth=links())
    assert compared(Case("blind", [blind], {"link F1": 1.0}, ()), peers=False)[0]["ratio"] == 0


def test_the_simulated_movie_is_the_same_each_time_and_has_divisions() -> None:
    first, again = (simulated(3, 8, 1.0) for _ in range(2))
    assert first.truth == again.truth
    assert len(divisions(first.truth)) > 0
    assert link_f1(ours(first), first.truth) > 0.95


@pytest.mark.slow
def test_the_program_over_files() -> None:
    pytest.importorskip("traccuracy", reason="needs the score extra")
    rows = scored(SMALL_ECOLI, bars=False)
    measures = [row["case"].rpartition(", ")[2] for row in rows]
    assert measures == ["TRA", "LNK", "division F1", "LNK", "division F1"]
    assert all(0.5 < row["value_ours"] <= 1 for row in rows)
    assert not any("bar" in row for row in rows)
