"""The reading process of the acquisition benchmark: takes every frame, proves it, times them.

Of each frame one pixel of every cache line is read and summed. The demo camera's fast image is
always the same, so one sum that differs is a torn frame; a serial number that does not follow its
predecessor is a lost one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from drivers import FrameReceiver

TIMEOUT_S = 30.0
QUEUE = 32
CONFIRM_EVERY = 8


class Found(msgspec.Struct, frozen=True):
    """What the reader found: ``timed`` frames in ``seconds``, after those that were skipped."""

    timed: int
    seconds: float
    problem: str = ""


class Lost(Exception):
    """A contestant lost or tore a frame."""


def sample(pixels: NDArray[Any]) -> int:
    """Sum of one pixel in each cache line of 64 bytes."""
    return int(pixels[:, :: 64 // pixels.itemsize].sum(dtype=np.int64))


def read(
    take: Callable[[], tuple[int, int]], frames: int, skip: int, confirm: Callable[[int], None]
) -> Found:
    """Take ``frames`` frames and compare their serial numbers and sums."""
    wanted: int | None = None
    began = 0.0
    for number in range(frames):
        serial, found = take()
        if serial != number:
            return Found(number, 0.0, f"frame {serial} came after frame {number - 1}")
        wanted = found if wanted is None else wanted
        if found != wanted:
            return Found(number, 0.0, f"frame {serial} adds up to {found} instead of {wanted}")
        if number == skip:
            began = time.perf_counter()
        if (number + 1) % CONFIRM_EVERY == 0:
            confirm(number)
    return Found(frames - 1 - skip, time.perf_counter() - began)


def taker_of_ours(receiver: FrameReceiver) -> Callable[[], tuple[int, int]]:
    """Frames of the ring: a view of the slot, proved whole after it was read."""

    def take() -> tuple[int, int]:
        got = receiver.next(TIMEOUT_S)
        if got is None:
            raise Lost(f"no frame in {TIMEOUT_S:g} s; dropped {dict(receiver.drops)}")
        found = sample(got.pixels)
        if not receiver.check(got):
            raise Lost(f"frame {got.meta.seq} was overwritten while it was read")
        return got.meta.seq, found

    return take


def taker_of_zmq(socket: zmq.Socket[bytes]) -> Callable[[], tuple[int, int]]:
    """Frames of a multipart message: serial number and shape, then the pixels, not copied."""

    def take() -> tuple[int, int]:
        if not socket.poll(int(TIMEOUT_S * 1000)):
            raise Lost(f"no frame in {TIMEOUT_S:g} s")
        header, pixels = socket.recv_multipart(copy=False)
        serial, shape, dtype = msgspec.msgpack.decode(
            header.buffer, type=tuple[int, tuple[int, int], str]
        )
        return serial, sample(np.frombuffer(pixels.buffer, dtype).reshape(shape))

    return take


def main() -> None:
    """Entry point of the reading process."""
    parser = argparse.ArgumentParser(description="reading end of the acquisition benchmark")
    parser.add_argument("--ours", action="store_true")
    parser.add_argument("--address", required=True)
    parser.add_argument("--back", required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--skip", type=int, required=True)
    options = parser.parse_args()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    back = context.socket(zmq.PUSH)
    back.setsockopt(zmq.LINGER, 2000)
    back.connect(options.back)

    def confirm(number: int) -> None:
        back.send(msgspec.msgpack.encode(number))

    try:
        if options.ours:
            receiver = FrameReceiver(context, options.address)
            take = taker_of_ours(receiver)
        else:
            socket = context.socket(zmq.PULL)
            socket.setsockopt(zmq.RCVHWM, QUEUE)
            socket.connect(options.address)
            take = taker_of_zmq(socket)
        confirm(-1)
        try:
            found = read(take, options.frames, options.skip, confirm)
        except Lost as error:
            found = Found(-1, 0.0, str(error))
        back.send(msgspec.msgpack.encode(found))
    finally:
        context.destroy(2000)


if __name__ == "__main__":
    main()
