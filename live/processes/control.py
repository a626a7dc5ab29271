"""A child's end of the control socket."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Self

import msgspec
import zmq

from drivers import WireError
from drivers.ahead import Quiet, ahead_guest
from live.processes.children import AHEAD_VARIABLE, TOKEN_VARIABLE
from live.processes.messages import (
    MAX_BYTES,
    Beat,
    Hello,
    Message,
    decode,
    encode,
    sign_ahead,
)

SILENCE_ALLOWED_S = 5.0


class RigGone(Exception):
    """The rig process has not been heard for too long; a child then ends itself."""


class Control:
    """Talks to the rig process. One thread uses it.

    Parameters
    ----------
    context
        ZeroMQ context of this child.
    address
        The rig's control socket.
    role
        ``inference`` or ``display``.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str, role: str) -> None:
        self._role = role
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 500)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        self._socket.connect(address)
        self._heard = time.monotonic()
        self._last_beat = 0.0
        self._said = 0
        self.refused = 0
        token = os.environ.get(TOKEN_VARIABLE, "")
        port = int(os.environ.get(AHEAD_VARIABLE, "0"))
        self._quiet = Quiet()
        self._ahead = ahead_guest(port)
        self._sign = sign_ahead(token, role)
        self.send(Hello(role=role, pid=os.getpid(), token=token))

    def __enter__(self) -> Self:
        """Return the connection."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the socket, giving the last words half a second."""
        self._socket.close()
        if self._ahead is not None:
            self._ahead.close()

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """For a poller."""
        return self._socket

    def send(self, message: Message, *, ahead: bool = False) -> bool:
        """Say something; False when the rig does not take it.

        What a decision waits for is said ``ahead`` as well, see `drivers.ahead`.
        """
        self._said += 1
        data = encode(msgspec.structs.replace(message, number=self._said))
        if ahead and self._ahead is not None and self._quiet.since_the_last():
            self._ahead.say(self._sign + data)
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def receive(self, timeout_s: float) -> Message | None:
        """Next message other than a heartbeat, or None; raises ``RigGone`` on long silence."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = max(0.0, deadline - time.monotonic())
            if self._socket.poll(int(left * 1000)):
                self._heard = time.monotonic()
                try:
                    message = decode(self._socket.recv())
                except WireError:
                    self.refused += 1
                    continue
                if not isinstance(message, Beat):
                    return message
            elif time.monotonic() - self._heard > SILENCE_ALLOWED_S:
                raise RigGone(f"nothing heard from the rig for {SILENCE_ALLOWED_S:.0f} s")
            if time.monotonic() >= deadline:
                return None

    def beat(self, drops: dict[str, int], rate_hz: float, interval_s: float = 0.5) -> None:
        """Say that we live and what we lost, if the last time is ``interval_s`` ago."""
        now = time.monotonic()
        if now - self._last_beat >= interval_s:
            self._last_beat = now
            self.send(Beat(role=self._role, drops=drops, rate_hz=rate_hz))
