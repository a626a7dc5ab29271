"""What actions do to a real microscope: MMCore's demo devices, the simulated sample, the tester."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import useq
from acting import Acting, block

from drivers import list_frames
from drivers.settings import MicroManagerSettings
from drivers.simulated.settings import SimulatedSettings
from live.acquire import Acquisition
from live.actions.blocks import Cause
from live.plan.blocks import SetInterval, StopRun, Tell

DEMO = MicroManagerSettings(
    driver="micromanager",
    config="demo",
    adapters="mm-test-adapters",
    startup=[["Camera", "FastImage", "1"]],
    limits={"x_um": (-1000, 1000)},
)
SIMULATED = SimulatedSettings(seed=3, width=256, height=256)
DAPI = {"channels": [{"config": "DAPI", "exposure": 5}]}


def timed(loops: int = 12, interval_s: float = 0.1, **more) -> useq.MDASequence:
    return useq.MDASequence(**DAPI, time_plan={"interval": interval_s, "loops": loops}, **more)


def after(frames: int, *blocks, plan=None):
    """Ask for the blocks once so many frames were taken."""

    def ask(loop: Acquisition) -> None:
        deadline = time.monotonic() + 20
        while loop.counts.captured < frames and time.monotonic() < deadline:
            time.sleep(0.002)
        for one in blocks:
            assert plan.insert(one)

    return ask


def run(tmp_path: Path, plan: useq.MDASequence, *blocks, rig=DEMO, frames: int = 3, **more):
    acting = Acting(tmp_path / "run", plan, rig, **more)
    acting.run(after(frames, *blocks, plan=acting.plan))
    return acting


def test_a_z_stack_runs_through_the_planes_and_the_focus_comes_back(tmp_path):
    one = block({"kind": "zstack", "range_um": 4, "step_um": 1})
    acting = run(tmp_path, timed(), one)
    stack = [row for row in acting.frames() if row[1] == 1]
    assert [row[4] for row in stack] == pytest.approx([-2, -1, 0, 1, 2])
    assert all(row[2] == pytest.approx(30, abs=0.1) for row in stack)
    assert all(row[4] == 0 for row in acting.frames() if row[1] == -1)
    assert acting.ended == [(1, None)]


def test_tiles_lie_round_the_object_without_a_flight_back(tmp_path):
    one = block({"kind": "tile", "rows": 2, "columns": 3, "overlap": 0.5})
    acting = run(tmp_path, timed(), one)
    places = [(row[2], row[3]) for row in acting.frames() if row[1] == 1]
    wanted = [(-98, -64), (30, -64), (158, -64), (158, 64), (30, 64), (-98, 64)]
    assert np.allclose(places, wanted, atol=0.1)


def test_going_to_an_object_with_another_objective_comes_back_with_the_first(tmp_path):
    one = block({"kind": "goto", "preset": "Objective/40X", "frames": 2})
    two = block({"kind": "tile", "rows": 1, "columns": 2, "preset": "Objective/40X"}, 2)
    acting = run(tmp_path, timed(16), one, two, rig=SIMULATED)
    rows = acting.frames("decision, pixel_size_um, x_um, channel")
    assert acting.ended == [(1, None), (2, None)]
    plain = {row[1] for row in rows if row[0] == -1}
    near = {row[1] for row in rows if row[0] != -1}
    assert plain == {0.5}
    assert near == {0.25}
    assert {row[3] for row in rows} == {"DAPI"}
    # The tiles are as far apart as a field of the objective that took them.
    tiles = sorted({round(row[2], 1) for row in rows if row[0] == 2})
    assert max(tiles) - min(tiles) == pytest.approx(0.9 * 256 * 0.25, abs=0.3)


def test_autofocus_finds_the_sample_and_the_plan_goes_on_there(tmp_path):
    start = [useq.MDAEvent(channel="DAPI", exposure=20, z_pos=5.0)]
    later = [
        useq.MDAEvent(channel="DAPI", exposure=20, min_start_time=n / 10) for n in range(1, 40)
    ]
    one = block(
        {"kind": "autofocus", "range_um": 16, "step_um": 2, "exposure_ms": 20},
        meta={"z_um": 5.0},
    )
    acting = Acting(tmp_path / "run", useq.MDASequence(), SIMULATED)
    acting.plan = type(acting.plan)([*start, *later])
    acting.run(after(2, one, plan=acting.plan))
    assert acting.ended == [(1, None)]
    rows = acting.frames("decision, z_um")
    assert rows[0][1] == 5.0
    assert abs(rows[-1][1]) < 0.5
    assert rows[-1][0] == -1


def test_autofocus_that_finds_nothing_says_so_and_the_focus_comes_back(tmp_path):
    one = block({"kind": "autofocus", "range_um": 4, "step_um": 1}, meta={"z_um": 60.0})
    plan = timed(12, z_plan={"absolute": [60.0]})
    acting = run(tmp_path, plan, one, rig=SIMULATED)
    ((number, why),) = acting.ended
    assert number == 1
    assert "autofocus" in why
    assert acting.frames("z_um")[-1] == (60.0,)


def test_a_mask_is_shown_and_the_sample_goes_dark_again(tmp_path):
    one = block(
        {"kind": "stimulate", "radius_px": 20, "exposure_ms": 40},
        slms={"Simulated SLM": (256, 256)},
        slm_affine=SIMULATED.slm_affine,
        place_px=(100.0, 60.0),
    )
    acting = run(tmp_path, timed(), one, rig=SIMULATED)
    assert acting.ended == [(1, None)]
    (shown,) = acting.rig.slm.shown
    y, x = np.nonzero(shown.mask)
    assert (y.mean(), x.mean()) == pytest.approx((100, 60), abs=0.5)
    assert len(y) == pytest.approx(np.pi * 400, rel=0.05)
    assert not acting.rig.slm.lit


def test_a_property_stays_as_it_was_set_and_a_wrong_one_ends_the_block_alone(tmp_path):
    right = {"kind": "set_property", "device": "Camera", "property": "Gain", "value": 3}
    wrong = {"kind": "set_property", "device": "Camera", "property": "Gian", "value": 3}
    seen = []
    acting = Acting(tmp_path / "run", timed(), DEMO)

    def during(loop: Acquisition) -> None:
        after(3, block(right), block(wrong, 2), plan=acting.plan)(loop)
        after(8, plan=acting.plan)(loop)
        seen.append(acting.rig.read_state((), [("Camera", "Gain")]).properties)

    acting.run(during)
    assert seen == [{("Camera", "Gain"): "3"}]
    assert acting.ended[0] == (1, None)
    assert "did you mean 'Gain'" in acting.ended[1][1]


def test_a_preset_for_some_frames_and_then_the_one_before(tmp_path):
    one = block({"kind": "preset", "group": "Channel", "config": "FITC", "for_frames": 3})
    acting = run(tmp_path, timed(), one)
    channels = [row[0] for row in acting.frames("channel")]
    assert channels.count("FITC") == 3
    first = channels.index("FITC")
    assert channels[first : first + 3] == ["FITC"] * 3
    assert channels[-1] == "DAPI"


def test_another_group_s_preset_stays_until_told_otherwise(tmp_path):
    one = block({"kind": "preset", "group": "Objective", "config": "40X"})
    acting = run(tmp_path, timed(), one, rig=SIMULATED)
    sizes = [row[0] for row in acting.frames("pixel_size_um")]
    assert sizes[0] == 0.5
    assert sizes[-1] == 0.25


def test_recentring_moves_the_plan_along_with_the_object(tmp_path):
    near = block({"kind": "recentre", "min_shift_um": 50})
    far = block({"kind": "recentre", "min_shift_um": 5}, 2)
    acting = run(tmp_path, timed(), near, far)
    assert acting.ended == [(1, None), (2, None)]
    assert acting.frames()[-1][2] == pytest.approx(30, abs=0.1)
    assert acting.frames()[-1][1] == -1


def test_an_action_list_is_carried_out_in_order(tmp_path):
    several = [
        {"kind": "zstack", "range_um": 2, "step_um": 1},
        {"kind": "notify", "url": "http://127.0.0.1:9/", "text": "look"},
        {"kind": "burst", "frames": 4, "interval_ms": 0},
        {"kind": "stop"},
    ]
    acting = run(tmp_path, timed(), block(several))
    rows = [row for row in acting.frames() if row[1] == 1]
    assert [row[4] for row in rows] == pytest.approx([-1, 0, 1, 0, 0, 0, 0])
    tell, stop = acting.effects
    assert isinstance(tell, Tell)
    assert tell.text == "look"
    assert isinstance(stop, StopRun)
    assert acting.started == [1]
    assert acting.ended == [(1, None)]


def test_the_interval_changes_and_comes_back(tmp_path):
    one = block({"kind": "interval", "seconds": 0.05, "for_s": 0.6}, interval_s=0.4)
    assert one.effect == SetInterval(0.05, 0.6)
    acting = run(tmp_path, timed(20, 0.4), one, interval_s=0.4)
    apart = np.diff([row[5] for row in acting.frames()]) / 1e9
    assert apart[0] == pytest.approx(0.4, abs=0.1)
    assert np.count_nonzero(apart < 0.1) == pytest.approx(11, abs=3)
    assert apart[-1] == pytest.approx(0.4, abs=0.1)


def test_a_plug_in_s_events_are_its_decision_s(tmp_path):
    def cross(cause: Cause, params: dict) -> list[useq.MDAEvent]:
        far = params["far_um"]
        return [useq.MDAEvent(x_pos=x, y_pos=0.0, exposure=5) for x in (-far, far)]

    settings = {"kind": "plugin", "name": "cross", "params": {"far_um": 12}}
    acting = run(tmp_path, timed(), block(settings, plugins={"cross": cross}))
    assert [round(row[2]) for row in acting.frames() if row[1] == 1] == [-12, 12]
    with pytest.raises(ValueError, match="no action 'cross'"):
        block(settings)


def test_a_higher_rule_breaks_into_a_hardware_sequence_at_a_frame(tmp_path):
    long = block({"kind": "burst", "frames": 150, "interval_ms": 0})
    urgent = block({"kind": "burst", "frames": 3, "interval_ms": 0}, 2, priority=5)
    acting = Acting(tmp_path / "run", timed(6), DEMO)

    def during(loop: Acquisition) -> None:
        after(2, long, plan=acting.plan)(loop)
        after(30, urgent, plan=acting.plan)(loop)

    acting.run(during)
    decisions = [row[1] for row in acting.frames()]
    assert decisions.count(1) == 150
    assert decisions.count(2) == 3
    first = decisions.index(2)
    assert decisions[first - 1] == 1
    assert 1 in decisions[first:]
    assert acting.ended == [(2, None), (1, None)]


def test_the_red_button_ends_a_burst_at_the_next_frame(tmp_path):
    long = block({"kind": "burst", "frames": 5000, "interval_ms": 0})
    acting = Acting(tmp_path / "run", timed(6), DEMO)

    def during(loop: Acquisition) -> None:
        after(2, long, plan=acting.plan)(loop)
        after(30, plan=acting.plan)(loop)
        acting.plan.cancel("disarmed by a test")

    acting.run(during)
    assert acting.ended == [(1, "disarmed by a test")]
    decisions = [row[1] for row in acting.frames()]
    assert decisions.count(1) < 200
    assert decisions[-1] == -1


def test_two_objects_in_one_field_are_one_burst(tmp_path):
    one = block({"kind": "burst", "frames": 3, "interval_ms": 0}, 1)
    two = block({"kind": "burst", "frames": 3, "interval_ms": 0}, 2, place_um=(50.0, 20.0))
    far = block({"kind": "burst", "frames": 3, "interval_ms": 0}, 3, place_um=(-400.0, 0.0))
    acting = Acting(tmp_path / "run", timed(), DEMO)
    assert acting.plan.insert(one).merged_into is None
    assert acting.plan.insert(two).merged_into == 1
    assert acting.plan.insert(far).merged_into is None
    acting.run()
    assert sorted(acting.ended) == [(1, None), (2, None), (3, None)]
    both = [row for row in acting.frames() if row[1] == 1]
    assert len(both) == 3
    assert (both[0][2], both[0][3]) == pytest.approx((40, 10), abs=0.1)


TESTER = """\
Property,Core,Initialize,0
Device,THub,SequenceTester,THub
Device,TCamera-0,SequenceTester,TCamera-0
Parent,TCamera-0,THub
Property,TCamera-0,ImageMode,MachineReadable
Property,TCamera-0,ImageWidth,256
Property,TCamera-0,ImageHeight,256
Property,Core,Initialize,1
Property,Core,Camera,TCamera-0
"""


def serial_number(pixels: np.ndarray) -> int:
    """The tester's own count of exposures, which it writes into each image."""
    data = bytes(pixels.ravel()).rstrip(b"\0")
    for zeros in range(64):  # what was cut off may have been zeros of its own
        try:
            return msgspec.msgpack.decode(data + b"\0" * zeros)[1][1]
        except msgspec.DecodeError:
            continue
    raise AssertionError("the image holds no packet")


def test_a_hardware_burst_at_full_rate_loses_no_frame_of_200(tmp_path):
    config = tmp_path / "tester.cfg"
    config.write_text(TESTER)
    rig = MicroManagerSettings(config=str(config), adapters="mm-test-adapters")
    plan = useq.MDASequence(time_plan={"interval": 0.05, "loops": 20})
    event = useq.MDAEvent(exposure=2, metadata={"parfocal": {"decision": 1}})
    burst = block({"kind": "burst", "frames": 200, "interval_ms": 0, "centre": False})
    acting = Acting(tmp_path / "run", plan, rig)
    burst = type(burst)(1, (event,) * 200)
    acting.run(after(3, burst, plan=acting.plan))
    assert acting.ended == [(1, None)]
    decisions = [row[1] for row in acting.frames()]
    assert decisions.count(1) == 200
    source = list_frames(str(acting.folder.path))
    try:
        serials = [serial_number(source.read(number)) for number in range(len(decisions))]
    finally:
        source.close()
    # Consecutive over snaps, burst and snaps again: nothing was exposed that is not on disk.
    assert serials == list(range(serials[0], serials[0] + len(decisions)))
