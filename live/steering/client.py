"""The other end: send one command to a run and wait for its answer."""

from __future__ import annotations

from pathlib import Path

import zmq

from drivers.errors import WireError
from live.errors import UsageError
from live.steering.messages import Answer, Door, Request, decode_answer, encode

TIMEOUT_S = 5.0


def ask(folder: Path, words: tuple[str, ...], *, timeout_s: float = TIMEOUT_S) -> Answer:
    """Tell the run in ``folder`` a command.

    Raises
    ------
    UsageError
        When there is no such run, or it does not answer within ``timeout_s`` seconds.
    """
    door = Door.read(folder)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.REQ)
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(door.address)
        socket.send(encode(Request(token=door.token, words=words)))
        if not socket.poll(int(timeout_s * 1000)):
            raise UsageError(
                f"the run in {folder} does not answer within {timeout_s:g} s: it has ended "
                "without taking its file away, or hangs"
            )
        return decode_answer(socket.recv())
    except (zmq.ZMQError, WireError) as error:
        raise UsageError(f"the run in {folder} cannot be reached: {error}") from error
    finally:
        socket.close()
        context.term()
