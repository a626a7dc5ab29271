"""No sequence of plans, rules' actions and evidence passes a limit or a cap, whatever it asks for.

The real plan, acquisition loop, action blocks, gate and ledger run; only the microscope is one that
writes down what reaches it, in one test in front of the simulated rig. What is held against the
limits is that record, by arithmetic of its own.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import useq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from drivers import (
    Frame,
    FrameMeta,
    FrameRing,
    ImageFormat,
    LimitSettings,
    ProtectedRig,
    ProtectionError,
    Rig,
    RigInfo,
    open_rig,
    rig_settings,
)
from drivers.rig import RigState
from live.acquire import Acquisition, Outlets
from live.actions.blocks import Cause, block_for
from live.actions.settings import ActionSettings
from live.ledger import Ledger
from live.light.dose import DoseLedger
from live.light.settings import LightSettings
from live.plan.plan import Plan

X, Y, Z, EXPOSURE = (-100.0, 100.0), (-60.0, 60.0), (-40.0, 40.0), 30.0
OBJECTIVES = {"10X": (-40.0, 40.0), "20X": (-20.0, 20.0), "40X": (-5.0, 10.0)}
LIMITS = LimitSettings(
    x_um=X,
    y_um=Y,
    z_um=Z,
    z_um_by_objective=OBJECTIVES,
    max_step_xy_um=150,
    max_step_z_um=60,
    max_exposure_ms=EXPOSURE,
    max_sequence_s=0.2,
)
CAPS = LightSettings(
    power={"DAPI": 1.0, "FITC": 0.5}, cap_per_position=0.4, cap_total=1.5, max_total_s=2.0
)
SIDE = 64
PIXEL_UM = 0.5
ACTIONS: TypeAdapter[Any] = TypeAdapter(ActionSettings)


@dataclass
class Shot:
    """One exposure that reached the microscope."""

    x: float
    y: float
    z: float
    ms: float
    channel: str
    objective: str
    side_um: float


@dataclass
class Record:
    """All that reached it."""

    shots: list[Shot] = field(default_factory=list)
    moves: list[tuple[float, float, float, str]] = field(default_factory=list)

    def hold(self) -> None:
        """Assert every limit and cap on what really happened."""
        slack = 1e-6
        here = self.moves[0]
        for there in self.moves:
            x, y, z, objective = there
            assert X[0] <= x <= X[1]
            assert Y[0] <= y <= Y[1]
            assert Z[0] <= z <= Z[1]
            low, high = OBJECTIVES[objective]
            assert low <= z <= high, (z, objective)
            assert math.hypot(x - here[0], y - here[1]) <= 150 + slack
            assert abs(z - here[2]) <= 60 + slack
            here = there
        power = CAPS.power
        assert all(shot.ms <= EXPOSURE for shot in self.shots)
        assert sum(s.ms / 1e3 * power.get(s.channel, 1) for s in self.shots) <= 1.5 * (1 + slack)
        assert sum(s.ms / 1e3 for s in self.shots) <= 2.0 * (1 + slack)
        for point in self.shots:
            dose = sum(
                s.ms / 1e3 * power.get(s.channel, 1)
                for s in self.shots
                if abs(s.x - point.x) < s.side_um / 2 and abs(s.y - point.y) < s.side_um / 2
            )
            assert dose <= 0.4 * (1 + slack)


class Paper:
    """A microscope of paper: does at once what it is told, and writes it down."""

    def __init__(self) -> None:
        self.record = Record()
        self._seq = itertools.count()
        self._x = self._y = self._z = 0.0
        self._ms, self._channel, self._objective = 10.0, "DAPI", "20X"
        self._left = 0
        presets = {"Channel": ("DAPI", "FITC"), "Objective": ("10X", "20X", "40X")}
        self.info = RigInfo("paper", "none", "Channel", presets)
        self._move()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    @property
    def _pixel_um(self) -> float:
        return PIXEL_UM * {"10X": 2, "20X": 1, "40X": 0.5}[self._objective]

    def image_format(self) -> ImageFormat:
        return ImageFormat(SIDE, SIDE, "uint16", 16, self._pixel_um)

    def read_state(
        self,
        groups: Sequence[str] = (),
        properties: Sequence[tuple[str, str]] = (),  # noqa: ARG002
    ) -> RigState:
        presets = {"Channel": self._channel, "Objective": self._objective}
        presets = {group: presets[group] for group in groups}
        return RigState(self._x, self._y, self._z, self._ms, self._channel, presets)

    def apply(self, event: useq.MDAEvent) -> None:
        self._x = self._x if event.x_pos is None else event.x_pos
        self._y = self._y if event.y_pos is None else event.y_pos
        self._z = self._z if event.z_pos is None else event.z_pos
        self._move()  # stages move before presets do, as in the real driver
        if event.channel is not None and event.channel.group == "Objective":
            self._objective = event.channel.config
            self._move()
        elif event.channel is not None:
            self._channel = event.channel.config
        self._ms = self._ms if event.exposure is None else event.exposure

    def snap(self, timeout_s: float = 10.0) -> Frame:  # noqa: ARG002
        return self._frame()

    def start_sequence(self, count: int | None, interval_ms: float = 0.0) -> None:  # noqa: ARG002
        assert count is not None, "an endless sequence has no end to its light"
        assert count * self._ms / 1e3 <= 0.2 + 1e-9
        self._left = count

    def sequence_room(self) -> int:
        return 1000

    def start_live(self) -> None:
        raise AssertionError("live mode has no end to its light")

    def read(self, timeout_s: float) -> Frame:  # noqa: ARG002
        self._left -= 1
        return self._frame()

    def latest(self, timeout_s: float) -> Frame:  # noqa: ARG002
        raise AssertionError

    def stop(self) -> None:
        self._left = 0

    def _move(self) -> None:
        self.record.moves.append((self._x, self._y, self._z, self._objective))

    def _frame(self) -> Frame:
        self.record.shots.append(
            Shot(
                self._x, self._y, self._z, self._ms, self._channel, self._objective,
                SIDE * self._pixel_um,
            )
        )  # fmt: skip
        now = time.monotonic_ns()
        meta = FrameMeta(
            seq=next(self._seq), captured_ns=now, popped_ns=now, exposure_ms=self._ms, x_um=self._x,
            y_um=self._y, z_um=self._z, channel=self._channel, pixel_size_um=self._pixel_um,
        )  # fmt: skip
        return Frame(np.zeros((SIDE, SIDE), np.uint16), meta)


class Spy(Paper):
    """Writes down what reaches a real rig, by asking its own core after each call."""

    def __init__(self, rig: Any) -> None:
        self._rig = rig
        self.record = Record()
        self._running = False

    def __enter__(self) -> Self:
        self._rig.__enter__()
        self._move()
        return self

    def __exit__(self, *exc: object) -> None:
        self._rig.__exit__(*exc)

    @property
    def core(self) -> Any:
        return self._rig.core

    @property
    def info(self) -> RigInfo:  # type: ignore[override]
        return self._rig.info

    def image_format(self) -> ImageFormat:
        return self._rig.image_format()

    def read_state(self, *args: Any) -> RigState:  # type: ignore[override]
        return self._rig.read_state(*args)

    def apply(self, event: useq.MDAEvent) -> None:
        if event.channel is not None and event.channel.group == "Objective":
            low, high = OBJECTIVES[self.core.getCurrentConfig("Objective")]
            assert event.z_pos is None or low <= event.z_pos <= high
        self._rig.apply(event)
        self._move()

    def snap(self, timeout_s: float = 10.0) -> Frame:
        return self._seen(self._rig.snap(timeout_s))

    def start_sequence(self, count: int | None, interval_ms: float = 0.0) -> None:
        assert count is not None
        assert count * self.core.getExposure() / 1e3 <= 0.2 + 1e-9
        self._rig.start_sequence(count, interval_ms)

    def sequence_room(self) -> int:
        return self._rig.sequence_room()

    def read(self, timeout_s: float) -> Frame:
        return self._seen(self._rig.read(timeout_s))

    def stop(self) -> None:
        self._rig.stop()
        assert not self.core.getShutterOpen()

    def _move(self) -> None:
        core = self.core
        x, y = core.getXYPosition()
        objective = core.getCurrentConfig("Objective")
        # The demo stage moves in steps of 0.015 µm.
        self.record.moves.append(
            (round(x, 1), round(y, 1), round(core.getPosition(), 1), objective)
        )

    def _seen(self, frame: Frame) -> Frame:
        meta, core = frame.meta, self.core
        self.record.shots.append(
            Shot(
                core.getXPosition(), core.getYPosition(), core.getPosition(), core.getExposure(),
                core.getCurrentConfig("Channel"), core.getCurrentConfig("Objective"),
                SIDE * meta.pixel_size_um,
            )
        )  # fmt: skip
        return frame


class Kept:
    """Where frames go here: nowhere, but counted."""

    def __init__(self) -> None:
        self.count = 0

    def submit(self, frame: Frame) -> None:  # noqa: ARG002
        self.count += 1


anywhere = st.one_of(
    st.floats(-140, 140), st.sampled_from([0.0, 99.9, 100.0, 101.0, -100.0, 1e9, -1e9])
)
depth = st.one_of(st.floats(-50, 50), st.sampled_from([0.0, 40.0, 41.0, -40.0]))
exposures = st.sampled_from([1.0, 5.0, 20.0, 29.9, 30.0, 31.0, 5000.0])
channels = st.sampled_from(["DAPI", "FITC"])
presets = st.sampled_from([None, "DAPI", "FITC", "Objective/10X", "Objective/40X"])

plans = st.builds(
    lambda channel, places, loops, z: {
        "channels": channel,
        "stage_positions": places,
        "time_plan": {"interval": 0, "loops": loops},
        **({"z_plan": {"range": z, "step": z / 2}} if z else {}),
    },
    st.lists(
        st.fixed_dictionaries({"config": channels, "exposure": exposures}),
        min_size=1,
        max_size=2,
        unique_by=lambda c: c["config"],
    ),
    st.lists(
        st.fixed_dictionaries({"x": anywhere, "y": anywhere, "z": depth}), min_size=1, max_size=3
    ),
    st.integers(1, 12),
    st.sampled_from([0, 0, 10, 90]),
)


def _optional(**more: Any) -> st.SearchStrategy[dict[str, Any]]:
    base = {"preset": presets, "exposure_ms": st.one_of(st.none(), exposures)}
    return st.fixed_dictionaries(more | base).map(
        lambda made: {key: value for key, value in made.items() if value is not None}
    )


actions = st.one_of(
    _optional(
        kind=st.just("burst"), frames=st.integers(1, 40), interval_ms=st.sampled_from([0, 0, 1]),
        centre=st.booleans(),
    ),
    _optional(kind=st.just("zstack"), range_um=st.floats(1, 120), step_um=st.just(0.5 * 20)),
    _optional(kind=st.just("goto"), frames=st.integers(1, 8)),
    _optional(kind=st.just("tile"), rows=st.integers(1, 4), columns=st.integers(1, 4)),
    st.builds(lambda shift: {"kind": "recentre", "min_shift_um": shift}, st.floats(0, 5)),
)  # fmt: skip
evidence = st.tuples(
    st.lists(actions, min_size=1, max_size=3), anywhere, anywhere, depth, exposures
)


def _blocks(drawn: Sequence[Any]) -> Iterator[Any]:
    for number, (wanted, x, y, z, ms) in enumerate(drawn, 1):
        meta = FrameMeta(
            seq=number, captured_ns=time.monotonic_ns(), popped_ns=0, exposure_ms=ms, x_um=x - 20,
            y_um=y, z_um=z, channel="DAPI", pixel_size_um=PIXEL_UM,
        )  # fmt: skip
        chosen = [
            ACTIONS.validate_python(action)
            for action in wanted
            if action["kind"] != "zstack" or action["range_um"] >= action["step_um"]
        ]
        cause = Cause(
            number, f"rule {number % 3}", "drawn", meta, (SIDE, SIDE), (x, y), (32.0, 32.0),
            group="Channel", priority=number % 2,
        )  # fmt: skip
        if chosen:
            yield block_for(chosen, cause)


def run(rig: Any, plan: dict[str, Any], drawn: Sequence[Any]) -> tuple[int, list[str]]:
    """Everything that was drawn on a protected rig; frames taken, and what was refused."""
    refused: list[str] = []
    ledger = DoseLedger(CAPS)
    ring, kept = FrameRing(16), Kept()
    todo = Plan(useq.MDASequence.model_validate(plan))
    for block in _blocks(drawn):
        todo.insert(block)
    limit = threading.Event()
    try:
        with ProtectedRig(rig, LIMITS, ledger, refused.append) as gate:
            loop = Acquisition(
                gate,
                todo,
                Outlets(ring, kept, Ledger()),  # type: ignore[arg-type]
                on_burst=lambda _number, problem: refused.append(problem) if problem else None,
                on_burst_start=lambda _number: None,
            )
            # A refused event of the plan ends a run; here the rest of the plan is tried as well.
            for _ in range(200):
                try:
                    loop.run(limit)
                    break
                except ProtectionError:
                    continue
    finally:
        ring.close()
    assert ledger.greatest <= 0.4 * (1 + 1e-6)
    assert ledger.totals.frames >= len(rig.record.shots)
    assert kept.count == len(rig.record.shots)
    return kept.count, refused


totals = {"frames": 0, "refused": 0}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans, st.lists(evidence, max_size=6))
def test_nothing_forbidden_reaches_the_microscope(
    plan: dict[str, Any], drawn: Sequence[Any]
) -> None:
    rig: Any = Paper()
    frames, refused = run(rig, plan, drawn)
    rig.record.hold()
    totals["frames"] += frames
    totals["refused"] += len(refused)


def test_the_property_was_put_to_the_test() -> None:
    """Both many frames and many refusals came up, so that neither side was trivial."""
    rig: Any = Paper()
    plan = {
        "channels": [{"config": "DAPI", "exposure": 20}],
        "stage_positions": [{"x": 0, "y": 0, "z": 0}, {"x": 90, "y": 0, "z": 0}],
        "time_plan": {"interval": 0, "loops": 100},
    }
    burst = ([{"kind": "burst", "frames": 10, "interval_ms": 0}], 50.0, 0.0, 0.0, 20.0)
    far = ([{"kind": "goto", "frames": 1}], 1e9, 0.0, 0.0, 20.0)
    frames, refused = run(rig, plan, [burst, far])
    rig.record.hold()
    assert 20 <= frames <= 60
    assert any("cap_per_position" in sentence for sentence in refused)
    assert any("outside the limit x_um" in sentence for sentence in refused)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans, st.lists(evidence, max_size=3))
def test_nothing_forbidden_reaches_the_simulated_rig(
    plan: dict[str, Any], drawn: Sequence[Any]
) -> None:
    small = {"driver": "simulated", "width": SIDE, "height": SIDE, "camera_buffer_mb": 16}
    rig: Any = Spy(open_rig(rig_settings(small)))
    run(rig, plan, drawn)
    rig.record.hold()


def test_the_paper_is_a_rig() -> None:
    rig: Rig = Paper()
    assert rig.image_format().width == SIDE
