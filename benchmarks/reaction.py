"""How fast a decision becomes an exposure, and how well the plan keeps its time beside decisions.

Three questions, on MMCore's demo camera and on the simulated rig, with recorder and journal:

- *reaction*: with a plan of untimed events waiting, from the moment a burst is asked for to the
  start of its first exposure, without a way for the stage. Allowed are one exposure (the frame
  that is being taken) and 50 ms.
- *plan timing*: error of the plan's time points outside bursts, 95th percentile, beside
  pymmcore-plus's own ``MDARunner`` on the same plan and devices. Allowed is twice its error.
- *switching*: from 1 to 20 frames/s and back; the second frame after the change comes at the new
  interval.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import useq

from drivers import FrameRing, open_rig
from drivers.settings import MicroManagerSettings
from drivers.simulated.settings import SimulatedSettings
from live.acquire import Acquisition, Outlets
from live.ledger import Ledger
from live.plan.blocks import SetInterval
from live.plan.plan import Block, Plan
from live.recording.journal import Journal
from live.recording.journal_reader import JournalReader
from live.recording.recorder import Recorder, RecorderSettings
from live.recording.runfolder import RunFolder

EXPOSURE_MS = 20.0
GRACE_MS = 50.0
PENDING = 20
TIMES_WORSE = 2.0
FAST_S, SLOW_S = 0.05, 1.0

Row = dict[str, Any]
Frames = list[tuple[Any, ...]]

RIGS: dict[str, Any] = {
    "DemoCamera": MicroManagerSettings(
        driver="micromanager",
        config="demo",
        adapters="mm-test-adapters",
        startup=(("Camera", "FastImage", "1"),),
    ),
    "simulated": SimulatedSettings(seed=1, width=256, height=256),
}


def run(*, quick: bool = False) -> list[Row]:
    """Measure all of it; ``quick`` asks fewer times."""
    rows: list[Row] = []
    for name in RIGS:
        rows += _reaction(name, 3 if quick else 12)
        rows += _timing(name, 20 if quick else 80)
        rows += _switching(name, 1 if quick else 3)
    return rows


def _reaction(rig: str, times: int) -> list[Row]:
    channels = (useq.Channel(config="DAPI", exposure=EXPOSURE_MS),)
    plan = Plan(
        useq.MDASequence(
            channels=channels,
            stage_positions=tuple(
                useq.Position(x=float(n % 7), y=float(n % 5)) for n in range(times * PENDING * 2)
            ),
        )
    )
    asked: dict[int, float] = {}
    random = np.random.default_rng(0)

    def ask(loop: Acquisition) -> None:
        for number in range(times):
            _wait_for(lambda: not plan.in_burst and loop.counts.captured > 3)
            time.sleep(float(random.uniform(0.1, 0.2)))
            event = useq.MDAEvent(exposure=EXPOSURE_MS, metadata={"parfocal": {"decision": number}})
            asked[number] = time.monotonic()
            plan.insert(Block(number, (event,) * 3, interval_s=0.03 if number % 2 else 0.0))
            _wait_for(lambda: plan.in_burst)
        _wait_for(lambda: not plan.in_burst)
        plan.close()

    frames = _image(rig, plan, ask)
    took = []
    for number, at in asked.items():
        ends = [row[2] / 1e9 for row in frames if row[1] == number]
        if ends:
            took.append((min(ends) - EXPOSURE_MS / 1e3 - at) * 1e3)
    if len(took) < times:
        raise RuntimeError(f"{times - len(took)} of {times} bursts were not imaged")
    allowed = EXPOSURE_MS + GRACE_MS
    worst = max(took)
    return [
        {
            "bench": "reaction",
            "case": f"{rig}: decision to exposure, worst of {times}, {PENDING} or more events wait "
            f"(median {np.median(took):.0f} ms)",
            "ours": "plan with arbitration",
            "peer": f"one exposure + {GRACE_MS:.0f} ms",
            "value_ours": worst,
            "value_peer": allowed,
            "unit": "ms",
            "ratio": allowed / max(worst, 1e-3),
            "bar": 1.0,
        }
    ]


def _timing(rig: str, points: int) -> list[Row]:
    interval_s = 0.1
    sequence = useq.MDASequence(
        channels=(useq.Channel(config="DAPI", exposure=EXPOSURE_MS),),
        time_plan=useq.TIntervalLoops(interval=timedelta(seconds=interval_s), loops=points),
    )
    plan = Plan(sequence, interval_s=interval_s)
    late: list[int] = []

    def ask(loop: Acquisition) -> None:
        for number in range(points // 20):
            _wait_for(lambda n=number: loop.counts.captured > 5 + 20 * n)  # type: ignore[misc]
            event = useq.MDAEvent(exposure=5, metadata={"parfocal": {"decision": number}})
            plan.insert(Block(number, (event,) * 6))

    frames = _image(rig, plan, ask, late)
    at = {row[3]["t"]: row[2] / 1e9 for row in frames if row[1] < 0}
    ours = _errors({t: s for t, s in at.items() if t not in late}, interval_s)
    theirs = _errors(_runner_times(rig, sequence), interval_s)
    return [
        {
            "bench": "reaction",
            "case": f"{rig}: error of the plan's time points outside bursts, p95 of {len(ours)}",
            "ours": f"beside {points // 20} bursts, {len(late)} late on record",
            "peer": f"{TIMES_WORSE:g} x MDARunner without bursts",
            "value_ours": (own := float(np.percentile(ours, 95)) * 1e3),
            "value_peer": (peer := TIMES_WORSE * float(np.percentile(theirs, 95)) * 1e3),
            "unit": "ms",
            "ratio": peer / max(own, 1e-3),
            "bar": 1.0,
        }
    ]


def _switching(rig: str, times: int) -> list[Row]:
    worst = 0.0
    sequence = useq.MDASequence(
        channels=(useq.Channel(config="DAPI", exposure=EXPOSURE_MS),),
        time_plan=useq.TIntervalLoops(interval=timedelta(seconds=SLOW_S), loops=10_000),
    )
    back = 0.0
    for _ in range(times):
        plan = Plan(sequence, interval_s=SLOW_S)
        moments: list[float] = []

        def ask(loop: Acquisition, plan: Plan = plan, moments: list[float] = moments) -> None:
            _wait_for(lambda: loop.counts.captured >= 2)
            time.sleep(0.3)
            for number, seconds in enumerate((FAST_S, None)):
                moments.append(time.monotonic())
                effect = SetInterval(seconds)
                plan.insert(Block(number, restores=False, effect=effect))
                time.sleep(1.0 if seconds else 2.5)
            plan.close()

        ends = np.array([row[2] / 1e9 for row in _image(rig, plan, ask)])
        fast = ends[(ends > moments[0]) & (ends < moments[1])]
        slow = ends[ends > moments[1]]
        worst = max(worst, abs(float(fast[1] - fast[0]) - FAST_S))
        back = max(back, abs(float(slow[-1] - slow[-2]) - SLOW_S))
    allowed_ms = FAST_S * 1e3 / 2
    return [
        {
            "bench": "reaction",
            "case": f"{rig}: 1 to 20 frames/s, error of the first new interval, worst of {times} "
            f"(and back to 1: {back * 1e3:.1f} ms)",
            "ours": "within two frames",
            "peer": "half an interval",
            "value_ours": worst * 1e3,
            "value_peer": allowed_ms,
            "unit": "ms",
            "ratio": allowed_ms / max(worst * 1e3, 1e-3),
            "bar": 1.0,
        }
    ]


def _image(
    rig: str,
    plan: Plan,
    during: Callable[[Acquisition], None],
    late: list[int] | None = None,
    seconds: float = 60.0,
) -> Frames:
    """Run a plan; (seq, decision, captured_ns, index) of each frame that lies on disk."""
    failed: list[BaseException] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = RunFolder.create(Path(temporary) / "run")
        stop = threading.Event()
        with (
            open_rig(RIGS[rig]) as opened,
            Journal(folder.journal) as journal,
            Recorder(folder, journal, RecorderSettings(reserve_bytes=0)) as recorder,
        ):
            ring = FrameRing(64)
            loop = Acquisition(
                opened,
                plan,
                Outlets(ring, recorder, Ledger()),
                on_burst=lambda _number, why: failed.append(RuntimeError(why)) if why else None,
                on_burst_start=lambda _number: None,
                on_late=lambda found: (late if late is not None else []).append(
                    found.index.get("t", -1)
                ),
            )

            def ask() -> None:
                try:
                    during(loop)
                except BaseException as error:
                    failed.append(error)
                    plan.close()

            helper = threading.Thread(target=ask)
            limit = threading.Timer(seconds, plan.close)
            limit.start()
            helper.start()
            try:
                loop.run(stop)
            finally:
                limit.cancel()
                helper.join()
                ring.close()
        if failed:
            raise failed[0]
        with JournalReader(folder.journal) as reader:
            rows = list(
                reader.rows(
                    "SELECT seq, decision, captured_ns, index_json FROM frames ORDER BY seq"
                )
            )
    return [(*row[:3], json.loads(str(row[3]))) for row in rows]


def _runner_times(rig: str, sequence: useq.MDASequence) -> dict[int, float]:
    """When ``MDARunner`` took each time point of the same plan, seconds."""
    from pymmcore_plus.mda import MDAEngine

    times: dict[int, float] = {}
    with open_rig(RIGS[rig]) as opened:
        core = getattr(opened, "core")  # noqa: B009 - not of the Rig protocol
        engine = MDAEngine(core, use_hardware_sequencing=False)
        core.mda.set_engine(engine)

        def took(_image: object, event: useq.MDAEvent, _meta: object) -> None:
            times[event.index["t"]] = time.monotonic()

        core.mda.events.frameReady.connect(took)
        core.mda.run(sequence)
        core.mda.events.frameReady.disconnect(took)
    return times


def _errors(at: dict[int, float], interval_s: float) -> np.ndarray:
    """How far each time point is from the grid that fits all of them best, seconds."""
    # The first frame opens the shutter and clears the camera's buffer, here and there.
    offsets = np.array([s - t * interval_s for t, s in at.items() if t > 0])
    found: np.ndarray = np.abs(offsets - np.median(offsets))
    return found


def _wait_for(ready: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s in vain")
        time.sleep(0.001)
