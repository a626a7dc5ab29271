"""The acquisition loop: take the next job, let the rig do it, hand the frame to everybody.

It runs in the rig process, on the one thread that calls the rig. Order of delivery: into the ring,
descriptor to inference (the decision waits for it), to the recorder (which may make us wait, but
never loses a frame), descriptor to the window.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import useq
from useq._mda_event import Channel as EventChannel

from drivers import Frame, FrameError, FrameRing, FrameSender, Rig, RigError
from live.ledger import Ledger
from live.plan import Home, Job, Plan
from live.recorder import Recorder

READ_MARGIN_S = 10.0
LONGEST_SEQUENCE = 1000


@dataclass(slots=True)
class Outlets:
    """Where a frame goes."""

    ring: FrameRing
    recorder: Recorder
    ledger: Ledger
    analysis: FrameSender | None = None
    channel: str = ""
    """Preset whose frames are analysed; empty for every frame."""
    view: FrameSender | None = None
    view_interval_s: float = 1 / 30


@dataclass(slots=True)
class Counts:
    """What the loop did; read by other threads, written by this one alone."""

    captured: int = 0
    bad_frames: int = 0
    bursts: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    last_sent: int = -1
    """Newest frame that inference was told of."""
    worst_lateness_s: float = 0.0


class Pace:
    """Lets a source of recorded frames run no further ahead of inference than the ring is deep."""

    def __init__(self, ahead: int, timeout_s: float = 60.0) -> None:
        self._ahead = ahead
        self._timeout_s = timeout_s
        self._answered = -1
        self._changed = threading.Condition()
        self.gave_up = 0

    def answered(self, seq: int) -> None:
        """Inference has dealt with frame ``seq``."""
        with self._changed:
            self._answered = max(self._answered, seq)
            self._changed.notify_all()

    def wait(self, seq: int, stop: threading.Event) -> None:
        """Wait until frame ``seq`` may follow; gives up, and counts it, after the timeout."""
        deadline = time.monotonic() + self._timeout_s
        with self._changed:
            while seq - self._answered > self._ahead and not stop.is_set():
                left = deadline - time.monotonic()
                if left <= 0:
                    self.gave_up += 1
                    return
                self._changed.wait(min(left, 0.2))


class Acquisition:
    """Runs a plan on a rig until it is done or told to stop.

    Parameters
    ----------
    rig
        Opened; no other thread calls it.
    plan
        Hands out jobs.
    outlets
        Where frames go.
    pace
        Given for recorded data that waits for its analysis.
    on_burst
        Called with decision number and None when its burst is done, or the sentence why it failed.
    on_burst_start
        Called with the decision number when its first frame is about to be exposed.
    """

    def __init__(
        self,
        rig: Rig,
        plan: Plan,
        outlets: Outlets,
        *,
        pace: Pace | None = None,
        on_burst: Callable[[int, str | None], None],
        on_burst_start: Callable[[int], None],
    ) -> None:
        self._rig = rig
        self._plan = plan
        self._outlets = outlets
        self._pace = pace
        self._on_burst = on_burst
        self._on_burst_start = on_burst_start
        self._zero = time.monotonic()
        self._last: Frame | None = None
        self._last_channel: EventChannel | None = None
        self._last_view = 0.0
        self.counts = Counts()

    def run(self, stop: threading.Event) -> None:
        """Work until the plan is done or ``stop`` is set; raises what the rig raises."""
        self._zero = time.monotonic()
        while not stop.is_set():
            job = self._plan.next(self._now(), self._home())
            if job is None:
                return
            if not self._wait_until(job, stop):
                continue
            if job.decision >= 0:
                self._burst_step(job, stop)
            else:
                self._plan_step(job, stop)

    def _now(self) -> float:
        return time.monotonic() - self._zero

    def _home(self) -> Home:
        if self._last is None:
            return Home(0.0, 0.0, 0.0, 0.0)
        meta = self._last.meta
        return Home(meta.x_um, meta.y_um, meta.z_um, meta.exposure_ms, self._last_channel)

    def _wait_until(self, job: Job, stop: threading.Event) -> bool:
        """Sleep until the job is due; False when it went back because something comes first."""
        while True:
            if job.decision < 0 and self._plan.burst_waiting:
                self._plan.put_back(job)
                return False
            left = job.due_s - self._now()
            if left <= 0:
                self.counts.worst_lateness_s = max(self.counts.worst_lateness_s, -left)
                return True
            if stop.is_set():
                return False
            if job.decision < 0:
                self._plan.wait(min(left, 0.5))
            else:
                stop.wait(min(left, 0.5))

    def _plan_step(self, job: Job, stop: threading.Event) -> None:
        self._last_channel = job.event.channel or self._last_channel
        self._rig.apply(job.event)
        # No longer than the camera's buffer is: then a slow disk makes imaging pause between two
        # sequences, and can never make the camera overflow.
        room = min(self._rig.sequence_room(), LONGEST_SEQUENCE)
        alike = self._plan.take_immediate(job, room - 1)
        if not alike:
            self._snap(job.event, stop)
            return
        events = [job.event, *alike]
        done = self._sequence(events, stop, self._plan_yields)
        self._plan.give_back(events[done:])

    def _burst_step(self, job: Job, stop: threading.Event) -> None:
        """One job of a burst; a burst that cannot be done never ends the run by itself."""
        if job.burst_length:
            self.counts.bursts += 1
            self._on_burst_start(job.decision)
        try:
            self._rig.apply(job.event)
        except RigError as error:
            self._plan.drop_burst()
            self._on_burst(job.decision, str(error))
            return
        if job.burst_length > 1 and job.interval_s == 0:
            self._plan.drop_burst()
            room = min(self._rig.sequence_room(), LONGEST_SEQUENCE)
            for start in range(0, job.burst_length, room):
                count = min(room, job.burst_length - start)
                self._sequence([job.event] * count, stop, lambda: False)
            self._on_burst(job.decision, None)
            return
        self._snap(job.event, stop)
        if not self._plan.burst_running:
            self._on_burst(job.decision, None)

    def _plan_yields(self) -> bool:
        return self._plan.burst_waiting

    def _snap(self, event: useq.MDAEvent, stop: threading.Event) -> None:
        try:
            frame = self._rig.snap(_patience_s(event, self._last))
        except FrameError:
            self.counts.bad_frames += 1
            return
        self._deliver(frame, stop)

    def _sequence(
        self, events: list[useq.MDAEvent], stop: threading.Event, yields: Callable[[], bool]
    ) -> int:
        """Image the events as one hardware sequence; how many were done before it ended."""
        self._rig.start_sequence(len(events))
        try:
            for done, event in enumerate(events):
                if stop.is_set() or yields():
                    return done
                try:
                    frame = self._rig.read(_patience_s(event, self._last))
                except FrameError:
                    self.counts.bad_frames += 1
                    continue
                meta = msgspec.structs.replace(frame.meta, index=dict(event.index))
                self._deliver(Frame(frame.pixels, meta), stop)
            return len(events)
        finally:
            self._rig.stop()

    def _deliver(self, frame: Frame, stop: threading.Event) -> None:
        outlets = self._outlets
        meta = frame.meta
        ref = outlets.ring.write({"raw": frame.pixels})
        ring_ns = time.monotonic_ns()
        analysis = outlets.analysis
        if analysis is not None and outlets.channel in ("", meta.channel):
            if analysis.send(frame, ref, ring_ns):
                self.counts.last_sent = meta.seq
            paced = self._pace
        else:
            paced = None
        self.counts.captured += 1
        outlets.recorder.submit(frame)
        outlets.ledger.mark(
            meta.seq, captured=meta.captured_ns, popped=meta.popped_ns, in_ring=ring_ns
        )
        now = time.monotonic()
        if outlets.view is not None and now - self._last_view >= outlets.view_interval_s:
            self._last_view = now
            outlets.view.send(frame, ref, ring_ns)
        self._last = frame
        if paced is not None:
            paced.wait(meta.seq, stop)


def _patience_s(event: useq.MDAEvent, last: Frame | None) -> float:
    exposure_ms = event.exposure or (last.meta.exposure_ms if last else 0.0)
    return 2 * exposure_ms / 1000 + READ_MARGIN_S
