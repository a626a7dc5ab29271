"""Probe: from the camera's process into the ring, and over the wire to a second real process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import zmq

from drivers import Frame, FrameMeta, FrameReceiver, FrameRing, FrameSender, WireError
from live.doctor.samples import read_sample
from live.doctor.timing import Timing, Watch

TIMEOUT_MS = 15_000
WARM_UP = 5


def time_handover(*, sample: str, seconds: float) -> dict[str, Any]:
    """Time the write into the ring, and until the other process has a copy and says so."""
    frames = read_sample(sample)
    with ExitStack() as stack:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stack.callback(context.destroy, 0)
        ring = FrameRing(max(256.0, 6 * frames[0].nbytes / 2**20))
        stack.callback(ring.close)
        sender = stack.enter_context(FrameSender(context))
        back = stack.enter_context(context.socket(zmq.PULL))
        back.bind("tcp://127.0.0.1:*")
        address = back.getsockopt_string(zmq.LAST_ENDPOINT)
        work = stack.enter_context(TemporaryDirectory())
        question = json.dumps({"frames": sender.address, "back": address})
        answer = Path(work) / "answer.json"
        reader = subprocess.Popen(
            [sys.executable, "-m", "live.doctor.probe", "reader", question, str(answer)]
        )
        stack.callback(_end, reader)
        _said(back)
        write_ms: list[float] = []
        watch, number = Watch(), 0
        while number < WARM_UP + 3 or (watch.elapsed_s < seconds and number < 2000):
            if number == WARM_UP:
                watch = Watch()
                write_ms.clear()
            pixels = frames[number % len(frames)]
            start = time.perf_counter()
            ref = ring.write({"raw": pixels})
            write_ms.append((time.perf_counter() - start) * 1e3)
            now = time.monotonic_ns()
            meta = FrameMeta(seq=number, captured_ns=now, popped_ns=now, exposure_ms=1.0)
            if not sender.send(Frame(pixels, meta), ref, now):
                raise WireError(f"frame {number} was not taken by the other process")
            if _said(back) != number:
                raise WireError(f"the other process did not confirm frame {number}")
            watch.lap()
            number += 1
        there = watch.timing()
    ring_time = Timing.of(write_ms, float(np.mean(write_ms)))
    return {"ring": ring_time.to_json(), "wire": there.to_json()}


def read_frames(*, frames: str, back: str) -> dict[str, Any]:
    """The other process: copies each frame, proves it whole, says its number. Until killed."""
    with ExitStack() as stack:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stack.callback(context.destroy, 0)
        receiver = stack.enter_context(FrameReceiver(context, frames))
        answers = stack.enter_context(context.socket(zmq.PUSH))
        answers.connect(back)
        answers.send(b"-1")
        while (received := receiver.next(TIMEOUT_MS / 1e3)) is not None:
            np.array(received.pixels)
            if not receiver.check(received):
                raise WireError("the frame was overwritten while it was read")
            answers.send(str(received.meta.seq).encode())
    return {}


def _said(back: zmq.Socket[bytes]) -> int:
    if not back.poll(TIMEOUT_MS):
        raise WireError(f"the other process said nothing for {TIMEOUT_MS / 1e3:.0f} s")
    return int(back.recv())


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(5)
