"""The acquisition loop: take the next job, let the rig do it, hand the frame to everybody.

It runs in the rig process, on the one thread that calls the rig. Order of delivery: into the ring,
descriptor to inference (the decision waits for it), to the recorder (which may make us wait, but
never loses a frame), descriptor to the window.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import useq
from useq._mda_event import Channel as EventChannel

from drivers import Frame, FrameError, FrameRing, FrameSender, LightSpent, Rig, RigInfo
from live.actions.inflight import expose_in_flight
from live.actions.runner import BlockRunner, Imaging
from live.ledger import Ledger
from live.plan.blocks import Effect
from live.plan.plan import Home, Job, Late, Plan
from live.processes.foremost import foremost
from live.processes.quietgc import quiet_gc
from live.recording.recorder import Recorder

READ_MARGIN_S = 10.0
LONGEST_SEQUENCE = 1000
WAITED_NS = 2_000_000
"""A frame that lay in the core's buffer for longer shows that frames come faster than they go."""
LATE_S = 0.05
"""A time point that starts later than this is recorded as late."""
LATE_AFTER_BLOCK_S = 0.005
"""The same for one that a block kept waiting."""


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
    late: int = 0
    """Time points of the plan that are on record as late."""
    left_out: int = 0
    """Events of the plan that were overdue after a block, with a newer time point due as well."""


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
        Called with decision number and None when what it asked for is done, or the sentence why
        it is not.
    on_burst_start
        Called with the decision number when the first of it is about to be done.
    on_effect
        Carries out what is neither imaged nor changes the plan; what is wrong, or an empty text.
    on_late
        Called for each time point of the plan that was late or left out.
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
        on_effect: Callable[[Effect], str] | None = None,
        on_late: Callable[[Late], None] | None = None,
    ) -> None:
        self._rig = rig
        self._plan = plan
        self._outlets = outlets
        self._pace = pace
        self._on_burst = on_burst
        self._on_burst_start = on_burst_start
        self._on_late = on_late
        self._info: RigInfo | None = None
        self._last: Frame | None = None
        self._last_view = 0.0
        self._spent: set[tuple[float | None, float | None, int | None]] = set()
        self.counts = Counts()
        self._blocks = BlockRunner(
            rig,
            plan,
            Imaging(self._snap, self._sequence, self._home),
            on_burst=on_burst,
            on_burst_start=self._count_start(on_burst_start),
            on_effect=on_effect,
        )

    @foremost()
    @quiet_gc()
    def run(self, stop: threading.Event) -> None:
        """Work until the plan is done or ``stop`` is set; raises what the rig raises."""
        while not stop.is_set():
            now = time.monotonic()
            if self._plan.paused:
                self._plan.hold(now)
                stop.wait(0.05)
                continue
            job = self._plan.next(now, self._home())
            self._report()
            if job is None:
                return
            if not self._wait_until(job, stop):
                continue
            if job.decision >= 0:
                self._blocks.step(job, stop)
                self._report()
            elif job.moves_only:
                self._rig.apply(job.event)
            else:
                self._plan_step_in_budget(job, stop)

    def _home(self) -> Home:
        """How the microscope stands; asks no hardware."""
        state = self._rig.read_state()
        info = self._info = self._info or self._rig.info
        channel = None
        if info.channel_group and state.channel:
            channel = EventChannel(group=info.channel_group, config=state.channel)
        place = (state.x_um, state.y_um, state.z_um)
        return Home(*place, state.exposure_ms, channel, axes=info.axes)

    def _report(self) -> None:
        lates, notes = self._plan.take_reports()
        self.counts.left_out += len(lates)
        for late in lates:
            if self._on_late is not None:
                self._on_late(late)
        for note in notes:
            for number in note.decisions:
                self._on_burst(number, note.problem)

    def _wait_until(self, job: Job, stop: threading.Event) -> bool:
        """Sleep until the job is due; False when it went back because something comes first."""
        planned = job.decision < 0
        while True:
            first = self._plan.burst_waiting if planned else self._plan.interrupts
            if first or self._plan.paused:
                self._plan.put_back(job)
                return False
            late_s = time.monotonic() - self._plan.due(job, time.monotonic())
            if late_s >= 0:
                if job.leads:
                    self._note_lateness(job, late_s)
                return True
            if stop.is_set():
                return False
            # Waiting for a change would return at once while blocks of low priority wait.
            (self._plan.wait if planned else stop.wait)(min(-late_s, 0.5 if planned else 0.02))

    def _note_lateness(self, job: Job, late_s: float) -> None:
        self.counts.worst_lateness_s = max(self.counts.worst_lateness_s, late_s)
        if late_s <= (LATE_AFTER_BLOCK_S if job.why_late else LATE_S):
            return
        self.counts.late += 1
        if self._on_late is not None:
            why = job.why_late or "the microscope was not free before"
            self._on_late(Late(dict(job.event.index), late_s, False, why))

    def _plan_step_in_budget(self, job: Job, stop: threading.Event) -> None:
        """Image, or pass over a place whose light is spent while other places have some left."""
        try:
            self._plan_step(job, stop)
            self._spent.clear()
        except LightSpent as error:
            event = job.event
            place = (event.x_pos, event.y_pos, event.index.get("p"))
            # the same place again with nothing imaged in between: no place has light left
            alone = place == (None, None, None)
            if error.whole_run or alone or place in self._spent:
                raise
            self._spent.add(place)
            self.counts.drops["light_spent"] += 1

    def _plan_step(self, job: Job, stop: threading.Event) -> None:
        self._rig.apply(job.event)
        # No longer than the camera's buffer is: then a slow disk makes imaging pause between two
        # sequences, and can never make the camera overflow.
        room = min(self._rig.sequence_room(), LONGEST_SEQUENCE)
        alike = self._plan.take_immediate(job, room - 1)
        if not alike:
            self._snap(job.event, stop)
            return
        events = [job.planned or job.event, *alike]
        done = self._sequence(events, 0.0, stop, self._plan_yields)
        self._plan.give_back(events[done:])

    def _plan_yields(self) -> bool:
        tell = self._on_burst_start, self._on_burst
        if self._plan.burst_waiting and not expose_in_flight(self._rig, self._plan, *tell):
            return True
        return self._plan.paused

    def _count_start(self, tell: Callable[[int], None]) -> Callable[[int], None]:
        def started(number: int) -> None:
            self.counts.bursts += 1
            tell(number)

        return started

    def _snap(self, event: useq.MDAEvent, stop: threading.Event) -> Frame | None:
        """Image one event; None when the camera gave no usable image, which is counted."""
        try:
            frame = self._rig.snap(_patience_s(event, self._last))
        except FrameError:
            self.counts.bad_frames += 1
            return None
        self._deliver(frame, stop)
        return frame

    def _sequence(
        self,
        events: Sequence[useq.MDAEvent],
        interval_s: float,
        stop: threading.Event,
        yields: Callable[[], bool],
    ) -> int:
        """Image the events as hardware sequences; how many were done before it ended."""
        done = 0
        while done < len(events):
            room = min(self._rig.sequence_room(), LONGEST_SEQUENCE)
            part = events[done : done + room]
            taken = self._one_sequence(part, interval_s, stop, yields)
            done += taken
            if taken < len(part):
                return done
        return done

    def _one_sequence(
        self,
        events: Sequence[useq.MDAEvent],
        interval_s: float,
        stop: threading.Event,
        yields: Callable[[], bool],
    ) -> int:
        self._rig.start_sequence(len(events), interval_s * 1000)
        try:
            for done, event in enumerate(events):
                if stop.is_set() or yields():
                    return done
                # Making an event takes longer than moving a small frame: the next sequence's are
                # made one at a time while the camera exposes, not between the two sequences.
                if self._keeps_up():
                    self._plan.prepare(LONGEST_SEQUENCE)
                try:
                    frame = self._rig.read(_patience_s(event, self._last) + interval_s)
                except FrameError:
                    self.counts.bad_frames += 1
                    continue
                meta = msgspec.structs.replace(frame.meta, index=dict(event.index))
                self._deliver(Frame(frame.pixels, meta), stop)
            return len(events)
        finally:
            self._rig.stop()

    def _keeps_up(self) -> bool:
        """Whether the newest frame was fetched as soon as the camera had it."""
        meta = self._last.meta if self._last else None
        return meta is not None and meta.popped_ns - meta.captured_ns < WAITED_NS

    def _deliver(self, frame: Frame, stop: threading.Event) -> None:
        outlets = self._outlets
        meta = frame.meta
        # told of first: the word takes longer to arrive than the pixels take to copy
        claim = outlets.ring.claim({"raw": frame.pixels})
        ref = claim.ref
        ring_ns = time.monotonic_ns()
        analysis = outlets.analysis
        if analysis is not None and outlets.channel in ("", meta.channel):
            analysis.announce(frame, ref, ring_ns)
            claim.fill()
            if analysis.send(frame, ref, ring_ns):
                self.counts.last_sent = meta.seq
            paced = self._pace
        else:
            claim.fill()
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
