"""Frames over real sockets: round trips, refusals, drops that are counted, keys."""

from __future__ import annotations

import threading
import time

import msgspec
import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import FrameReceiver, FrameSender
from drivers.errors import SettingsError, WireError
from drivers.frame import Frame, FrameMeta
from drivers.ring import FrameRing, Plane, SlotRef
from drivers.security import ClientKeys, ServerKeys
from drivers.wire import (
    MAX_HEADER_BYTES,
    FrameMsg,
    decode_frame,
    encode_frame,
)

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
metas = st.builds(
    FrameMeta,
    seq=st.integers(0, 2**62),
    captured_ns=st.integers(0, 2**62),
    popped_ns=st.integers(0, 2**62),
    exposure_ms=finite,
    x_um=finite,
    y_um=finite,
    z_um=finite,
    channel=st.text(max_size=20),
    pixel_size_um=finite,
    epoch=st.integers(0, 100),
    index=st.dictionaries(st.sampled_from("tpcz"), st.integers(0, 10**6)),
    pos_name=st.text(max_size=20),
    decision=st.integers(-1, 10**6),
)
planes = st.builds(
    Plane,
    name=st.text(max_size=8),
    offset=st.integers(0, 2**40),
    height=st.integers(1, 9999),
    width=st.integers(1, 9999),
    dtype=st.sampled_from(["uint8", "uint16"]),
)
refs = st.builds(
    SlotRef,
    ring=st.text(max_size=30),
    size=st.integers(0, 2**40),
    depth=st.integers(1, 64),
    slot=st.integers(0, 63),
    generation=st.integers(0, 2**40),
    planes=st.tuples(planes),
)


@given(meta=metas, ref=refs, ring_ns=st.integers(0, 2**62))
@settings(max_examples=80, deadline=None)
def test_header_round_trip(meta, ref, ring_ns):
    message = FrameMsg(meta=meta, ref=ref, ring_ns=ring_ns)
    assert decode_frame(encode_frame(message)) == message


@given(st.binary(max_size=400))
@settings(max_examples=80, deadline=None)
def test_noise_is_refused_and_never_fatal(data):
    with pytest.raises(WireError):
        decode_frame(data)


def test_other_versions_and_giants_are_refused():
    meta = FrameMeta(seq=0, captured_ns=0, popped_ns=0, exposure_ms=1.0)
    plane = Plane("raw", 0, 1, 1, "uint8")
    with pytest.raises(WireError, match="version 9"):
        decode_frame(
            msgspec.msgpack.encode(FrameMsg(version=9, meta=meta, ring_ns=0, inline=plane))
        )
    with pytest.raises(WireError, match="not both"):
        decode_frame(msgspec.msgpack.encode(FrameMsg(meta=meta, ring_ns=0)))
    with pytest.raises(WireError, match="at most"):
        decode_frame(bytes(MAX_HEADER_BYTES + 1))


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(0)


def frame(seq: int = 0, value: int = 5) -> Frame:
    meta = FrameMeta(seq=seq, captured_ns=1, popped_ns=2, exposure_ms=10.0)
    return Frame(np.full((16, 24), value, np.uint16), meta)


def until_sent(sender: FrameSender, picture: Frame, ref: SlotRef | None) -> None:
    deadline = time.monotonic() + 5
    while not sender.send(picture, ref, 3):
        assert time.monotonic() < deadline, "nobody connected"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "inline", [pytest.param(False, id="ring"), pytest.param(True, id="inline")]
)
def test_the_same_interface_on_one_host_and_across(context, inline):
    ring = FrameRing(budget_mb=1)
    with (
        FrameSender(context, inline=inline) as sender,
        FrameReceiver(context, sender.address) as to,
    ):
        picture = frame(3, 77)
        ref = None if inline else ring.write({"raw": picture.pixels})
        until_sent(sender, picture, ref)
        got = to.next(5.0)
        assert got is not None
        np.testing.assert_array_equal(got.pixels, picture.pixels)
        assert got.meta == picture.meta
        assert to.check(got)
        del got
    ring.close()


