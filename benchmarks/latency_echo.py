"""The bare round trip that the program is held against: one frame there, one byte back, by pyzmq.

``python -m benchmarks.latency_echo ADDRESS`` is the other process.
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import zmq
from numpy.typing import NDArray

TIMEOUT_MS = 10_000


def ping(size: int, count: int, interval_s: float) -> NDArray[np.float64]:
    """(count,) round trips in ms of a uint16 frame of ``size`` squared, one each ``interval_s``.

    Raises
    ------
    RuntimeError
        When the other process does not answer.
    """
    pixels = np.zeros((size, size), np.uint16)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PAIR)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    command = [sys.executable, "-m", "benchmarks.latency_echo", f"tcp://127.0.0.1:{port}"]
    other = subprocess.Popen(command)
    took = []
    try:
        for number in range(count + 5):
            began = time.perf_counter()
            socket.send(pixels.data, copy=False)
            if not socket.poll(TIMEOUT_MS):
                raise RuntimeError("the echo process does not answer")
            socket.recv()
            if number >= 5:
                took.append((time.perf_counter() - began) * 1e3)
            time.sleep(max(0.0, interval_s - (time.perf_counter() - began)))
        socket.send(b"")
        other.wait(10.0)
    finally:
        if other.poll() is None:
            other.kill()
            other.wait(10.0)
        context.destroy(linger=0)
    return np.array(took)


def main(address: str) -> int:
    """Answer each frame with one byte, until an empty message comes."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PAIR)
    socket.connect(address)
    while socket.poll(TIMEOUT_MS):
        message = socket.recv(copy=False)
        if not len(message.buffer):
            break
        pixels = np.frombuffer(message.buffer, np.uint16)
        socket.send(bytes([int(pixels[::32].max()) & 1]))
    context.destroy(linger=0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
