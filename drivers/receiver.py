"""The reading end of a frame stream: the frames in turn, each once, whole or counted."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import zmq
from numpy.typing import NDArray

from drivers.ahead import HELLO, Turns, ahead_guest
from drivers.errors import FrameError, StaleSlot, WireError
from drivers.frame import Frame, FrameMeta
from drivers.ring import FILLED_S, RingReader, SlotRef
from drivers.security import ClientKeys
from drivers.wire import MAX_MESSAGE_BYTES, RAW, FrameMsg, decode_frame, encode_frame


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """A frame as a reader gets it.

    ``pixels`` looks into the ring (read-only) when ``ref`` is set: call ``FrameReceiver.check``
    after use, before any result of it is believed.
    """

    pixels: NDArray[Any]
    meta: FrameMeta
    ring_ns: int
    received_ns: int
    ref: SlotRef | None


class FrameReceiver:
    """The reading end. One thread uses it.

    ``drops`` counts ``passed_over`` (newer frame taken), ``stale`` (overwritten in the ring before
    it was read), ``refused`` (malformed message).

    Parameters
    ----------
    context
        ZeroMQ context of this process.
    address
        The sender's.
    queue
        Messages that may wait here.
    keys
        CURVE keys, where the sender has them.
    ahead
        The sender's port for words ahead, for a reader that is in a hurry; 0 asks for none.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        *,
        queue: int = 64,
        keys: ClientKeys | None = None,
        ahead: int = 0,
    ) -> None:
        self.drops: Counter[str] = Counter()
        self._ring = RingReader()
        self._turns = Turns()
        self._newest: FrameMsg | None = None
        self._socket = context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.RCVHWM, queue)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        if keys is not None:
            keys.secure(self._socket)
        self._socket.connect(address)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._ahead = ahead_guest(ahead)
        if self._ahead is not None:
            self._ahead.say(HELLO)
            self._poller.register(self._ahead.socket, zmq.POLLIN)

    def wait_with(self, poller: zmq.Poller) -> None:
        """Let a poller that waits on several sockets wait for frames as well."""
        poller.register(self._socket, zmq.POLLIN)
        if self._ahead is not None:
            poller.register(self._ahead.socket, zmq.POLLIN)

    def next(self, timeout_s: float) -> Received | None:
        """Oldest unread frame, or None after ``timeout_s``. Unusable messages are counted."""
        deadline = time.monotonic() + timeout_s
        while True:
            heard = self._hear(max(0.0, deadline - time.monotonic()))
            if heard is None:
                return None
            received = self._open(heard)
            if received is not None:
                return received

    def newest(self, timeout_s: float) -> Received | None:
        """Newest frame, or None after ``timeout_s``; frames passed over are counted."""
        deadline = time.monotonic() + timeout_s
        while True:
            heard = self._hear(max(0.0, deadline - time.monotonic()))
            if heard is None:
                return None
            while (newer := self._hear(0.0)) is not None:
                heard = newer
                self.drops["passed_over"] += 1
            received = self._open(heard)
            if received is not None:
                return received

    def rehearse(self) -> None:
        """Go through the motions with the newest message, as if its frame had come just now.

        What waited for a frame for long has lost its code and tables from the processor's caches,
        and then takes several times as long over it.
        """
        if self._newest is None or self._newest.ref is None:
            return
        message = decode_frame(encode_frame(self._newest))
        if message.ref is not None:
            with contextlib.suppress(StaleSlot, WireError):
                self._ring.view(message.ref)
                self._ring.check(message.ref)

    def check(self, received: Received) -> bool:
        """True when what was read from the ring is whole; else it is counted as stale."""
        if received.ref is None:
            return True
        try:
            self._ring.check(received.ref)
        except StaleSlot:
            self.drops["stale"] += 1
            return False
        return True

    def close(self) -> None:
        """Close the sockets and let go of the ring. Safe to call twice."""
        self._socket.close(0)
        if self._ahead is not None:
            self._ahead.close()
        self._ring.close()

    def __enter__(self) -> Self:
        """Return the receiver."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the socket."""
        self.close()

    def _hear(self, timeout_s: float) -> _Heard | None:
        """Next message in turn that can be read; what came ahead is not taken twice."""
        deadline = time.monotonic() + timeout_s
        while True:
            # Asking the system whether there is one is dearer than taking it.
            heard = self._hear_ahead() or self._hear_socket()
            if heard is not None:
                return heard
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._poller.poll(int(left_s * 1000)):
                return None

    def _hear_ahead(self) -> _Heard | None:
        while self._ahead is not None and (word := self._ahead.hear()) is not None:
            now, message = time.monotonic_ns(), self._decode(word[0])
            if message is not None and self._turns.takes(message.number, ahead=True):
                return _Heard(message, [], now)
        return None

    def _hear_socket(self) -> _Heard | None:
        while True:
            try:
                parts = [self._socket.recv(zmq.NOBLOCK, copy=False)]
            except zmq.Again:
                return None
            while parts[-1].more:
                parts.append(self._socket.recv(copy=False))
            now, message = time.monotonic_ns(), self._decode(parts[0].buffer)
            if message is not None and self._turns.takes(message.number, ahead=False):
                return _Heard(message, parts, now)

    def _decode(self, data: bytes | memoryview) -> FrameMsg | None:
        try:
            return decode_frame(data)
        except WireError:
            self.drops["refused"] += 1
            return None

    def _open(self, heard: _Heard) -> Received | None:
        message = self._newest = heard.message
        try:
            if message.ref is not None:
                pixels = self._ring.view(message.ref, FILLED_S)[RAW]
            else:
                pixels = _inline_pixels(message, heard.parts)
            Frame(pixels, message.meta)
        except StaleSlot:
            self.drops["stale"] += 1
            return None
        except (WireError, FrameError, KeyError):
            self.drops["refused"] += 1
            return None
        return Received(pixels, message.meta, message.ring_ns, heard.heard_ns, message.ref)


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    message: FrameMsg
    parts: list[zmq.Frame]
    """As ZeroMQ brought them; none of a word ahead."""
    heard_ns: int


def _inline_pixels(message: FrameMsg, parts: list[zmq.Frame]) -> NDArray[Any]:
    plane = message.inline
    if plane is None or len(parts) != 2:
        raise WireError(f"inline frame of {len(parts)} parts, need header and pixels")
    if plane.dtype not in ("uint8", "uint16") or plane.height < 1 or plane.width < 1:
        raise WireError(f"inline pixels of {plane.dtype} {plane.height} x {plane.width}")
    data = parts[1].buffer
    if data.nbytes != plane.nbytes:
        raise WireError(f"inline pixels: got {data.nbytes} bytes, need {plane.nbytes}")
    return np.frombuffer(data, plane.dtype).reshape(plane.height, plane.width)
