"""A word ahead: the message that follows by ZeroMQ, sent before it as one datagram on this machine.

Between ZeroMQ's send and receive three more threads are woken in turn, which takes longer than all
else that is done to a word where the machine slept in between (``parfocal bench handover`` has a
row of it). A datagram may be lost, refused or come too late without harm, for the same message
always follows by ZeroMQ; `Turns` lets the first of the two pass, and only in order.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

QUIET_NS = 2_000_000
"""Of messages that follow each other faster no thread falls asleep, and none is sent twice."""
MOST_BYTES = 32_000
"""A datagram holds 65,507; larger messages take longer to copy than to announce."""
HELLO = b"parfocal reads here"
_LOOPBACK = "127.0.0.1"
_MOST_GUESTS = 8


class Turns:
    """Which of the messages that come by two ways is to be taken, each once and in order."""

    def __init__(self) -> None:
        self._next = 0

    def takes(self, number: int, *, ahead: bool) -> bool:
        """Whether message ``number`` is next; senders count from 1, and 0 is not counted.

        What ZeroMQ brings may leave numbers out, for a full queue drops; a word ahead may not, for
        what it leaves out can be on its way.
        """
        if number == 0:
            return not ahead
        taken = number == self._next if ahead else number >= self._next
        if taken:
            self._next = number + 1
        return taken


class _Datagrams:
    """What both ends have: a socket that never blocks."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)

    def hear(self) -> tuple[bytes, tuple[str, int]] | None:
        """Oldest datagram and where it is from, or None."""
        try:
            return self.socket.recvfrom(MOST_BYTES + 1)
        except OSError:  # nothing there, or Windows tells that nobody took the last one
            return None

    def close(self) -> None:
        """Close the socket. Safe to call twice."""
        self.socket.close()


def ahead_host() -> AheadHost | None:
    """A host, or None where the system allows none: then ZeroMQ brings the news."""
    try:
        return AheadHost()
    except OSError:
        return None


def ahead_guest(port: int) -> AheadGuest | None:
    """The guest of a host at ``port``; None where that is 0, or the system allows none."""
    if not port:
        return None
    try:
        return AheadGuest(port)
    except OSError:
        return None


class AheadHost(_Datagrams):
    """The end that waits at a port of its own, `port`; answers go to who said hello last."""

    def __init__(self) -> None:
        super().__init__()
        self.socket.bind((_LOOPBACK, 0))
        self.port = int(self.socket.getsockname()[1])
        self._guest: tuple[str, int] | None = None

    def say(self, data: bytes) -> bool:
        """Send to the guest; False where none is known yet or it cannot be taken."""
        said = self._guest is not None and _sent(self.socket.sendto, data, self._guest)
        # looked for afterwards, for the word is in a hurry
        for _ in range(_MOST_GUESTS):
            heard = self.hear()
            if heard is None:
                break
            if heard[0] == HELLO:
                self._guest = heard[1]
        return said


class AheadGuest(_Datagrams):
    """The end that knows the host's port, and hears nobody else."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.socket.connect((_LOOPBACK, port))

    def say(self, data: bytes) -> bool:
        """Send to the host; False where it cannot be taken."""
        return _sent(self.socket.send, data)


class Quiet:
    """Whether messages come so far apart that a word ahead pays."""

    def __init__(self) -> None:
        self._last_ns = 0

    def since_the_last(self) -> bool:
        """True where the last call was more than ``QUIET_NS`` ago."""
        now = time.monotonic_ns()
        quiet = now - self._last_ns > QUIET_NS
        self._last_ns = now
        return quiet


def _sent(send: Callable[..., int], data: bytes, *to: object) -> bool:
    if len(data) > MOST_BYTES:
        return False
    try:
        send(data, *to)
    except OSError:
        return False
    return True
