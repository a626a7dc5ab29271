"""The fastest hand-over that two processes can have: one copy into shared memory, and a number.

No descriptor, no metadata, no check that the slot is whole, no message: both sides look at a
counter until it moves. It says what the memory of this machine allows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.sharedmem import AttachedSegment, OwnedSegment

HEADER = 4096
WRITTEN, READ, SUM = 0, 8, 16
"""Places of the counters in the header: each in a cache line of its own."""
TIMEOUT_S = 20.0


class Stuck(Exception):
    """The other side did not move."""


def sample(pixels: NDArray[Any]) -> int:
    """Read a grid of pixels all over the frame, as a check that it is whole."""
    return int(pixels[::8, ::64].sum(dtype=np.int64))


def send_memcpy(
    source: list[NDArray[np.uint16]], frames: int, warm_up: int, in_flight: int
) -> float:
    """Copy ``frames`` frames to a reading process after ``warm_up`` others; frames/s."""
    size = source[0].shape[0]
    everything = warm_up + frames
    with ExitStack() as stack:
        segment = stack.enter_context(OwnedSegment(HEADER + 2 * in_flight * source[0].nbytes))
        counters, slots = _looked_at(segment.buffer, size)
        reader = subprocess.Popen(
            [
                sys.executable, "-m", "benchmarks.handover_memcpy", "--name", segment.name,
                "--bytes", str(segment.size), "--size", str(size), "--frames", str(everything),
            ]
        )  # fmt: skip
        stack.callback(reader.wait)
        stack.callback(reader.terminate)
        start = 0.0
        for number in range(everything):
            if number == warm_up:
                _wait_for(counters, READ, number)
                start = time.perf_counter()
            _wait_for(counters, READ, number - in_flight + 1)
            np.copyto(slots[number % len(slots)], source[number % len(source)])
            counters[WRITTEN] = number + 1
        _wait_for(counters, READ, everything)
        elapsed = time.perf_counter() - start
        expected = sum(sample(source[number % len(source)]) for number in range(everything))
        if int(counters[SUM]) != expected:
            raise Stuck(f"pixels add up to {int(counters[SUM])} instead of {expected}")
        del counters, slots
    return frames / elapsed


def _looked_at(buffer: memoryview, size: int) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    counters = np.frombuffer(buffer, np.int64, HEADER // 8)
    count = (len(buffer) - HEADER) // (2 * size * size)
    pixels = np.frombuffer(buffer, np.uint16, count * size * size, HEADER)
    return counters, pixels.reshape(count, size, size)


def _wait_for(counters: NDArray[np.int64], which: int, least: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while counters[which] < least:
        if time.monotonic() > deadline:
            raise Stuck(f"counter {which} stands at {counters[which]}, need {least}")
        time.sleep(0)


def main() -> None:
    """Entry point of the reading process."""
    parser = argparse.ArgumentParser(description="reading end of the bare copy")
    parser.add_argument("--name", required=True)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    options = parser.parse_args()
    segment = AttachedSegment(options.name, options.bytes)
    counters, slots = _looked_at(segment.buffer, options.size)
    for number in range(options.frames):
        _wait_for(counters, WRITTEN, number + 1)
        counters[SUM] += sample(slots[number % len(slots)])
        counters[READ] = number + 1


if __name__ == "__main__":
    main()
