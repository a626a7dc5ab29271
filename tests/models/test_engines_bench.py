"""``parfocal bench engines``: its rows say what they must, and its measures of error can fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.engines import REST_S, take_turns
from benchmarks.engines_given import Given, against_truth, apart, given_for
from models.catalog import models_available

CARDS = {card.name: card for card in models_available()}


@pytest.mark.parametrize("name", ["nuclei", "bacteria", "cells"])
def test_drawn_pictures_are_the_same_each_time_and_have_objects(name: str) -> None:
    card = CARDS[name]
    first, again = (given_for(card, 256, (3,))[0] for _ in range(2))
    other = given_for(card, 256, (4,))[0]
    assert first.truth is not None
    assert first.truth.max() > 0
    np.testing.assert_array_equal(first.inputs["image"], again.inputs["image"])
    assert not np.array_equal(first.inputs["image"], other.inputs["image"])


def test_error_of_label_images_grows_with_what_is_lost() -> None:
    card = CARDS["nuclei"]
    given = given_for(card, 256, (3,))
    truth = given[0].truth
    assert truth is not None
    right = [{"labels": truth}]
    lost = [{"labels": np.where(truth == 1, 0, truth).astype(np.int32)}]
    assert apart(card, given, right, right).value == 1.0
    assert apart(card, given, lost, right).value < 1.0
    assert against_truth(given, right, 0.5) == 1.0
    assert against_truth(given, lost, 0.5) < 1.0


def test_error_of_denoising_is_a_part_of_the_noise() -> None:
    card = CARDS["denoise"]
    noise = np.random.default_rng(0).normal(0, 4, (1, 1, 64, 64)).astype(np.float32)
    clean = np.full_like(noise, 100)
    given = [Given({"image": clean + noise})]
    wanted, found = [{"denoised": clean}], [{"denoised": clean + noise / 8}]
    assert apart(card, given, found, wanted).value == pytest.approx(1 / 8, rel=1e-4)


def test_error_of_sorting_is_the_part_sorted_alike() -> None:
    card = replace(CARDS["phases"])
    wanted = [{"probability": np.eye(4, 3, dtype=np.float32)}]
    found = [{"probability": np.roll(np.eye(4, 3, dtype=np.float32), 1, axis=1)}]
    assert apart(card, [], wanted, wanted).value == 1.0
    assert apart(card, [], found, wanted).value == 0.25


def test_turns_are_taken_and_the_first_do_not_count() -> None:
    called: list[str] = []
    now = iter(range(10_000))
    runs = {"a": lambda: called.append("a"), "b": lambda: called.append("b")}
    took = take_turns(runs, 3, lambda: float(next(now)))
    assert took == {"a": 1.0, "b": 1.0}
    assert sorted(called) == ["a"] * 5 + ["b"] * 5
    assert [set(called[k : k + 2]) for k in range(0, 10, 2)] == [{"a", "b"}] * 5
    assert REST_S < 0.02


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_engine_has_a_row_with_its_error() -> None:
    pytest.importorskip("torch", reason="needs the extra parfocal[train]")
    pytest.importorskip("onnx", reason="needs the extra parfocal[train]")
    from benchmarks.engines import run

    rows = run(quick=True)
    assert all({"bench", "case", "machine"} <= row.keys() for row in rows)
    measured = [row for row in rows if "left_out" not in row]
    timed = [row for row in measured if "error" in row]
    for name in CARDS:
        of_it = [row["ours"] for row in timed if row["case"].startswith(name)]
        assert any(ours.startswith("onnxruntime fp32") for ours in of_it), name
        assert any(ours.startswith("torch fp32") for ours in of_it), name
    for row in timed:
        assert row["ratio"] == pytest.approx(row["value_peer"] / row["value_ours"])
        assert "AP@0.9" not in row["error_is"] or 0.7 < row["error"] <= 1.0
    bars = {row["bar"] for row in measured if "bar" in row}
    assert {2.5, 4.0, 0.98} <= bars
