"""Frames from one process to another: our ring beside raw pyzmq, a queue and one bare copy.

Every contestant runs a sending and a receiving process. The receiver gets each frame as a numpy
array, reads a sample of its pixels and confirms it; the sender keeps no more than ``IN_FLIGHT``
unconfirmed frames, so nothing is lost. The first ``WARM_UP`` frames are not timed. Rounds are
interleaved and the median is reported. The sum of the sampled pixels is compared at the end: a
contestant that loses or tears a frame is an error.
"""

from __future__ import annotations

import argparse
import statistics
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

from benchmarks import handover_word
from benchmarks.handover_memcpy import sample, send_memcpy
from drivers import FrameReceiver, FrameSender
from drivers.frame import Frame, FrameMeta
from drivers.ring import FrameRing

IN_FLIGHT = 8
WARM_UP = 3 * IN_FLIGHT
SIZES = (512, 1024, 2048)
TIMEOUT_MS = 20_000
PEERS = {
    "zmq": "pyzmq copy=False",
    "queue": "multiprocessing.Queue",
    "memcpy": "bare copy into shared memory",
}
BARS = {("zmq", 2048): 2.0, ("queue", 2048): 5.0, ("memcpy", 2048): 0.6}

Array = NDArray[np.uint16]


class Lost(Exception):
    """A contestant lost or tore a frame."""


def pictures(size: int) -> list[Array]:
    """A few different frames, as a camera would give them."""
    random = np.random.default_rng(0)
    return [random.integers(0, 4096, (size, size), dtype=np.uint16) for _ in range(4)]


def send_ours(size: int, frames: int) -> float:
    """Ring and descriptor; frames/s."""
    with ExitStack() as stack:
        context = _context(stack)
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
        context = _context(stack)
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


def run(*, quick: bool = False, sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Measure and return one row for each size and peer; ``quick`` only shows that it works."""
    rounds = 1 if quick else 5
    rows: list[dict[str, Any]] = []
    for size in sizes:
        frames = max(30, int((40 if quick else 300) * min(1.0, (1024 / size) ** 2)))
        found: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        for _ in range(rounds):
            for name, contestant in CONTESTANTS.items():
                # The queue takes about ten times as long a frame; fewer give the same figure.
                count = frames if name != "queue" else max(20, frames // 5)
                found[name].append(contestant(size, count))
        ours = statistics.median(found["ours"])
        for peer, label in PEERS.items():
            theirs = statistics.median(found[peer])
            row: dict[str, Any] = {
                "bench": "handover",
                "case": f"{size}x{size} uint16, {label}",
                "ours": "ring + descriptor",
                "peer": label,
                "value_ours": ours,
                "value_peer": theirs,
                "unit": "frames/s",
                "ratio": ours / theirs,
            }
            if (peer, size) in BARS:
                row["bar"] = BARS[peer, size]
            rows.append(row)
    rows.append(handover_word.row(20 if quick else 200))
    return rows


def _context(stack: ExitStack) -> zmq.Context[zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    stack.callback(context.destroy, 0)
    return context


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
            sys.executable, "-m", "benchmarks.handover", "--kind", kind, "--address", address,
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


def _read(kind: str, address: str, back_address: str, frames: int) -> None:
    """Read ``frames`` frames and confirm each, in the reading process."""
    with ExitStack() as stack:
        context = _context(stack)
        back = stack.enter_context(context.socket(zmq.PUSH))
        back.setsockopt(zmq.LINGER, 2000)
        back.connect(back_address)
        take = _taker(stack, context, kind, address)
        back.send(b"ready")
        total = 0
        for number in range(frames):
            total += take()
            back.send(msgspec.msgpack.encode((number + 1, total)))


def _taker(
    stack: ExitStack, context: zmq.Context[zmq.Socket[bytes]], kind: str, address: str
) -> Callable[[], int]:
    if kind == "ours":
        receiver = stack.enter_context(FrameReceiver(context, address))

        def take_ours() -> int:
            got = receiver.next(TIMEOUT_MS / 1000)
            if got is None:
                raise Lost(f"no frame; dropped {dict(receiver.drops)}")
            value = sample(got.pixels)
            if not receiver.check(got):
                raise Lost("the frame was overwritten while it was read")
            return value

        return take_ours
    socket = stack.enter_context(context.socket(zmq.PULL))
    socket.setsockopt(zmq.RCVHWM, 2 * IN_FLIGHT)
    socket.connect(address)

    def take_zmq() -> int:
        if not socket.poll(TIMEOUT_MS):
            raise Lost("no frame")
        header, pixels = socket.recv_multipart(copy=False)
        _, shape, dtype = msgspec.msgpack.decode(
            header.buffer, type=tuple[int, tuple[int, int], str]
        )
        return sample(np.frombuffer(pixels.buffer, dtype).reshape(shape))

    return take_zmq


def main() -> None:
    """Entry point of the reading process."""
    parser = argparse.ArgumentParser(description="reading end of the hand-over benchmark")
    parser.add_argument("--kind", required=True, choices=("ours", "zmq"))
    parser.add_argument("--address", required=True)
    parser.add_argument("--back", required=True)
    parser.add_argument("--frames", type=int, required=True)
    options = parser.parse_args()
    _read(options.kind, options.address, options.back, options.frames)


if __name__ == "__main__":
    main()
