"""Frames between processes: a ZeroMQ descriptor beside the ring, or the pixels inline across hosts.

``FrameSender`` binds, ``FrameReceiver`` connects; one pair serves one reader, so a slow reader
fills only its own queue. Both ends count what they lose. On one host the message is a claim on a
ring slot (about 200 bytes); to another host the same message carries the pixels, encrypted and
authenticated with CURVE, and the receiver's interface is the same.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from drivers.errors import FrameError, SettingsError, StaleSlot, WireError
from drivers.frame import Frame, FrameMeta
from drivers.ring import Plane, RingReader, SlotRef
from drivers.security import ClientKeys, Gatekeeper, ServerKeys

PROTOCOL = 1
MAX_HEADER_BYTES = 64 * 1024
MAX_MESSAGE_BYTES = 512 * 2**20
RAW = "raw"
FILLED_S = 0.5
"""A descriptor may come before the pixels that it names; they are there after so long, or lost."""


class FrameMsg(msgspec.Struct, frozen=True, kw_only=True, tag="frame"):
    """Header of one frame on the wire. Exactly one of ``ref`` and ``inline`` is set."""

    version: int = PROTOCOL
    meta: FrameMeta
    ring_ns: int
    """Monotonic time at which the slot was the frame's own (or its pixels ready to send)."""
    ref: SlotRef | None = None
    inline: Plane | None = None


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


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(FrameMsg)


def encode_frame(message: FrameMsg) -> bytes:
    """Header to bytes."""
    return _encoder.encode(message)


def decode_frame(data: bytes | memoryview) -> FrameMsg:
    """Bytes to header; ``WireError`` when it is malformed, oversized or of another version."""
    if len(data) > MAX_HEADER_BYTES:
        raise WireError(f"frame header of {len(data)} bytes, at most {MAX_HEADER_BYTES} are taken")
    try:
        message = _decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise WireError(f"frame header is malformed: {error}") from error
    if message.version != PROTOCOL:
        raise WireError(
            f"frame header of version {message.version}, this program speaks {PROTOCOL}"
        )
    if (message.ref is None) == (message.inline is None):
        raise WireError("frame header must name a ring slot or inline pixels, and not both")
    return message


class FrameSender:
    """The sending end for one reader. One thread uses it; nothing here blocks.

    Parameters
    ----------
    context
        ZeroMQ context of this process.
    address
        ``tcp://127.0.0.1:*`` takes a free port. Any other interface needs ``keys``.
    queue
        Messages that may wait for the reader before new ones are dropped and counted.
    inline
        Send the pixels themselves, for a reader on another host.
    keys
        CURVE keys; required unless the address is the loopback.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str = "tcp://127.0.0.1:*",
        *,
        queue: int = 64,
        inline: bool = False,
        keys: ServerKeys | None = None,
    ) -> None:
        self.inline = inline
        self.drops: Counter[str] = Counter()
        self._socket = context.socket(zmq.PUSH)
        self._gate: Gatekeeper | None = None
        self._socket.setsockopt(zmq.SNDHWM, queue)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            if keys is not None:
                self._gate = Gatekeeper(context, keys)
                self._gate.guard(self._socket)
            elif not is_loopback(address):
                raise SettingsError(
                    f"{address}: frames leave this machine only with CURVE keys; "
                    "set keys or use tcp://127.0.0.1"
                )
            self.address = bind(self._socket, address)
        except BaseException:
            self.close()
            raise

    def send(self, frame: Frame, ref: SlotRef | None, ring_ns: int) -> bool:
        """Announce a frame; False when the reader's queue is full or nobody reads (counted)."""
        try:
            if self.inline:
                height, width = frame.pixels.shape
                plane = Plane(RAW, 0, height, width, frame.pixels.dtype.name)
                header = encode_frame(FrameMsg(meta=frame.meta, ring_ns=ring_ns, inline=plane))
                self._socket.send(header, zmq.NOBLOCK | zmq.SNDMORE)
                self._socket.send(np.ascontiguousarray(frame.pixels).data, zmq.NOBLOCK, copy=False)
            else:
                header = encode_frame(FrameMsg(meta=frame.meta, ring_ns=ring_ns, ref=ref))
                self._socket.send(header, zmq.NOBLOCK)
        except zmq.Again:
            self.drops["queue_full"] += 1
            return False
        return True

    def close(self) -> None:
        """Close the socket; what waits is thrown away. Safe to call twice."""
        self._socket.close(0)
        if self._gate is not None:
            self._gate.close()

    def __enter__(self) -> Self:
        """Return the sender."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the socket."""
        self.close()


