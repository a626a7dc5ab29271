"""Frames between processes: a ZeroMQ descriptor beside the ring, or the pixels inline across hosts.

``FrameSender`` binds, a `drivers.receiver.FrameReceiver` connects; one pair serves one reader, so
a slow reader fills only its own queue. Both ends count what they lose. On one host the message is
a claim on a ring slot (about 200 bytes), and where a decision waits for it a word goes ahead, see
`drivers.ahead`; to another host the same message carries the pixels, encrypted and authenticated
with CURVE, and the receiver's interface is the same.
"""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Self

import msgspec
import numpy as np
import zmq

from drivers.ahead import AheadHost, Quiet, ahead_host
from drivers.errors import SettingsError, WireError
from drivers.frame import Frame, FrameMeta
from drivers.ring import Plane, SlotRef
from drivers.security import Gatekeeper, ServerKeys

PROTOCOL = 1
MAX_HEADER_BYTES = 64 * 1024
MAX_MESSAGE_BYTES = 512 * 2**20
RAW = "raw"


class FrameMsg(msgspec.Struct, frozen=True, kw_only=True, tag="frame"):
    """Header of one frame on the wire. Exactly one of ``ref`` and ``inline`` is set."""

    version: int = PROTOCOL
    meta: FrameMeta
    ring_ns: int
    """Monotonic time at which the slot was the frame's own (or its pixels ready to send)."""
    ref: SlotRef | None = None
    inline: Plane | None = None
    number: int = 0
    """Count of the frames that were sent to this reader, from 1."""


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
        self._sent = 0
        self._quiet = Quiet()
        self._ahead: AheadHost | None = None
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
            if not inline and is_loopback(address):
                self._ahead = ahead_host()
        except BaseException:
            self.close()
            raise

    @property
    def ahead(self) -> int:
        """Port at which a reader on this machine asks for words ahead; 0 where none go."""
        return self._ahead.port if self._ahead else 0

    def announce(self, frame: Frame, ref: SlotRef, ring_ns: int) -> None:
        """Tell a reader that waits of the frame that `send` is called with next."""
        if self._ahead is not None and self._quiet.since_the_last():
            self._ahead.say(self._header(frame, ref, ring_ns))

    def _header(self, frame: Frame, ref: SlotRef | None, ring_ns: int) -> bytes:
        number = self._sent + 1
        return encode_frame(FrameMsg(meta=frame.meta, ring_ns=ring_ns, ref=ref, number=number))

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
                self._socket.send(self._header(frame, ref, ring_ns), zmq.NOBLOCK)
        except zmq.Again:
            self.drops["queue_full"] += 1
            return False
        finally:
            self._sent += 1
        return True

    def close(self) -> None:
        """Close the socket; what waits is thrown away. Safe to call twice."""
        self._socket.close(0)
        if self._ahead is not None:
            self._ahead.close()
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
