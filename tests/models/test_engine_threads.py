"""A network never takes the core that the camera and the recorder need."""

from __future__ import annotations

import time

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from models.catalog import weights_path
from models.engines import open_engine
from models.engines.threads import (
    MOST,
    physical_cores,
    resolve_threads,
    threads_beside_camera,
)
from models.settings import NetworkSettings, Threads


@pytest.mark.parametrize(
    ("cores", "threads"),
    [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (6, 4), (8, 6), (16, 8), (128, 8)],
)
def test_threads_by_cores(cores: int, threads: int) -> None:
    assert threads_beside_camera(cores) == threads


@given(st.integers(1, 1024))
def test_one_core_is_left_wherever_there_are_two(cores: int) -> None:
    threads = threads_beside_camera(cores)
    assert 1 <= threads <= MOST
    assert threads < cores or cores == 1
    assert threads_beside_camera(cores + 1) >= threads, "a core more gave a thread less"


def test_a_number_stands_as_it_is_and_auto_is_one_for_this_machine() -> None:
    assert resolve_threads(5) == 5
    assert resolve_threads("auto") == threads_beside_camera(physical_cores())
    assert 1 <= physical_cores() <= (psutil.cpu_count() or 1)


def test_a_process_kept_to_one_core_counts_one() -> None:
    process = psutil.Process()
    if not hasattr(process, "cpu_affinity"):
        pytest.skip("this system keeps no process to a core")
    before = process.cpu_affinity()
    process.cpu_affinity(before[:1])
    try:
        assert physical_cores() == 1
    finally:
        process.cpu_affinity(before)


def test_auto_is_stated_as_a_number() -> None:
    with open_engine(weights_path("phases"), threads="auto") as engine:
        assert engine.info.device == f"cpu, {resolve_threads('auto')} threads"


def test_threads_sleep_between_frames() -> None:
    """They wait awake for the next layer only: the camera's process needs the cores."""
    image = np.random.default_rng(0).gamma(2.0, 50.0, (256, 256)).astype(np.float32)
    with open_engine(weights_path("nuclei"), threads=2) as engine:
        engine.run({"image": image})
        burnt_s = time.process_time()
        for _ in range(5):
            engine.run({"image": image})
        working_s = time.process_time() - burnt_s
        burnt_s = time.process_time()
        time.sleep(max(1.0, 4 * working_s))
        assert time.process_time() - burnt_s < 0.5 * working_s


@pytest.mark.parametrize("wrong", [0, 257, "some", 1.5])
def test_what_is_no_number_of_threads_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Threads).validate_python(wrong)


def test_settings_take_auto() -> None:
    assert NetworkSettings(model="nuclei", threads="auto").threads == "auto"
    assert NetworkSettings(model="nuclei").threads == 1
