"""The gate before a rig: what a limit forbids is refused, and then nothing has happened."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import useq

from drivers import (
    Light,
    LightSpent,
    LimitSettings,
    ProtectedRig,
    ProtectionError,
    RigError,
    open_rig,
    rig_settings,
)

TABLE = {"10X": (-100.0, 100.0), "20X": (-50.0, 50.0), "40X": (-20.0, 10.0)}
LIMITS = LimitSettings(
    x_um=(-200, 200),
    y_um=(-100, 100),
    z_um=(-80, 80),
    z_um_by_objective=TABLE,
    max_step_xy_um=150,
    max_step_z_um=60,
    max_exposure_ms=50,
    max_sequence_s=0.5,
)


class Meter:
    """A budget in frames, and what was counted."""

    def __init__(self, frames: int | None = None) -> None:
        self.left = frames
        self.begun: list[tuple[Light, int]] = []
        self.ended: list[float] = []

    def room(self, light: Light) -> int | None:  # noqa: ARG002
        return self.left

    def objection(self, wanted: Sequence[tuple[Light, int]]) -> str | None:
        frames = sum(count for _, count in wanted)
        return "too much" if self.left is not None and frames > self.left else None

    def begin(self, light: Light, frames: int) -> None:
        if self.left is not None and frames > self.left:
            raise LightSpent("too much")
        self.begun.append((light, frames))

    def end(self, frames: float, last_seq: int = -1) -> None:  # noqa: ARG002
        self.ended.append(frames)
        if self.left is not None:
            self.left -= int(frames)


def simulated(**changes: Any) -> Any:
    small = {"driver": "simulated", "width": 64, "height": 64, "camera_buffer_mb": 16}
    return open_rig(rig_settings(small | changes))


@pytest.fixture(params=["simulated", "micromanager"])
def rig(request: pytest.FixtureRequest) -> Iterator[ProtectedRig]:
    if request.param == "simulated":
        inner = simulated()
    else:
        inner = open_rig(rig_settings({"driver": "micromanager", "camera_buffer_mb": 16}))
    told: list[str] = []
    with ProtectedRig(inner, LIMITS, Meter(), told.append) as gate:
        gate.apply(useq.MDAEvent(exposure=10))
        gate.told = told  # type: ignore[attr-defined]
        yield gate


def stands(gate: ProtectedRig) -> tuple[Any, ...]:
    core = gate.rig.core  # type: ignore[attr-defined]
    x, y = core.getXYPosition()
    state = (x, y, core.getPosition(), core.getExposure())
    objective = core.getCurrentConfig("Objective")
    return (*(round(value, 2) for value in state), objective, core.getShutterOpen())


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"x_pos": 201}, "x to 201 µm, outside the limit x_um = -200 to 200.*limits.x_um"),
        ({"y_pos": -100.5}, "outside the limit y_um"),
        ({"z_pos": 90}, "outside the limit z_um"),
        ({"x_pos": math.nan}, "x_pos = nan"),
        ({"z_pos": math.inf}, "z_pos = inf"),
        ({"x_pos": 120, "y_pos": 95}, "by 153.* over limits.max_step_xy_um = 150"),
        ({"z_pos": 70}, "by 70 .*over limits.max_step_z_um = 60"),
        ({"exposure": 51}, "exposure of 51 ms.* max_exposure_ms = 50"),
        ({"exposure": math.inf}, "exposure = inf"),
        ({"properties": [("Camera", "Exposure", "500")]}, "exposure of 500 ms|Camera"),
        ({"properties": [("Z", "Position", "500")]}, "moves a stage past its limits"),
        ({"properties": [("White Light Shutter", "State", "1")]}, "would leave the light on"),
        ({"properties": [("Core", "AutoShutter", "0")]}, "Core-AutoShutter cannot be changed"),
        ({"x_pos": 50, "exposure": 80}, "exposure of 80"),
    ],
)
def test_what_a_limit_forbids_is_refused_and_nothing_moves(
    rig: ProtectedRig, event: dict[str, Any], says: str
) -> None:
    if "Camera" in str(event) and rig.info.name == "simulated":
        pytest.skip("its camera has no such property")
    before = stands(rig)
    with pytest.raises(ProtectionError, match=says):
        rig.apply(useq.MDAEvent(**event))
    assert stands(rig) == before
    assert len(rig.told) == 1  # type: ignore[attr-defined]
    assert rig.objection([useq.MDAEvent(**event)]) is not None


def test_the_objective_needs_room_before_and_after(rig: ProtectedRig) -> None:
    def objective(name: str, **more: Any) -> useq.MDAEvent:
        channel = {"group": "Objective", "config": name}
        return useq.MDAEvent(channel=channel, **more)

    rig.apply(objective("10X"))
    rig.apply(useq.MDAEvent(z_pos=40))
    before = stands(rig)
    with pytest.raises(ProtectionError, match=r"z = 40 µm is not within -20 to 10 for '40X'"):
        rig.apply(objective("40X"))
    assert stands(rig) == before
    rig.apply(objective("40X", z_pos=5))
    with pytest.raises(ProtectionError, match=r"z_um_by_objective\.40X"):
        rig.apply(useq.MDAEvent(z_pos=15))
    # Back, to where the long one has no room: the objective is turned before the focus moves.
    rig.apply(objective("10X", z_pos=60))
    assert stands(rig)[2] == 60
    assert stands(rig)[4] == "10X"


def test_an_objective_turned_by_its_property_is_seen(rig: ProtectedRig) -> None:
    rig.apply(useq.MDAEvent(channel={"group": "Objective", "config": "10X"}))
    rig.apply(useq.MDAEvent(z_pos=30))
    with pytest.raises(ProtectionError, match="for '40X'"):
        rig.apply(useq.MDAEvent(properties=[("Objective", "State", "0")]))
    with pytest.raises(ProtectionError, match="an objective that is not known"):
        rig.apply(useq.MDAEvent(properties=[("Objective", "State", "5")]))


def test_an_exposure_set_behind_our_back_is_refused_before_light(rig: ProtectedRig) -> None:
    rig.rig.core.setExposure(200)  # type: ignore[attr-defined]
    with pytest.raises(ProtectionError, match="200 ms"):
        rig.snap()
    with pytest.raises(ProtectionError, match="200 ms"):
        rig.start_sequence(2)
    assert not stands(rig)[-1]


def test_long_sequences(rig: ProtectedRig) -> None:
    with pytest.raises(ProtectionError, match=r"51 frames of 10 ms is 0.51 s.*max_sequence_s"):
        rig.start_sequence(51)
    with pytest.raises(ProtectionError, match="endless"):
        rig.start_sequence(None)
    assert rig.sequence_room() <= 50
    rig.start_sequence(3)
    assert [rig.read(5).meta.seq for _ in range(3)] == [0, 1, 2]
    rig.stop()


def test_light_is_asked_for_and_counted() -> None:
    meter = Meter(10)
    with ProtectedRig(simulated(), light=meter) as rig:
        rig.apply(useq.MDAEvent(exposure=10, x_pos=5, channel="FITC"))
        rig.snap()
        ((light, frames),) = meter.begun
        assert (light.x_um, light.preset, light.exposure_s, frames) == (5, "FITC", 0.01, 1)
        assert light.width_um == 64 * rig.image_format().pixel_size_um
        rig.apply(useq.MDAEvent(roi=(0, 0, 16, 16)))
        rig.snap()
        assert meter.begun[-1][0].width_um == light.width_um, "an ROI darkens nothing"
        assert rig.sequence_room() == 8
        rig.start_sequence(4)
        for _ in range(4):
            rig.read(5)
        rig.stop()
        rig.stop()
        assert meter.ended == [1, 1, 4]
        with pytest.raises(LightSpent):
            rig.start_sequence(5)
        assert rig.objection([useq.MDAEvent()] * 5) == "too much"
        assert rig.objection([useq.MDAEvent()] * 4) is None
        with pytest.raises(LightSpent, match="live mode has no end"):
            rig.start_live()
        rig.start_sequence(None)  # ends where the budget does
        for _ in range(4):
            rig.read(5)
        with pytest.raises(RigError, match="4 frames of the sequence were read"):
            rig.read(0.2)
        rig.stop()
        with pytest.raises(LightSpent):
            rig.snap()
        with pytest.raises(LightSpent):
            rig.start_sequence(None)
    assert sum(meter.ended) == 10


def test_an_aborted_sequence_counts_what_was_exposed_not_what_was_read() -> None:
    meter = Meter()
    with ProtectedRig(simulated(), light=meter) as rig:
        rig.apply(useq.MDAEvent(exposure=20))
        rig.start_sequence(1000)
        rig.read(5)
        time.sleep(0.2)
        rig.stop()
    (exposed,) = meter.ended
    assert 8 <= exposed < 100


def test_a_block_is_judged_as_it_would_run(rig: ProtectedRig) -> None:
    steps = [useq.MDAEvent(x_pos=x) for x in (100, 190, 60)]
    assert rig.objection(steps) is None
    assert "max_step_xy_um" in (rig.objection(steps[1:]) or "")
    assert stands(rig)[0] == 0


def test_recorded_data_need_no_light(data: Any) -> None:
    meter = Meter(0)
    settings = rig_settings(
        {"driver": "replay", "path": str(data / "ecoli" / "01"), "timing": "fast"}
    )
    with ProtectedRig(open_rig(settings), light=meter) as rig:
        rig.snap()
    assert not meter.begun


def test_the_gate_itself_is_a_rig_that_opens_twice() -> None:
    gate = ProtectedRig(simulated(), LIMITS, Meter())

    def closed() -> None:
        calls = (
            lambda: gate.info,
            lambda: gate.apply(useq.MDAEvent()),
            gate.snap,
            gate.image_format,
            gate.read_state,
            lambda: gate.start_sequence(3),
            gate.start_live,
            gate.sequence_room,
            lambda: gate.read(0.1),
            gate.stop,
            gate.darken,
        )
        for call in calls:
            with pytest.raises(RigError, match=r"not open|with block"):
                call()

    closed()
    for _ in range(2):
        with gate:
            gate.apply(useq.MDAEvent(exposure=10))
            assert gate.snap().meta.seq == 0
        gate.__exit__()
        closed()
