"""The frame ring: whole frames or none, format changes, and memory that is always given back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import SettingsError, StaleSlot, WireError
from drivers.ring import FrameRing, Plane, RingReader, SlotRef
from drivers.sharedmem import sweep


def image(height: int = 8, width: int = 12, dtype: str = "uint16", value: int = 7) -> np.ndarray:
    return np.full((height, width), value, dtype)


@pytest.fixture
def ring():
    ring = FrameRing(budget_mb=1, min_depth=4, max_depth=4)
    yield ring
    ring.close()


@pytest.fixture
def reader():
    reader = RingReader()
    yield reader
    reader.close()


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    dtype=st.sampled_from(["uint8", "uint16", "int32", "float32"]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read(height, width, dtype, seed):
    pixels = np.random.default_rng(seed).integers(0, 200, (height, width)).astype(dtype)
    ring, reader = FrameRing(budget_mb=1, min_depth=2, max_depth=3), RingReader()
    try:
        found = reader.copy(ring.write({"raw": pixels, "again": pixels[::-1].copy()}))
        np.testing.assert_array_equal(found["raw"], pixels)
        np.testing.assert_array_equal(found["again"], pixels[::-1])
        assert found["raw"].dtype == pixels.dtype
    finally:
        reader.close()
        ring.close()


def test_an_overwritten_slot_is_stale_and_never_shown(ring, reader):
    ref = ring.write({"raw": image(value=1)})
    seen = reader.view(ref)["raw"]
    assert int(seen[0, 0]) == 1
    for value in range(2, 2 + ring.depth):
        ring.write({"raw": image(value=value)})
    with pytest.raises(StaleSlot, match="slower than the ring"):
        reader.check(ref)
    with pytest.raises(StaleSlot):
        reader.view(ref)


def test_a_promised_slot_is_waited_for_and_shown_when_it_is_whole(ring, reader):
    before = ring.write({"raw": image(value=1)})
    claim = ring.claim({"raw": image(value=2)})
    for wait_s in (0.0, 0.02):
        with pytest.raises(StaleSlot):
            reader.copy(claim.ref, wait_s)
    later = threading.Timer(0.05, claim.fill)
    later.start()
    found = reader.copy(claim.ref, 10.0)
    later.join()
    assert (found["raw"] == 2).all()
    assert (reader.copy(before)["raw"] == 1).all()


def test_memory_that_was_reserved_is_what_is_written_to(ring, reader):
    ring.reserve({"raw": ((40, 60), "uint16")})
    depth, (segment,) = ring.depth, ring._segments
    ref = ring.write({"raw": np.full((40, 60), 7, np.uint16)})
    assert (ref.ring, ring.depth) == (segment.name, depth)
    assert (reader.view(ref)["raw"] == 7).all()
    smaller = ring.write({"raw": np.zeros((20, 20), np.uint16)})
    assert smaller.ring == segment.name


def test_readers_cannot_write(ring, reader):
    seen = reader.view(ring.write({"raw": image()}))["raw"]
    with pytest.raises(ValueError, match="read-only"):
        seen[0, 0] = 1


def test_a_larger_image_gets_a_new_segment_and_the_old_one_stays_readable(ring, reader):
    small = ring.write({"raw": image(8, 8)})
    large = ring.write({"raw": image(64, 64, value=9)})
    back = ring.write({"raw": image(4, 4, "uint8", 3)})
    assert small.ring != large.ring
    assert back.ring == large.ring
    assert int(reader.copy(small)["raw"][0, 0]) == 7
    assert int(reader.copy(large)["raw"][0, 0]) == 9
    assert reader.copy(back)["raw"].dtype == np.uint8


def test_too_little_memory_is_said_in_one_sentence():
    ring = FrameRing(budget_mb=1, min_depth=4)
    with pytest.raises(SettingsError, match=r"shared memory.*raise the budget"):
        ring.write({"raw": image(2048, 2048)})
    ring.close()


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"slot": 99}, id="slot"),
        pytest.param({"depth": 0}, id="depth"),
        pytest.param({"size": 64}, id="size"),
        pytest.param({"planes": (Plane("raw", 0, 4000, 4000, "uint16"),)}, id="plane-too-large"),
        pytest.param({"planes": (Plane("raw", -64, 8, 8, "uint16"),)}, id="before-the-slot"),
        pytest.param({"planes": (Plane("raw", 0, 8, 8, "object"),)}, id="dtype"),
        pytest.param({"ring": "somebody-elses"}, id="foreign-memory"),
        pytest.param({"ring": "parfocal-1-gone"}, id="gone"),
    ],
)
def test_a_descriptor_that_lies_is_refused(ring, reader, broken):
    ref = ring.write({"raw": image()})
    fields = {name: getattr(ref, name) for name in ref.__struct_fields__} | broken
    with pytest.raises(WireError):
        reader.view(SlotRef(**fields))


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(np.zeros((2, 2, 2), np.uint16), id="three-dimensional"),
        pytest.param(np.zeros((2, 2), np.float64), id="double"),
        pytest.param(np.zeros((0, 4), np.uint8), id="empty"),
    ],
)
def test_what_is_no_image_is_refused(ring, bad):
    with pytest.raises(WireError, match="need a non-empty"):
        ring.write({"raw": bad})


OWNER = """
import sys, time, numpy as np
from drivers.ring import FrameRing
ring = FrameRing(budget_mb=1)
print(ring.write({"raw": np.ones((8, 8), np.uint16)}).ring, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /dev/shm")
def test_memory_is_released_after_kill_9():
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert owner.stdout is not None
    name = owner.stdout.readline().strip()
    segment = Path("/dev/shm") / name
    assert segment.exists()
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait(10)
    owner.stdout.close()
    deadline = time.monotonic() + 5
    while segment.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not segment.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /dev/shm")
def test_the_next_start_sweeps_what_a_dead_owner_left():
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait(10)
    left = Path("/dev/shm") / f"parfocal-{child.pid}-0badcafe"
    ours = Path("/dev/shm") / f"parfocal-{os.getpid()}-0badcafe"
    left.write_bytes(b"0")
    ours.write_bytes(b"0")
    try:
        assert left.name in sweep()
        assert not left.exists()
        assert ours.exists()
    finally:
        ours.unlink()


def test_a_wrong_descriptor_does_not_spoil_the_right_ones_after_it(ring):
    right = ring.write({"raw": image(value=5)})
    for wrong in (
        msgspec.structs.replace(right, depth=right.depth - 1),
        msgspec.structs.replace(right, size=right.size - 64),
    ):
        reader = RingReader()
        try:
            with suppress(WireError, StaleSlot):
                reader.view(wrong)
            np.testing.assert_array_equal(reader.copy(right)["raw"], image(value=5))
        finally:
            reader.close()


def test_many_forms_in_turn_are_all_read_as_they_were_written(ring, reader):
    ring.write({"raw": image(40, 40, "float32")})
    for number in range(60):
        height = 1 + number % 19
        pixels = image(height, 30, ("uint8", "uint16", "int32")[number % 3], number)
        found = reader.copy(ring.write({"labels" if number % 2 else "raw": pixels}))
        (array,) = found.values()
        np.testing.assert_array_equal(array, pixels)
        assert array.dtype == pixels.dtype


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_closed_reader_keeps_no_memory_mapped():
    ring, reader = FrameRing(budget_mb=1, min_depth=2, max_depth=2), RingReader()
    try:
        ref = ring.write({"raw": image()})
        before = Path("/proc/self/maps").read_text().count(ref.ring)
        reader.copy(ref)
        assert Path("/proc/self/maps").read_text().count(ref.ring) == before + 1
        reader.close()
        assert Path("/proc/self/maps").read_text().count(ref.ring) == before
    finally:
        reader.close()
        ring.close()
    assert ref.ring not in Path("/proc/self/maps").read_text()
