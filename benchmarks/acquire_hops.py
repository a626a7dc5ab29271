"""What each hop of our own path costs a frame, one after the other in one process.

Each is compared with one copy of the same bytes: what a hop costs beyond that is overhead.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from typing import Any

import msgspec
import numpy as np
import zmq

from benchmarks.acquire_read import TIMEOUT_S, Lost, sample
from benchmarks.acquire_send import BUFFER_MB, startup
from drivers import FrameReceiver, FrameSender, open_rig
from drivers.frame import Frame
from drivers.micromanager import TEST_ADAPTERS
from drivers.ring import FrameRing
from drivers.settings import MicroManagerSettings
from live.ledger import Ledger

COPY = "copy"
WAIT = "wait for the message"
STEPS = (
    "rig.read (with the core's own copy)",
    "index of the event",
    "ring.write",
    "wire: send",
    "ledger.mark",
    COPY,
    WAIT,
    "wire: receive, look into the ring",
    "reader's own sums",
    "wire: prove it whole",
)


def hop_rows(size: int, *, quick: bool = False) -> list[dict[str, Any]]:
    """One row for each hop: median µs a frame, beside one copy of the pixels."""
    frames = 20 if quick else 80
    taken = {name: statistics.median(some) for name, some in _measured(size, frames).items()}
    copy_us = taken.pop(COPY)
    return [
        {
            "bench": "acquire",
            "case": f"hop at {size}x{size}: {name}",
            "ours": name,
            "peer": "one copy of the pixels",
            "value_ours": us,
            "value_peer": copy_us,
            "unit": "us a frame",
            "ratio": copy_us / us,
        }
        for name, us in taken.items()
    ]


def _measured(size: int, frames: int) -> dict[str, list[float]]:
    settings = MicroManagerSettings(
        driver="micromanager",
        config="demo",
        adapters=TEST_ADAPTERS,
        camera_buffer_mb=BUFFER_MB,
        startup=startup(size),
    )
    taken: dict[str, list[float]] = {}
    with ExitStack() as stack:
        rig = stack.enter_context(open_rig(settings))
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stack.callback(context.destroy, 0)
        ring = FrameRing()
        stack.callback(ring.close)
        sender = stack.enter_context(FrameSender(context))
        receiver = stack.enter_context(FrameReceiver(context, sender.address))
        receiver.wait_with(poller := zmq.Poller())
        ledger = Ledger()
        rig.start_sequence(frames)
        _fill(rig.core, frames)  # type: ignore[attr-defined]
        elsewhere = np.empty((size, size), np.uint16)
        for number in range(frames):
            at = [time.perf_counter_ns()]
            frame = rig.read(TIMEOUT_S)
            at.append(time.perf_counter_ns())
            meta = msgspec.structs.replace(frame.meta, index={"t": number})
            frame = Frame(frame.pixels, meta)
            at.append(time.perf_counter_ns())
            ref = ring.write({"raw": frame.pixels})
            ring_ns = time.monotonic_ns()
            at.append(time.perf_counter_ns())
            sender.send(frame, ref, ring_ns)
            at.append(time.perf_counter_ns())
            ledger.mark(meta.seq, captured=meta.captured_ns, popped=meta.popped_ns, in_ring=ring_ns)
            at.append(time.perf_counter_ns())
            np.copyto(elsewhere, frame.pixels)
            at.append(time.perf_counter_ns())
            poller.poll(int(TIMEOUT_S * 1000))
            at.append(time.perf_counter_ns())
            got = receiver.next(TIMEOUT_S)
            if got is None:
                raise Lost("a frame did not arrive")
            at.append(time.perf_counter_ns())
            sample(got.pixels)
            at.append(time.perf_counter_ns())
            receiver.check(got)
            at.append(time.perf_counter_ns())
            for name, began, ended in zip(STEPS, at, at[1:], strict=False):
                taken.setdefault(name, []).append((ended - began) / 1e3)
        rig.stop()
    del taken[WAIT]
    return taken


def _fill(core: Any, frames: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while core.getRemainingImageCount() < frames:
        if time.monotonic() > deadline:
            raise Lost("the camera did not fill its buffer")
        time.sleep(0.01)