def test_a_frame_that_is_told_of_before_it_is_copied_arrives_whole(context):
    ring = FrameRing(budget_mb=1)
    with FrameSender(context) as sender, FrameReceiver(context, sender.address) as receiver:
        claim = ring.claim({"raw": frame(1, 9).pixels})
        until_sent(sender, frame(1, 9), claim.ref)
        later = threading.Timer(0.1, claim.fill)
        later.start()
        got = receiver.next(5.0)
        later.join()
        assert got is not None
        assert (got.pixels == 9).all()
        assert receiver.check(got)
        del got, claim, later
        never = ring.claim({"raw": frame(2).pixels})
        assert sender.send(frame(2), never.ref, 3)
        assert receiver.next(1.0) is None
        assert receiver.drops["stale"] == 1
        del never
    ring.close()


def test_newest_passes_over_and_counts(context):
    ring = FrameRing(budget_mb=1, max_depth=8)
    with FrameSender(context) as sender, FrameReceiver(context, sender.address) as receiver:
        until_sent(sender, frame(0), ring.write({"raw": frame(0).pixels}))
        for seq in range(1, 5):
            assert sender.send(frame(seq), ring.write({"raw": frame(seq).pixels}), 3)
        time.sleep(0.2)
        got = receiver.newest(2.0)
        assert got is not None
        assert got.meta.seq == 4
        assert receiver.drops["passed_over"] == 4
        assert receiver.newest(0.05) is None
        del got
    ring.close()


def test_a_slow_reader_sees_stale_slots_counted(context):
    ring = FrameRing(budget_mb=1, min_depth=2, max_depth=2)
    with FrameSender(context) as sender, FrameReceiver(context, sender.address) as receiver:
        until_sent(sender, frame(0), ring.write({"raw": frame(0).pixels}))
        for seq in range(1, 5):
            sender.send(frame(seq), ring.write({"raw": frame(seq).pixels}), 3)
        time.sleep(0.2)
        seen = []
        while (got := receiver.next(0.2)) is not None:
            seen.append(got.meta.seq)
        assert seen == [3, 4]
        assert receiver.drops["stale"] == 3
        del got
    ring.close()


def test_nobody_reading_is_a_counted_drop(context):
    with FrameSender(context) as sender:
        assert not sender.send(frame(), None, 0)
        assert sender.drops["queue_full"] == 1


def test_malformed_messages_are_counted(context):
    with FrameSender(context) as sender, FrameReceiver(context, sender.address) as receiver:
        sender._socket.send(b"rubbish")
        assert receiver.next(1.0) is None
        assert receiver.drops["refused"] == 1


def test_frames_leave_the_machine_only_with_keys(context):
    with pytest.raises(SettingsError, match="CURVE"):
        FrameSender(context, "tcp://0.0.0.0:*", inline=True)


def test_an_occupied_port_is_one_sentence(context):
    with FrameSender(context) as first, pytest.raises(SettingsError, match="hold the port"):
        FrameSender(context, first.address)


def test_only_listed_clients_get_frames():
    server, friend, stranger = (zmq.curve_keypair() for _ in range(3))
    keys = ServerKeys(public=server[0], secret=server[1], clients=(friend[0],))
    context = zmq.Context()
    try:
        with (
            FrameSender(context, "tcp://127.0.0.1:*", inline=True, keys=keys) as sender,
            FrameReceiver(
                context, sender.address, keys=ClientKeys(stranger[0], stranger[1], server[0])
            ) as out,
        ):
            time.sleep(0.3)
            assert not sender.send(frame(), None, 0)
            assert out.next(0.2) is None
            with FrameReceiver(
                context, sender.address, keys=ClientKeys(friend[0], friend[1], server[0])
            ) as welcome:
                until_sent(sender, frame(8, 9), None)
                got = welcome.next(5.0)
                assert got is not None
                assert got.meta.seq == 8
                assert int(got.pixels[0, 0]) == 9
    finally:
        context.destroy(0)
