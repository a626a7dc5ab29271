"""Words ahead: each message once and in order, whatever becomes of the datagrams."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import Frame, FrameMeta, FrameReceiver, FrameRing, FrameSender
from drivers.ahead import HELLO, MOST_BYTES, QUIET_NS, AheadGuest, AheadHost, Turns

APART_S = QUIET_NS / 1e9 * 1.5


@given(st.lists(st.sampled_from(["on time", "lost", "late"]), max_size=30), st.data())
@settings(max_examples=100, deadline=None)
def test_each_message_once_and_in_order(words, data):
    """ZeroMQ brings all in order; the word of each may come before it, after it or never."""
    turns, taken, late = Turns(), [], []
    for number, word in enumerate(words, 1):
        if word == "on time" and turns.takes(number, ahead=True):
            taken.append(number)
        if turns.takes(number, ahead=False):
            taken.append(number)
        if word == "late":
            late.append(number)
        if late and data.draw(st.booleans()):
            assert not turns.takes(late.pop(0), ahead=True)
    assert taken == list(range(1, len(words) + 1))


def test_a_word_does_not_overtake_a_message_that_is_on_its_way():
    turns = Turns()
    assert turns.takes(1, ahead=False)
    assert not turns.takes(3, ahead=True)
    assert turns.takes(2, ahead=False)
    assert turns.takes(3, ahead=False)


def test_a_queue_that_was_full_leaves_a_gap_and_no_more():
    turns = Turns()
    assert [turns.takes(number, ahead=False) for number in (1, 5, 5)] == [True, True, False]
    assert turns.takes(6, ahead=True)


@pytest.fixture
def ends():
    context = zmq.Context()
    ring = FrameRing(budget_mb=1)
    with (
        FrameSender(context) as sender,
        FrameReceiver(context, sender.address, ahead=sender.ahead) as receiver,
    ):
        yield ring, sender, receiver
    ring.close()
    context.destroy(0)


def picture(seq: int) -> Frame:
    meta = FrameMeta(seq=seq, captured_ns=1, popped_ns=2, exposure_ms=10.0)
    return Frame(np.full((16, 24), seq, np.uint16), meta)


def first_frame(ring, sender, receiver) -> None:
    """Sent until somebody is connected, then taken."""
    frame = picture(0)
    ref = ring.write({"raw": frame.pixels})
    deadline = time.monotonic() + 5
    sender.announce(frame, ref, 1)
    while not sender.send(frame, ref, 1):
        assert time.monotonic() < deadline, "nobody connected"
        time.sleep(0.01)
        sender.announce(frame, ref, 1)
    assert receiver.next(5.0).meta.seq == 0
    time.sleep(APART_S)


def test_a_frame_is_heard_of_before_zeromq_has_it_and_once(ends):
    ring, sender, receiver = ends
    first_frame(*ends)
    frame = picture(1)
    ref = ring.write({"raw": frame.pixels})
    sender.announce(frame, ref, 2)
    got = receiver.next(5.0)
    assert (got.meta.seq, int(got.pixels[0, 0]), got.ring_ns) == (1, 1, 2)
    assert sender.send(frame, ref, 2)
    assert receiver.next(0.3) is None
    assert receiver.drops == {}


@pytest.mark.parametrize("how", ["next", "newest"])
def test_no_frame_twice_or_lost_with_and_without_words(ends, how):
    ring, sender, receiver = ends
    first_frame(*ends)
    seen = []
    for seq in range(1, 40):
        frame = picture(seq)
        ref = ring.write({"raw": frame.pixels})
        if seq % 3:
            sender.announce(frame, ref, 1)
        assert sender.send(frame, ref, 1)
        time.sleep(APART_S if seq % 2 else 0.0)
        if seq % 5 == 0:
            while (got := getattr(receiver, how)(0.05)) is not None:
                seen.append(got.meta.seq)
    while (got := getattr(receiver, how)(0.2)) is not None:
        seen.append(got.meta.seq)
    assert seen == sorted(set(seen))
    assert len(seen) + receiver.drops["passed_over"] == 39


def test_frames_that_come_fast_are_not_sent_twice(ends):
    ring, sender, _ = ends
    first_frame(*ends)
    frame = picture(1)
    ref = ring.write({"raw": frame.pixels})
    said = []
    sender._ahead.say = said.append
    for _ in range(20):
        sender.announce(frame, ref, 1)
    assert len(said) <= 1


def test_a_reader_that_starts_anew_is_found(ends):
    ring, sender, receiver = ends
    first_frame(*ends)
    receiver.close()
    context = zmq.Context()
    with FrameReceiver(context, sender.address, ahead=sender.ahead) as again:
        first_frame(ring, sender, again)
        frame = picture(7)
        sender.announce(frame, ring.write({"raw": frame.pixels}), 1)
        assert again.next(5.0).meta.seq == 7
    context.destroy(0)


def test_garbage_is_refused_and_strangers_are_not_heard(ends):
    ring, sender, receiver = ends
    first_frame(*ends)
    port = receiver._ahead.socket.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"a frame", ("127.0.0.1", port))
        assert receiver.next(0.2) is None
        assert receiver.drops == {}
        sender._ahead.say(b"no frame")
        assert receiver.next(0.2) is None
        assert receiver.drops == {"refused": 1}
        stranger.sendto(b"not the word", ("127.0.0.1", sender.ahead))
        frame = picture(1)
        sender.announce(frame, ring.write({"raw": frame.pixels}), 1)
        assert receiver.next(5.0).meta.seq == 1


def test_where_the_system_allows_no_datagrams_zeromq_brings_the_news(monkeypatch):
    def refuse(*_):
        raise PermissionError("no")

    monkeypatch.setattr(socket, "socket", refuse)
    context, ring = zmq.Context(), FrameRing(budget_mb=1)
    with (
        FrameSender(context) as sender,
        FrameReceiver(context, sender.address, ahead=4) as receiver,
    ):
        assert sender.ahead == 0
        first_frame(ring, sender, receiver)
    ring.close()
    context.destroy(0)


def test_what_does_not_fit_or_has_no_reader_is_left_to_zeromq():
    host = AheadHost()
    assert not host.say(b"nobody is there")
    guest = AheadGuest(host.port)
    assert guest.say(HELLO)
    host.say(b"")
    assert host.say(bytes(MOST_BYTES))
    assert not host.say(bytes(MOST_BYTES + 1))
    assert not guest.say(bytes(MOST_BYTES + 1))
    guest.close()
    for _ in range(3):
        host.say(b"gone")
    host.close()
    assert not host.say(b"closed")
