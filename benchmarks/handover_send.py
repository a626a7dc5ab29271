"""The sending processes of the hand-over benchmark: one contestant, one run, its frames/s.

Each begins as the process that owns the camera does, see ``live.processes.pastcaches``: what that
gains, all of them gain.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.queues import Queue
from typing import Any

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from benchmarks.handover_memcpy import sample, send_memcpy
from benchmarks.handover_read import IN_FLIGHT, TIMEOUT_MS, Lost, bounded_context
from drivers import FrameSender
from drivers.frame import Frame, FrameMeta
from drivers.ring import FrameRing
from live.processes.pastcaches import begin_past_caches

WARM_UP = 3 * IN_FLIGHT

Array = NDArray[np.uint16]


def pictures(size: int) -> list[Array]:
    """A few different frames, as a camera would give them."""
    random = np.random.default_rng(0)
    return [random.integers(0, 4096, (size, size), dtype=np.uint16) for _ in range(4)]


def send_ours(size: int, frames: int) -> float:
    """Ring and descriptor; frames/s."""
    with ExitStack() as stack:
        context = bounded_context(stack)
        ring = FrameRing(budget_mb=size * size * 2 * 2 * IN_FLIGHT / 2**20 + 1)
        stack.callback(ring.close)
        sender = stack.enter_context(FrameSender(context))

        def send(number: int, pixels: Array) -> bool:
            now = time.monotonic_ns()
            meta = FrameMeta(seq=number, captured_ns=now, popped_ns=now, exposure_ms=1.0)
            ref = ring.write({"raw": pixels})
            return sender.send(Frame(pixels, meta), ref, time.monotonic_ns())

        return _race(stack, context, "ours", sender.address, send, size, frames)


def send_zmq(size: int, frames: int) -> float:
    """Raw pyzmq: header and pixels in one multipart message, not copied by Python; frames/s."""
    with ExitStack() as stack:
        context = bounded_context(stack)
        socket = stack.enter_context(context.socket(zmq.PUSH))
        socket.setsockopt(zmq.SNDHWM, 2 * IN_FLIGHT)
        socket.bind("tcp://127.0.0.1:*")

        def send(number: int, pixels: Array) -> bool:
            header = msgspec.msgpack.encode((number, pixels.shape, pixels.dtype.name))
            try:
                socket.send_multipart([header, pixels.data], zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return False
            return True

        address = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        return _race(stack, context, "zmq", address, send, size, frames)


def send_queue(size: int, frames: int) -> float:
    """``multiprocessing.Queue``, bounded alike; frames/s."""
    spawn = get_context("spawn")
    there: Queue[Any] = spawn.Queue(IN_FLIGHT)
    back: Queue[int] = spawn.Queue(2)
    process = spawn.Process(target=_read_queue, args=(there, back, frames), daemon=True)
    process.start()
    expected = 0
    start = 0.0
    source = pictures(size)
    try:
        back.get(timeout=TIMEOUT_MS / 1000)
        for number in range(WARM_UP + frames):
            if number == WARM_UP:
                back.get(timeout=TIMEOUT_MS / 1000)
                start = time.perf_counter()
            there.put((number, source[number % len(source)]), timeout=TIMEOUT_MS / 1000)
        total = back.get(timeout=TIMEOUT_MS / 1000)
        elapsed = time.perf_counter() - start
    finally:
        process.join(5)
        if process.is_alive():
            process.terminate()
    for number in range(WARM_UP + frames):
        expected += sample(source[number % len(source)])
    if total != expected:
        raise Lost(f"queue: {total} instead of {expected}")
    return frames / elapsed


def send_copy(size: int, frames: int) -> float:
    """One copy and a counter, nothing else; frames/s."""
    return send_memcpy(pictures(size), frames, WARM_UP, IN_FLIGHT)


CONTESTANTS: dict[str, Callable[[int, int], float]] = {
    "ours": send_ours,
    "zmq": send_zmq,
    "queue": send_queue,
    "memcpy": send_copy,
}


def _race(
    stack: ExitStack,
    context: zmq.Context[zmq.Socket[bytes]],
    kind: str,
    address: str,
    send: Callable[[int, Array], bool],
    size: int,
    frames: int,
) -> float:
    """Send ``frames`` with at most ``IN_FLIGHT`` unconfirmed to a new reader, compare the sums."""
    back = stack.enter_context(context.socket(zmq.PULL))
    back.bind("tcp://127.0.0.1:*")
    reader = subprocess.Popen(
        [
            sys.executable, "-m", "benchmarks.handover_read", "--kind", kind, "--address", address,
            "--back", back.getsockopt_string(zmq.LAST_ENDPOINT), "--frames", str(WARM_UP + frames),
        ]
    )  # fmt: skip
    stack.callback(_end, reader)
    source = pictures(size)
    everything = WARM_UP + frames
    expected = sum(sample(source[number % len(source)]) for number in range(everything))
    if not back.poll(TIMEOUT_MS):
        raise Lost(f"{kind}: the reader did not start")
    back.recv()
    confirmed = total = 0
    start = time.perf_counter()
    for number in range(everything):
        if number == WARM_UP:
            while confirmed < number:
                confirmed, total = _confirmation(back, kind)
            start = time.perf_counter()
        while number - confirmed >= IN_FLIGHT:
            confirmed, total = _confirmation(back, kind)
        pixels = source[number % len(source)]
        deadline = time.perf_counter() + TIMEOUT_MS / 1000
        while not send(number, pixels):
            if time.perf_counter() > deadline:
                raise Lost(f"{kind}: the reader takes no frames")
            time.sleep(0.0002)
    while confirmed < everything:
        confirmed, total = _confirmation(back, kind)
    elapsed = time.perf_counter() - start
    if total != expected:
        raise Lost(f"{kind}: pixels add up to {total} instead of {expected}")
    return frames / elapsed


def _confirmation(back: zmq.Socket[bytes], kind: str) -> tuple[int, int]:
    if not back.poll(TIMEOUT_MS):
        raise Lost(f"{kind}: no confirmation in {TIMEOUT_MS / 1000:.0f} s")
    count, total = msgspec.msgpack.decode(back.recv(), type=tuple[int, int])
    return count, total


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read_queue(there: Queue[Any], back: Queue[int], frames: int) -> None:
    back.put(0)
    total = 0
    for number in range(WARM_UP + frames):
        if number == WARM_UP:
            back.put(0)
        _, pixels = there.get(timeout=TIMEOUT_MS / 1000)
        total += sample(pixels)
    back.put(total)


def main() -> None:
    """Entry point of a sending process: prints its frames/s."""
    parser = argparse.ArgumentParser(description="sending end of the hand-over benchmark")
    parser.add_argument("--kind", required=True, choices=tuple(CONTESTANTS))
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    options = parser.parse_args()
    sys.stdout.write(f"{CONTESTANTS[options.kind](options.size, options.frames)}\n")


if __name__ == "__main__":
    begin_past_caches()
    main()