class FrameReceiver:
    """The reading end. One thread uses it.

    ``drops`` counts ``passed_over`` (newer frame taken), ``stale`` (overwritten in the ring before
    it was read), ``refused`` (malformed message).
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        *,
        queue: int = 64,
        keys: ClientKeys | None = None,
    ) -> None:
        self.drops: Counter[str] = Counter()
        self._ring = RingReader()
        self._socket = context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.RCVHWM, queue)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        if keys is not None:
            keys.secure(self._socket)
        self._socket.connect(address)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """For a poller that waits on several sockets."""
        return self._socket

    def next(self, timeout_s: float) -> Received | None:
        """Oldest unread frame, or None after ``timeout_s``. Unusable messages are counted."""
        deadline = time.monotonic() + timeout_s
        while True:
            parts = self._parts(max(0.0, deadline - time.monotonic()))
            if parts is None:
                return None
            received = self._open(parts)
            if received is not None:
                return received

    def newest(self, timeout_s: float) -> Received | None:
        """Newest frame, or None after ``timeout_s``; frames passed over are counted."""
        deadline = time.monotonic() + timeout_s
        while True:
            parts = self._parts(max(0.0, deadline - time.monotonic()))
            if parts is None:
                return None
            while (newer := self._parts(0.0)) is not None:
                parts = newer
                self.drops["passed_over"] += 1
            received = self._open(parts)
            if received is not None:
                return received

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
        """Close the socket and let go of the ring. Safe to call twice."""
        self._socket.close(0)
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

    def _parts(self, timeout_s: float) -> list[zmq.Frame] | None:
        # Asking the system whether there is one is dearer than taking it.
        for wait_s in (0.0, timeout_s):
            if wait_s > 0 and not self._socket.poll(int(wait_s * 1000)):
                return None
            try:
                return self._take()
            except zmq.Again:
                continue
        return None

    def _take(self) -> list[zmq.Frame]:
        parts = [self._socket.recv(zmq.NOBLOCK, copy=False)]
        while parts[-1].more:
            parts.append(self._socket.recv(copy=False))
        return parts

    def _open(self, parts: list[zmq.Frame]) -> Received | None:
        now = time.monotonic_ns()
        try:
            message = decode_frame(parts[0].buffer)
            if message.ref is not None:
                pixels = self._ring.view(message.ref, FILLED_S)[RAW]
            else:
                pixels = _inline_pixels(message, parts)
            Frame(pixels, message.meta)
        except StaleSlot:
            self.drops["stale"] += 1
            return None
        except (WireError, FrameError, KeyError):
            self.drops["refused"] += 1
            return None
        return Received(pixels, message.meta, message.ring_ns, now, message.ref)


def is_loopback(address: str) -> bool:
    """True for addresses that only this machine can reach."""
    return address.startswith(("tcp://127.", "tcp://localhost", "tcp://[::1]", "inproc://"))


def bind(socket: zmq.Socket[bytes], address: str) -> str:
    """Bind and return the address with the port taken; an occupied one is a ``SettingsError``."""
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        raise SettingsError(
            f"{address}: cannot listen there ({error.strerror}); another program may hold the "
            "port: end it, choose another, or use port * for any free one"
        ) from error
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


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
