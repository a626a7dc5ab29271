"""Rates, drops and memory of the run, gathered a few times a second for window and report."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

import psutil

from drivers import FrameSender
from live.acquire import Acquisition
from live.decider import Decider
from live.ledger import Ledger
from live.processes.messages import Result, Status
from live.processes.supervisor import Supervisor
from live.recording.recorder import Recorder
from live.runlog import RunLog
from live.steering.steering import Steering

RATE_SPAN = 15
LEDGER_EVERY_S = 1.0
NEWEST = 1000
"""Frames whose latencies the window shows."""
FORWARD_EVERY_S = 1 / 30


class StatusBoard:
    """Reads the counters of all parts, on the supervisor's thread and at last on the main one."""

    def __init__(
        self,
        acquisition: Acquisition,
        recorder: Recorder,
        decider: Decider,
        ledger: Ledger,
        steering: Steering,
        log: RunLog,
        analysis: FrameSender,
        faults: Callable[[], str] = str,
    ) -> None:
        self._acquisition = acquisition
        self._recorder = recorder
        self._decider = decider
        self._ledger = ledger
        self._steering = steering
        self._log = log
        self._analysis = analysis
        self._faults = faults
        self._process = psutil.Process()
        self._points: deque[tuple[float, int, int]] = deque(maxlen=RATE_SPAN)
        self._first: tuple[float, int, int] | None = None
        self._latency: dict[str, float] = {}
        self._latency_s = 0.0
        self._forwarded_s = 0.0
        self.overlays_passed_over = 0
        self.peak_mb = 0.0

    def sample(self) -> None:
        """Take the counters of this moment."""
        self.peak_mb = max(self.peak_mb, self._process.memory_info().rss / 2**20)
        point = (
            time.monotonic(), self._acquisition.counts.captured, self._decider.seen.analysed
        )  # fmt: skip
        self._points.append(point)
        if self._first is None and point[1] > 0:
            self._first = point

    def forward(self, result: Result, supervisor: Supervisor) -> None:
        """Send a result to the window, at most as often as the window draws."""
        now = time.monotonic()
        if now - self._forwarded_s < FORWARD_EVERY_S:
            self.overlays_passed_over += 1
            return
        self._forwarded_s = now
        supervisor.send("display", result)

    def publish(self, supervisor: Supervisor) -> None:
        """Send the status to the window."""
        supervisor.send("display", self._status(supervisor))

    def rates(self) -> dict[str, float]:
        """Mean frames/s over the whole run, by stage."""
        if self._first is None or not self._points:
            return {"camera": 0.0, "inference": 0.0}
        span = self._points[-1][0] - self._first[0]
        if span <= 0:
            return {"camera": 0.0, "inference": 0.0}
        return {
            "camera": (self._points[-1][1] - self._first[1]) / span,
            "inference": (self._points[-1][2] - self._first[2]) / span,
        }

    def drops(self, supervisor: Supervisor) -> dict[str, int]:
        """Stage -> items that did not get through; stages as in ``live.processes.streams``."""
        inference = supervisor.child_drops.get("inference", Counter())
        found = Counter(
            {
                "inference_queue": self._analysis.drops["queue_full"],
                "inference_passed_over": inference.get("passed_over", 0),
                "inference_stale": inference.get("stale", 0),
                "inference_refused": inference.get("refused", 0),
                "result_queue": inference.get("result_queue", 0),
                "display_overlays": self.overlays_passed_over,
                "camera_bad_frame": self._acquisition.counts.bad_frames,
            }
        )
        found.update(self._decider.seen.drops)
        found.update(self._recorder.stats().drops)
        found.update(supervisor.drops)
        found.update(supervisor.child_drops.get("display", Counter()))
        return dict(found)

    def _status(self, supervisor: Supervisor) -> Status:
        camera_hz, inference_hz = self._current_rates()
        engine = self._decider.engine
        stats = self._recorder.stats()
        warning = self._faults()
        if not supervisor.is_ready("inference"):
            warning = supervisor.given_up("inference") or "inference is starting"
        elif (alarm := self._decider.alarm).ringing:
            warning = f"decisions take longer than {alarm.budget_ms:g} ms: {alarm.over} so far"
        return Status(
            camera_hz=camera_hz,
            inference_hz=inference_hz,
            drops={stage: n for stage, n in self.drops(supervisor).items() if n},
            engine=" · ".join(filter(None, (engine.name, engine.precision, engine.device))),
            latency_ms=self._latencies(),
            rules=self._decider.status(),
            events=self._log.newest(),
            recorded=stats.recorded,
            captured=self._acquisition.counts.captured,
            phase=self._steering.phase(),
            warning=warning,
            target_um=self._decider.target_um,
            modes=dict(self._decider.carrier.arming.modes()),
            asked=self._steering.asked(),
        )

    def _current_rates(self) -> tuple[float, float]:
        if len(self._points) < 2:
            return 0.0, 0.0
        start, end = self._points[0], self._points[-1]
        span = end[0] - start[0]
        return (end[1] - start[1]) / span, (end[2] - start[2]) / span

    def _latencies(self) -> dict[str, float]:
        now = time.monotonic()
        if now - self._latency_s >= LEDGER_EVERY_S:
            self._latency_s = now
            self._latency = {
                f"{leg}_{name}": value
                for leg, values in self._ledger.summary(NEWEST).items()
                for name, value in values.items()
                if name in ("p50", "p95")
            }
        return self._latency
