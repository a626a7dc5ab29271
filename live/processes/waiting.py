"""What a run waits for before its first frame and after its last; never for long."""

from __future__ import annotations

import threading
import time

from live.acquire import Acquisition
from live.decider import Decider
from live.plan.plan import Plan
from live.processes.supervisor import Supervisor

WARM_UP_TIMEOUT_S = 180.0
LAST_ANSWERS_S = 5.0


def wait_warm(supervisor: Supervisor, stop: threading.Event) -> bool:
    """Wait until inference is ready; False when it cannot be, or the run is ended first."""
    deadline = time.monotonic() + WARM_UP_TIMEOUT_S
    while time.monotonic() < deadline and not stop.is_set():
        if supervisor.wait_ready("inference", 0.2):
            return True
        if supervisor.given_up("inference") or supervisor.failure is not None:
            return False
    return False


def image_all(
    acquisition: Acquisition,
    plan: Plan,
    supervisor: Supervisor,
    decider: Decider,
    stop: threading.Event,
) -> None:
    """Run the plan to its end, and what its last frames are the cause of.

    A scan may be over before inference has seen all of it. Raises what ``Acquisition.run`` raises.
    """
    acquisition.run(stop)
    await_last_answers(acquisition, supervisor, decider)
    while plan.burst_waiting and not stop.is_set():
        acquisition.run(stop)
        await_last_answers(acquisition, supervisor, decider)


def await_last_answers(acquisition: Acquisition, supervisor: Supervisor, decider: Decider) -> None:
    """Give inference time to answer the last frames, as long as answers keep coming."""
    last = acquisition.counts.last_sent
    deadline = time.monotonic() + LAST_ANSWERS_S
    seen = decider.seen.last_seq
    while decider.seen.last_seq < last and time.monotonic() < deadline:
        if not supervisor.is_ready("inference"):
            return
        time.sleep(0.01)
        if decider.seen.last_seq != seen:
            seen = decider.seen.last_seq
            deadline = time.monotonic() + LAST_ANSWERS_S
