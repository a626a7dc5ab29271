"""What the long benches reckon with: slopes, exponents, memory of processes, and the pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.endurance_watch import MemoryWatch, growth
from benchmarks.growth import exponent, row_of
from live.commands.bench import known_benches, load_bench
from live.commands.benchpicture import GOOD, MISSED, write_pictures


def test_growth_is_found_beside_readings_that_are_far_off() -> None:
    random = np.random.default_rng(0)
    frames = np.arange(0, 5000, 10, dtype=float)
    memory = 200 + frames * 3e-4 + random.normal(0, 0.1, len(frames))
    memory[::25] += 40
    slope, low, high = growth(frames, memory)
    assert low < 3.0 < high
    assert slope == pytest.approx(3.0, abs=0.2)


def test_what_stays_the_same_does_not_grow() -> None:
    assert growth(np.arange(100.0), np.full(100, 250.0))[0] == 0


def test_frames_that_never_came_tell_no_slope() -> None:
    slope, low, high = growth(np.zeros(5), np.arange(5.0))
    assert (slope, low, high) == (0.0, -np.inf, np.inf)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponents_are_those_of_the_upper_half(power: float) -> None:
    points = [(float(n), 3.0 + 0.1 * n**power) for n in (1, 10, 1e6, 1e7, 1e8)]
    assert exponent(points) == pytest.approx(power, abs=0.02)


def test_a_stage_that_grows_too_fast_misses_its_bar() -> None:
    linear = row_of("objects", "track", [(n, 0.1 * n) for n in (10, 100, 1000)])
    square = row_of("objects", "track", [(n, 0.1 * n * n) for n in (10, 100, 1000)])
    assert linear["ratio"] >= linear["bar"]
    assert square["ratio"] < square["bar"]


@pytest.mark.slow
def test_memory_is_read_of_a_process_and_its_children() -> None:
    code = (
        "import subprocess, sys, time; block = bytearray(b'1') * 60_000_000; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)']); "
        "time.sleep(0.6); child.kill(); child.wait()"
    )
    with (
        subprocess.Popen([sys.executable, "-c", code]) as process,
        MemoryWatch(process.pid, every_s=0.05) as watch,
    ):
        assert process.wait(20.0) == 0
    assert max(watch.series["rig"].unique_mb) > 60
    assert len(watch.series) == 2
    assert watch.series["rig"].unix_s == sorted(watch.series["rig"].unix_s)


def test_each_bench_gets_its_picture(tmp_path: Path) -> None:
    def row(bench: str, ratio: float, **more: object) -> dict[str, object]:
        return {
            "bench": bench, "case": "512", "ours": "a", "peer": "b", "value_ours": 1.0,
            "value_peer": 1.0, "unit": "ms", "ratio": ratio, **more,
        }  # fmt: skip

    rows = [
        row("one", 3.0, bar=2.0, points=[[1, 1.0], [10, 9.0], [100, 80.0]], along="objects"),
        row("one", float("nan"), bar=1.0),
        row("one", 1e9, series={"s": [0.0, 1.0], "mb": [10.0, 11.0]}),
        {"bench": "one", "case": "beside c", "left_out": "c is not installed"},
        row("two", 0.0),
    ]
    made = write_pictures(rows, tmp_path / "new")
    assert [path.name for path in made] == ["one.png", "two.png"]
    with Image.open(made[0]) as picture:
        colours = {tuple(one) for one in np.asarray(picture).reshape(-1, 3).tolist()}
    assert {GOOD, MISSED} <= colours


def test_every_bench_that_is_named_can_be_loaded() -> None:
    for name, where in known_benches().items():
        assert callable(load_bench(where)), name
    assert {"endurance", "growth"} <= known_benches().keys()
