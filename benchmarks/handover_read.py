"""The reading process of the hand-over benchmark: takes every frame, looks at it, confirms it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack

import msgspec
import numpy as np
import zmq

from benchmarks.handover_memcpy import sample
from drivers import FrameReceiver

IN_FLIGHT = 8
"""Unconfirmed frames that a sender may have under way."""
TIMEOUT_MS = 20_000


class Lost(Exception):
    """A contestant lost or tore a frame."""


def bounded_context(stack: ExitStack) -> zmq.Context[zmq.Socket[bytes]]:
    """Sockets of it end with the block, whatever they still hold."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    stack.callback(context.destroy, 0)
    return context


def _read(kind: str, address: str, back_address: str, frames: int) -> None:
    """Read ``frames`` frames and confirm each, in the reading process."""
    with ExitStack() as stack:
        context = bounded_context(stack)
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
