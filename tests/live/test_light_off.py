"""However a run ends, the light is off: in order, by an error, by a signal, by kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mm_test_adapters
import psutil
import pytest
import useq
import yaml

from drivers import ProtectedRig, RigError, open_rig, rig_settings
from drivers.lightsoff import close_shutters_of
from drivers.mmcore import CoreRig
from drivers.mmcore_close import release_core
from drivers.plus import CMMCorePlus, silent
from live.light.guard import TOLD, LightGuard
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder

ADAPTERS = Path(mm_test_adapters.device_adapter_path())
CONFIG = ADAPTERS / "MMConfig_demo.cfg"
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


class Watched:
    """The real demo camera, whose shutters are looked at in the last moment before it is let go."""

    def __init__(self) -> None:
        self.core: Any = None
        self.at_the_end: dict[str, bool] = {}
        self.rig = ProtectedRig(CoreRig(self._open, name="watched", close_core=self._close))

    def _open(self) -> Any:
        self.core = CMMCorePlus(mm_path=str(ADAPTERS))
        with silent():
            self.core.loadSystemConfiguration(str(CONFIG))
        return self.core

    def _close(self, core: Any) -> None:
        for label in ("White Light Shutter", "LED Shutter"):
            self.at_the_end[label] = bool(core.getShutterOpen(label))
        release_core(core)


def in_a_sequence(rig: ProtectedRig, watched: Watched) -> None:
    rig.apply(useq.MDAEvent(exposure=20, channel="DAPI"))
    rig.start_sequence(1000)
    rig.read(5)
    assert watched.core.getShutterOpen(), "the light must be on for this test to mean anything"


def in_live_mode(rig: ProtectedRig, watched: Watched) -> None:
    rig.start_live()
    rig.latest(5)
    assert watched.core.getShutterOpen()


@pytest.mark.parametrize("doing", [in_a_sequence, in_live_mode])
@pytest.mark.parametrize("error", [RuntimeError, RigError, KeyboardInterrupt, SystemExit, None])
def test_an_error_in_mid_exposure_leaves_every_shutter_closed(
    doing: Callable[..., None], error: type[BaseException] | None
) -> None:
    watched = Watched()

    def work() -> None:
        with watched.rig as rig:
            doing(rig, watched)
            if error is not None:
                raise error("in the middle")

    if error is None:
        work()
    else:
        with pytest.raises(error):
            work()
    assert watched.at_the_end == {"White Light Shutter": False, "LED Shutter": False}


def test_a_refusal_leaves_the_light_off() -> None:
    watched = Watched()
    with watched.rig as rig, pytest.raises(RigError):
        rig.apply(useq.MDAEvent(properties=[("White Light Shutter", "State", "1")]))
    assert not any(watched.at_the_end.values())


def test_light_that_was_on_before_goes_off_at_the_start() -> None:
    with ProtectedRig(open_rig(rig_settings({"driver": "simulated"}))) as rig:
        assert not rig.rig.core.getShutterOpen()  # type: ignore[attr-defined]


def test_darken_closes_shutters_that_nobody_uses() -> None:
    watched = Watched()
    with watched.rig as rig:
        watched.core.setShutterOpen("LED Shutter", True)
        watched.core.setShutterOpen("White Light Shutter", True)
        assert rig.darken() == ()
        assert not watched.core.getShutterOpen("LED Shutter")
        assert not watched.core.getShutterOpen("White Light Shutter")


# --- processes ------------------------------------------------------------------------------------

EXPERIMENT: dict[str, Any] = {
    "name": "dark",
    "rig": {
        "driver": "micromanager", "config": "demo", "camera_buffer_mb": 64,
        "startup": [["Camera", "PixelType", "16bit"], ["Camera", "FastImage", "1"]],
    },
    "pipeline": "threshold",
    # One endless hardware sequence: the shutter is open all the time.
    "plan": {
        "channels": [{"config": "DAPI", "exposure": 20}],
        "time_plan": {"interval": 0, "loops": 100_000},
    },
    "inference": {"ring_mb": 32},
    "record": {"labels": False, "reserve_mb": 10},
}  # fmt: skip


@contextmanager
def running(tmp_path: Path, **changes: Any) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    file, out = tmp_path / "e.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(EXPERIMENT | changes), encoding="utf-8")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "live.cli", "run", str(file), "--headless", "--out", str(out),
            "--json", str(tmp_path / "R.json"),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        yield out, process
    finally:
        for child in psutil.Process(process.pid).children() if process.poll() is None else []:
            child.kill()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_frames(out: Path, process: subprocess.Popen[str], count: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no frames"
        try:
            with JournalReader(RunFolder(out).journal) as journal:
                if journal.count("frames") >= count:
                    return
        except Exception:
            pass
        time.sleep(0.05)


def child_of(process: subprocess.Popen[str], module: str) -> psutil.Process:
    for child in psutil.Process(process.pid).children():
        if module in " ".join(child.cmdline()):
            return child
    raise AssertionError(f"{module} does not run")


@posix
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="ctrl-c"),
        pytest.param(signal.SIGTERM, id="sigterm", marks=pytest.mark.slow),
    ],
)
def test_a_signal_in_mid_sequence_ends_dark(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as (out, process):
        wait_frames(out, process, 30)
        guard = child_of(process, "live.light.guard")
        process.send_signal(number)
        text = process.communicate(timeout=60)[0]
        assert process.returncode == 0, text
        psutil.wait_procs([guard], timeout=5)
    report = json.loads((tmp_path / "R.json").read_text())
    assert report["light"]["left_on"] == []
    assert report["frames"]["captured"] == report["frames"]["recorded"] >= 30
    # What was exposed is counted, the frames that nobody read any more included.
    assert report["light"]["frames"] >= report["frames"]["captured"]
    assert report["light"]["total"] == pytest.approx(report["light"]["frames"] * 0.02)
    assert not (out / TOLD).exists()
    assert not psutil.pid_exists(guard.pid)


def test_kill_9_in_mid_sequence_and_the_guard_closes_the_shutters(tmp_path: Path) -> None:
    with running(tmp_path) as (out, process):
        wait_frames(out, process, 30)
        guard, inference = (
            child_of(process, m) for m in ("live.light.guard", "live.processes.inference")
        )
        process.kill()
        process.wait()
        gone, alive = psutil.wait_procs([guard, inference], timeout=30)
        assert len(gone) == 2, alive
    told = (out / TOLD).read_text(encoding="utf-8")
    assert "the imaging process died" in told
    assert "White Light Shutter: closed" in told
    assert "LED Shutter: closed" in told


@pytest.mark.slow
def test_inference_killed_in_mid_sequence_costs_no_light_and_ends_dark(tmp_path: Path) -> None:
    plan = EXPERIMENT["plan"] | {"time_plan": {"interval": 0, "loops": 250}}
    with running(tmp_path, plan=plan) as (out, process):
        wait_frames(out, process, 20)
        child_of(process, "live.processes.inference").kill()
        text = process.communicate(timeout=60)[0]
        assert process.returncode == 0, text
    report = json.loads((tmp_path / "R.json").read_text())
    assert report["light"]["left_on"] == []
    assert report["frames"]["captured"] == 250
    assert report["light"]["frames"] == pytest.approx(250)
    assert report["light"]["total"] == pytest.approx(250 * 0.02)


@pytest.mark.slow
def test_a_cap_ends_the_run_in_order_and_the_next_run_goes_on_from_there(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with running(tmp_path / "one", light={"cap_per_position": 1.0}) as (out, process):
        text = process.communicate(timeout=60)[0]
        assert process.returncode == 0, text
    report = json.loads((tmp_path / "one" / "R.json").read_text())
    assert report["frames"]["captured"] == report["frames"]["recorded"] == 50
    assert "the light budget is spent" in report["exit_reason"]
    assert "light.cap_per_position = 1" in report["exit_reason"]
    assert report["light"]["max_position"] == pytest.approx(1.0)
    assert report["light"]["refused"] == 1
    assert (out / "light.png").is_file()
    with JournalReader(RunFolder(out).journal) as journal:
        logged = [text for (text,) in journal.rows("SELECT text FROM log WHERE kind = 'refused'")]
    assert len(logged) == 1
    light = {"cap_per_position": 1.5, "carry_over": str(out)}
    with running(tmp_path / "two", light=light) as (_, process):
        text = process.communicate(timeout=60)[0]
        assert process.returncode == 0, text
    report = json.loads((tmp_path / "two" / "R.json").read_text())
    assert report["frames"]["captured"] == 25
    assert report["light"]["max_position"] == pytest.approx(1.5)


@pytest.mark.slow
def test_a_place_without_light_left_is_passed_over_while_another_has_some(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    here = EXPERIMENT["plan"] | {"stage_positions": [{"x": 0, "y": 0}]}
    with running(tmp_path / "one", plan=here, light={"cap_per_position": 0.2}) as (out, process):
        text = process.communicate(timeout=60)[0]
        assert process.returncode == 0, text
    both = EXPERIMENT["plan"] | {"stage_positions": [{"x": 0, "y": 0}, {"x": 600, "y": 0}]}
    light = {"cap_per_position": 0.2, "carry_over": str(out)}
    with running(tmp_path / "two", plan=both, light=light) as (_, process):
        text = process.communicate(timeout=60)[0]
        assert process.returncode == 0, text
    report = json.loads((tmp_path / "two" / "R.json").read_text())
    assert report["frames"]["captured"] == 10
    assert "the light budget is spent" in report["exit_reason"]


# --- the guard alone ------------------------------------------------------------------------------


def test_only_what_shutters_need_is_initialised() -> None:
    assert close_shutters_of(CONFIG, ADAPTERS) == {
        "White Light Shutter": "closed",
        "LED Shutter": "closed",
    }


def test_a_shutter_that_is_missing_is_told_and_the_others_are_closed(tmp_path: Path) -> None:
    config = tmp_path / "scope.cfg"
    text = CONFIG.read_text(encoding="utf-8")
    text = text.replace("Device,LED,DemoCamera,DStateDevice", "Device,LED,NoSuchAdapter,Lamp")
    config.write_text(text, encoding="utf-8")
    found = close_shutters_of(config, ADAPTERS)
    assert found["White Light Shutter"] == "closed"
    assert found["LED Shutter"].startswith("not closed: ")


def test_a_guard_whose_owner_ends_in_order_does_nothing(tmp_path: Path) -> None:
    with LightGuard(str(CONFIG), str(ADAPTERS), tmp_path) as guard:
        pid = guard.pid
        assert pid is not None
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
    assert not (tmp_path / TOLD).exists()
    with LightGuard("", "", tmp_path) as none:
        assert none.pid is None
