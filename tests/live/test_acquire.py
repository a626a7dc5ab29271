"""The acquisition loop on MMCore's own demo camera: every frame once, bursts first, then home."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import useq
from acting import Acting

from drivers.settings import MicroManagerSettings
from live.acquire import Acquisition, Pace
from live.plan.plan import Burst, Plan
from live.recording.journal_reader import JournalReader

CAMERA = MicroManagerSettings(
    driver="micromanager",
    config="demo",
    adapters="mm-test-adapters",
    startup=[["Camera", "FastImage", "1"]],
    limits={"x_um": (-1000, 1000)},
)
COLUMNS = "seq, decision, x_um, captured_ns"
FAST = {"channels": [{"config": "DAPI", "exposure": 5}]}


def bench_of(folder: Path, plan: useq.MDASequence) -> Acting:
    return Acting(folder, plan, CAMERA)


def test_a_fast_plan_is_a_hardware_sequence_and_every_frame_is_kept(tmp_path):
    bench = bench_of(
        tmp_path / "run", useq.MDASequence(**FAST, time_plan={"interval": 0, "loops": 60})
    )
    loop = bench.run()
    assert loop.counts.captured == 60
    assert [row[0] for row in bench.frames(COLUMNS)] == list(range(60))


def test_a_timed_plan_keeps_its_rhythm(tmp_path):
    plan = useq.MDASequence(**FAST, time_plan={"interval": 0.1, "loops": 8})
    bench = bench_of(tmp_path / "run", plan)
    bench.run()
    times = [row[3] / 1e9 for row in bench.frames(COLUMNS)]
    assert len(times) == 8
    assert times[-1] - times[0] == pytest.approx(0.7, abs=0.15)


@pytest.mark.parametrize(
    "interval_s", [pytest.param(0.02, id="timed"), pytest.param(0.0, id="hardware")]
)
def test_a_burst_pre_empts_images_at_its_place_and_leads_home(tmp_path, interval_s):
    plan = useq.MDASequence(
        **FAST, stage_positions=[{"x": 5, "y": 6}], time_plan={"interval": 0.15, "loops": 8}
    )
    bench = bench_of(tmp_path / "run", plan)

    def ask(loop: Acquisition) -> None:
        while loop.counts.captured < 3:
            time.sleep(0.005)
        event = useq.MDAEvent(x_pos=40.0, y_pos=50.0, metadata={"parfocal": {"decision": 7}})
        assert bench.plan.insert(Burst(7, (event,) * 5, interval_s))

    bench.run(ask)
    rows = bench.frames(COLUMNS)
    burst = [row[0] for row in rows if row[1] == 7]
    assert len(burst) == 5
    assert burst == list(range(burst[0], burst[0] + 5))
    assert all(row[2] == pytest.approx(40, abs=0.1) for row in rows if row[1] == 7)
    assert all(row[2] == pytest.approx(5, abs=0.1) for row in rows if row[1] == -1)
    assert len(rows) == 13
    assert bench.started == [7]
    assert bench.ended == [(7, None)]


def test_a_burst_breaks_into_a_running_hardware_sequence(tmp_path):
    plan = useq.MDASequence(**FAST, time_plan={"interval": 0, "loops": 150})
    bench = bench_of(tmp_path / "run", plan)

    def ask(loop: Acquisition) -> None:
        while loop.counts.captured < 20:
            time.sleep(0.002)
        event = useq.MDAEvent(metadata={"parfocal": {"decision": 1}})
        assert bench.plan.insert(Burst(1, (event,) * 4, 0.0))

    loop = bench.run(ask)
    decisions = [row[1] for row in bench.frames(COLUMNS)]
    first = decisions.index(1)
    assert 20 <= first <= 60
    assert decisions.count(1) == 4
    assert decisions.count(-1) == 150
    assert loop.counts.captured == 154


def test_a_burst_beyond_the_stage_limits_is_refused_and_the_plan_goes_on(tmp_path):
    plan = useq.MDASequence(**FAST, time_plan={"interval": 0.05, "loops": 6})
    bench = bench_of(tmp_path / "run", plan)
    event = useq.MDAEvent(x_pos=99_999.0, metadata={"parfocal": {"decision": 3}})
    assert bench.plan.insert(Burst(3, (event,) * 5, 0.0))
    loop = bench.run()
    ((number, why),) = bench.ended
    assert number == 3
    assert "limit" in why
    assert loop.counts.captured == 6


def test_stop_ends_within_an_exposure_and_a_little(tmp_path):
    plan = useq.MDASequence(
        channels=[{"config": "DAPI", "exposure": 200}], time_plan={"interval": 0, "loops": 1000}
    )
    bench = bench_of(tmp_path / "run", plan)
    asked = []

    def ask(loop: Acquisition) -> None:
        while loop.counts.captured < 2:
            time.sleep(0.01)
        asked.append(time.monotonic())
        bench.stop.set()
        bench.plan.close()

    bench.run(ask)
    assert time.monotonic() - asked[0] < 0.2 + 1.0 + 1.5  # closing files and devices included


def test_recorded_data_waits_for_its_analysis_and_gives_up_at_last():
    pace = Pace(ahead=2, timeout_s=0.3)
    stop = threading.Event()
    began = time.monotonic()
    pace.wait(1, stop)
    assert time.monotonic() - began < 0.2
    answer = threading.Timer(0.1, pace.answered, (3,))
    answer.start()
    pace.wait(5, stop)
    answer.join()
    assert pace.gave_up == 0
    pace.wait(9, stop)
    assert pace.gave_up == 1


def test_binning_depth_and_roi_may_change_in_mid_run(tmp_path):
    camera = ("Camera",)
    changes = [
        {},
        {"properties": [(*camera, "Binning", "2")]},
        {"properties": [(*camera, "PixelType", "8bit")]},
        {"properties": [(*camera, "Binning", "1"), (*camera, "PixelType", "16bit")]},
        {"roi": {"offset_x": 32, "offset_y": 16, "width": 128, "height": 64}},
    ]
    events = [useq.MDAEvent(exposure=5, **change) for change in changes for _ in range(2)]
    bench = bench_of(tmp_path / "run", useq.MDASequence())
    bench.plan = Plan(events)
    loop = bench.run()
    assert loop.counts.captured == 10
    with JournalReader(bench.folder.journal) as journal:
        rows = list(journal.rows("SELECT epoch, height, width, dtype FROM frames ORDER BY seq"))
    assert rows[0] == (0, 512, 512, "uint16")
    assert rows[2] == (1, 256, 256, "uint16")
    assert rows[4][1:] == (256, 256, "uint8")
    assert rows[6][1:] == (512, 512, "uint16")
    assert rows[8][1:] == (64, 128, "uint16")
    assert len(bench.folder.stores()) == 5
