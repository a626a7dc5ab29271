"""A child process that says some things ahead: what comes first, what is said twice, what is not.

It stands in for inference where only the way of its words is looked at.
"""

from __future__ import annotations

import argparse
import time

import zmq

from live.processes.control import Control
from live.processes.messages import Fault, Stop, encode

ROLE = "hasty"


def main() -> int:
    """Say 2 by a datagram alone; once it is answered the same by ZeroMQ; then many both ways."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", required=True)
    address = parser.parse_args().control
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with Control(context, address, ROLE) as control:
        started = control.receive(20.0)
        if not isinstance(started, Stop):
            return 1
        word = Fault(role=ROLE, sentence="2", number=2)
        control._ahead.say(control._sign + encode(word))
        if not isinstance(control.receive(20.0), Stop):
            return 2
        for number in range(2, 60):
            control.send(Fault(role=ROLE, sentence=str(number)), ahead=number % 3 > 0)
            if number % 2:
                time.sleep(0.004)
        control.receive(20.0)
    context.destroy(linger=500)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
