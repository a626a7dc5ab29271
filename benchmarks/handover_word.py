"""How long the word of a frame takes to another process that has slept: ZeroMQ, and a word ahead.

Frames come 45 ms apart, as from a camera that exposes for long, so every thread on the way sleeps
in between. ``python -m benchmarks.handover_word ADDRESS AHEAD BACK`` is the other process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

import msgspec
import numpy as np
import zmq

from drivers import Frame, FrameMeta, FrameReceiver, FrameRing, FrameSender

APART_S = 0.045
WARM_UP = 5
TIMEOUT_S = 20.0


def time_word(count: int, *, ahead: bool) -> float:
    """Median time from the sender's first step to the reader, ms."""
    with ExitStack() as stack:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stack.callback(context.destroy, 0)
        ring = FrameRing(budget_mb=1)
        stack.callback(ring.close)
        sender = stack.enter_context(FrameSender(context))
        back = stack.enter_context(context.socket(zmq.PULL))
        port = back.bind_to_random_port("tcp://127.0.0.1")
        command = [
            sys.executable, "-m", "benchmarks.handover_word", sender.address,
            str(sender.ahead if ahead else 0), f"tcp://127.0.0.1:{port}",
        ]  # fmt: skip
        reader = subprocess.Popen(command)
        stack.callback(reader.wait, 5.0)
        stack.callback(reader.kill)
        _said(back)
        took_ms = []
        for number in range(WARM_UP + count):
            time.sleep(APART_S)
            meta = FrameMeta(seq=number, captured_ns=0, popped_ns=0, exposure_ms=1.0)
            frame = Frame(np.zeros((32, 32), np.uint16), meta)
            ref = ring.write({"raw": frame.pixels})
            began_ns = time.monotonic_ns()
            if ahead:
                sender.announce(frame, ref, began_ns)
            sender.send(frame, ref, began_ns)
            took_ms.append((_said(back) - began_ns) / 1e6)
        return float(np.median(took_ms[WARM_UP:]))


def row(count: int) -> dict[str, Any]:
    """Row of the benchmark's table."""
    ours, theirs = time_word(count, ahead=True), time_word(count, ahead=False)
    return {
        "bench": "handover",
        "case": f"word of a frame to a reader that slept, median of {count}",
        "ours": "word ahead, ZeroMQ behind it",
        "peer": "ZeroMQ alone",
        "value_ours": ours,
        "value_peer": theirs,
        "unit": "ms",
        "ratio": theirs / ours,
    }


def _said(back: zmq.Socket[bytes]) -> int:
    if not back.poll(int(TIMEOUT_S * 1000)):
        raise RuntimeError(f"the other process said nothing for {TIMEOUT_S:.0f} s")
    return msgspec.msgpack.decode(back.recv(), type=int)


def main(address: str, ahead: str, back_address: str) -> None:
    """Tell when each frame was heard of, until killed or nothing comes any more."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with FrameReceiver(context, address, ahead=int(ahead)) as receiver:
        back = context.socket(zmq.PUSH)
        back.connect(back_address)
        back.send(msgspec.msgpack.encode(0))
        while (frame := receiver.next(TIMEOUT_S)) is not None:
            back.send(msgspec.msgpack.encode(frame.received_ns))
    context.destroy(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
