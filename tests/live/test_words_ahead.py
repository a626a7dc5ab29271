"""What a child says ahead: heard at once, once, in order, and from nobody else."""

from __future__ import annotations

import socket
import time

import pytest
import zmq

from live.processes.children import ChildSpec
from live.processes.messages import Fault, Stop, encode, sign_ahead
from live.processes.supervisor import Supervisor


@pytest.fixture
def supervised(tmp_path):
    """A supervisor of one hasty child, and what it was told."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    told = []

    def heard(role, message):
        if isinstance(message, Fault):
            told.append(message.sentence)
            if message.sentence == "2":
                supervisor.send(role, Stop(reason="heard"))

    spec = ChildSpec("hasty", "tests.live.hasty_child", lambda: Stop(reason="go"), restart=False)
    supervisor = Supervisor(
        context, [spec], on_message=heard, on_tick=lambda: None, on_event=lambda text: None,
        on_restart=lambda role, text: None, logs=tmp_path,
    )  # fmt: skip
    with supervisor:
        yield supervisor, told
    context.destroy(0)


def until(true, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_words_ahead_are_heard_once_and_in_order(supervised):
    _, told = supervised
    # the first is said by ZeroMQ only when the word ahead has been answered
    until(lambda: told[-1:] == ["59"])
    assert told == [str(number) for number in range(2, 60)]


def test_a_stranger_is_refused(supervised):
    supervisor, told = supervised
    until(lambda: told[-1:] == ["59"])
    word = encode(Fault(role="hasty", sentence="boo", number=60))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for data in (b"", word, sign_ahead("guessed", "hasty") + word):
            stranger.sendto(data, ("127.0.0.1", supervisor._ahead.port))
    until(lambda: supervisor.drops["control_refused"] == 3, 5.0)
    assert told[-1] == "59"
