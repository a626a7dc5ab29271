"""The run's ear for ``parfocal ctl``: one thread, one socket on this computer, one token."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from drivers import WireError
from drivers.wire import bind
from live.steering.messages import MAX_BYTES, Answer, Door, decode_request, encode, new_token

POLL_MS = 100


class CtlServer:
    """Answers commands in a ``with`` block; its file lies in the run folder meanwhile.

    Parameters
    ----------
    context
        ZeroMQ context of the rig process.
    folder
        Of the run.
    do
        Carries a command out: words, and by whom; called on the server's thread. It must not
        raise for what a person can get wrong.
    on_refused
        Called with a sentence when something came that was no command of ours.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        folder: Path,
        do: Callable[[tuple[str, ...], str], Answer],
        on_refused: Callable[[str], None],
    ) -> None:
        self._context = context
        self._folder = folder
        self._do = do
        self._on_refused = on_refused
        self._token = new_token()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self.refused = 0

    def __enter__(self) -> Self:
        """Bind a free port of the loopback and begin to listen."""
        socket = self._context.socket(zmq.REP)
        socket.setsockopt(zmq.LINGER, 200)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        # One that asks and goes away must not keep the socket from the next.
        socket.setsockopt(zmq.SNDTIMEO, 1000)
        try:
            address = bind(socket, "tcp://127.0.0.1:*")
            Door(address, self._token).write(self._folder)
        except BaseException:
            socket.close(0)
            raise
        self._thread = threading.Thread(target=self._work, args=(socket,), name="ctl", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and take the file away."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None
        Door.remove(self._folder)

    def _work(self, socket: zmq.Socket[bytes]) -> None:
        try:
            while not self._ending.is_set():
                if socket.poll(POLL_MS):
                    answer = self._answer(socket.recv())
                    try:
                        socket.send(encode(answer))
                    except zmq.ZMQError as error:
                        self._refuse(f"an answer could not be given: {error}")
        finally:
            socket.close()

    def _answer(self, data: bytes) -> Answer:
        try:
            request = decode_request(data)
        except WireError as error:
            return self._refuse(str(error))
        if not secrets.compare_digest(request.token.encode(), self._token.encode()):
            return self._refuse("a command came with a wrong token")
        try:
            return self._do(request.words, request.by)
        except Exception as error:
            # A fault of ours: the run goes on, and whoever asked is told.
            self._on_refused(f"command {' '.join(request.words)!r} broke: {error!r}")
            return Answer(ok=False, text=f"this is a fault of parfocal: {error!r}")

    def _refuse(self, sentence: str) -> Answer:
        self.refused += 1
        self._on_refused(f"ctl refused: {sentence}")
        return Answer(ok=False, text=sentence)
