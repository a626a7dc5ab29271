"""The Micro-Manager rig on the real demo adapters: its errors, its limits, its buffer, its end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mm_test_adapters
import pytest
import useq
from pydantic import ValidationError

from drivers import FramesLost, RigError, SettingsError, open_rig, rig_settings
from drivers.mmcore import CoreRig, release_core
from drivers.patience import Patience, TookTooLong
from drivers.plus import CMMCorePlus
from drivers.settings import MicroManagerSettings

LIBS = Path(mm_test_adapters.device_adapter_path())
GREY16 = (("Camera", "PixelType", "16bit"), ("Camera", "BitDepth", "16"))


def rig(**settings: Any) -> CoreRig:
    made = open_rig(
        MicroManagerSettings(**({"camera_buffer_mb": 32, "startup": GREY16} | settings))
    )
    assert isinstance(made, CoreRig)
    return made


def test_says_where_everything_came_from() -> None:
    with rig() as opened:
        info = opened.info
        assert info.config == str(LIBS / "MMConfig_demo.cfg")
        assert info.adapters == str(LIBS)
        assert "pymmcore-plus 0." in info.software
        assert info.camera == "Camera (DemoCamera DCam)"
        assert info.channel_group == "Channel"
        assert info.presets["Channel"] == ("Cy5", "DAPI", "FITC", "Rhodamine")
        assert info.notes == ()


def test_uncalibrated_is_said() -> None:
    with rig(startup=(*GREY16, ("Objective", "Label", "Objective-2"))) as opened:
        assert opened.image_format().pixel_size_um == 0
        assert "pixel size" in opened.info.notes[0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"config": "nowhere.cfg"}, r"nowhere\.cfg does not exist; give a Micro-Manager \.cfg"),
        ({"config": "."}, "is a folder"),
        ({"adapters": "no-such-folder"}, "adapters: folder .*no-such-folder does not exist"),
        ({"startup": (("Camra", "Gain", "1"),)}, "startup: device 'Camra' .*mean 'Camera'"),
        ({"startup": (("Camera", "Gian", "1"),)}, "startup: property of 'Camera' .*mean 'Gain'"),
        ({"startup": (("Camera", "Binning", "3"),)}, "startup: Camera-Binning.*allowed: 1, 2, 4"),
        ({"startup": (("Camera", "PixelType", "32bitRGB"),)}, "colour images .*PixelType"),
        ({"startup": (("Camera", "PixelType", "32bit"),)}, "32-bit images"),
    ],
)
def test_wrong_settings_are_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises((SettingsError, RigError), match=sentence) as caught, rig(**settings):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello\nDevice,X\n", r"line 2 \(Device,X\): Invalid configuration file line"),
        ("Device,Camera,NoSuchAdapter,DCam\n", r"line 1 .*NoSuchAdapter.*adapters from"),
        ("Device,Camera,DemoCamera,DCamm\n", r"line 1 .*DCamm"),
        ("Property,Core,Initialize,1\n", "names no camera; add a line"),
    ],
    ids=["tokens", "adapter", "device", "no camera"],
)
def test_a_broken_configuration_names_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    config = tmp_path / "broken.cfg"
    config.write_text(text)
    opened = rig(config=str(config), adapters="mm-test-adapters", startup=())
    with pytest.raises(SettingsError, match=sentence) as caught, opened:
        pass
    assert "broken.cfg" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="confg"):
        rig_settings({"driver": "micromanager", "confg": "demo"})
    with pytest.raises(ValidationError, match="quote it"):
        rig_settings({"driver": "micromanager", "startup": [["Camera", "Fast", True]]})
    with pytest.raises(ValidationError, match="lower limit"):
        rig_settings({"driver": "micromanager", "limits": {"x_um": [5, -5]}})
    read = rig_settings({"driver": "micromanager", "startup": [["Camera", "BitDepth", 16]]})
    assert isinstance(read, MicroManagerSettings)
    assert read.startup == (("Camera", "BitDepth", "16"),)


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({"x_pos": 101}, r"x to 101\.0 µm, outside the limit x_um = -100\.0 to 100\.0"),
        ({"y_pos": -101}, "y_um"),
        ({"z_pos": 11}, "z_um"),
        ({"exposure": 200}, "max_exposure_ms = 50"),
    ],
)
def test_limits_bind_before_anything_moves(event: dict[str, float], sentence: str) -> None:
    limits = {"x_um": (-100, 100), "y_um": (-100, 100), "z_um": (-10, 10), "max_exposure_ms": 50}
    with rig(limits=limits) as opened:
        with pytest.raises(RigError, match=sentence):
            opened.apply(useq.MDAEvent(**({"x_pos": 50, "z_pos": 5, "exposure": 20} | event)))
        meta = opened.snap().meta
        assert (meta.x_um, meta.z_um, meta.exposure_ms) == (0, 0, 10)
        assert opened.core.getXPosition() == 0
        opened.apply(useq.MDAEvent(x_pos=100, z_pos=-10, exposure=50))


def test_only_what_changed_is_sent() -> None:
    sent: list[str] = []

    class Watched(CMMCorePlus):
        def setXYPosition(self, *args: Any) -> None:
            sent.append("xy")
            super().setXYPosition(*args)

        def setConfig(self, *args: Any) -> None:
            sent.append("preset")
            super().setConfig(*args)

        def setProperty(self, *args: Any) -> None:
            sent.append("property")
            super().setProperty(*args)

        def setExposure(self, *args: Any) -> None:
            sent.append("exposure")
            super().setExposure(*args)

    def open_core() -> CMMCorePlus:
        core = Watched(mm_path=str(LIBS))
        core.loadSystemConfiguration(str(LIBS / "MMConfig_demo.cfg"))
        sent.clear()
        return core

    event = useq.MDAEvent(
        x_pos=5, y_pos=5, channel="DAPI", exposure=7, properties=[("Camera", "Gain", "3")]
    )
    with CoreRig(open_core, name="test", camera_buffer_mb=None) as opened:
        opened.apply(event)
        assert sorted(sent) == ["exposure", "preset", "property", "xy"]
        opened.snap()
        # A property was set after the preset, so the preset alone is sent once more.
        opened.apply(event)
        assert sent[4:] == ["preset"]
        opened.apply(event)
        assert len(sent) == 5


def test_a_stage_that_never_arrives_is_an_error() -> None:
    with rig(ready_timeout_s=0.3) as opened:
        before = time.monotonic()
        with pytest.raises(RigError, match=r"'XY'.*timed out"):
            opened.apply(useq.MDAEvent(x_pos=1e7, y_pos=0))
        assert time.monotonic() - before < 2


def test_an_overflow_is_an_error_after_the_last_good_frame() -> None:
    with rig(camera_buffer_mb=4) as opened:
        opened.apply(useq.MDAEvent(exposure=2))
        opened.start_sequence(None)
        time.sleep(0.4)
        seqs = []
        with pytest.raises(FramesLost, match=r"of 4 MB overflowed.*camera_buffer_mb"):
            seqs.extend(opened.read(1).meta.seq for _ in range(1000))
        opened.stop()
        assert seqs == list(range(8))  # as many as the buffer holds
        assert opened.snap().pixels.any()


def test_the_room_for_a_sequence_is_all_of_it() -> None:
    with rig(camera_buffer_mb=4) as opened:
        opened.apply(useq.MDAEvent(exposure=2))
        room = opened.sequence_room()
        opened.start_sequence(room)
        time.sleep(0.2)
        assert [opened.read(1).meta.seq for _ in range(room)] == list(range(room))
        opened.stop()
        opened.apply(useq.MDAEvent(properties=[("Camera", "Binning", "2")]))
        assert opened.sequence_room() == 4 * room


def test_live_mode_outlives_its_buffer() -> None:
    with rig(camera_buffer_mb=4) as opened:
        opened.apply(useq.MDAEvent(exposure=5))
        opened.start_live()
        seqs: list[int] = []
        deadline = time.monotonic() + 20
        while not seqs or seqs[-1] < 30:  # the buffer holds 8
            assert time.monotonic() < deadline
            seqs.append(opened.latest(2).meta.seq)
            time.sleep(0.02)
        opened.stop()
        assert seqs == sorted(set(seqs))
        assert len(seqs) < 30


def test_a_change_behind_our_back_is_seen() -> None:
    with rig() as opened:
        opened.snap()
        opened.core.setProperty("Camera", "Binning", "2")
        frame = opened.snap()
        assert (frame.pixels.shape, frame.meta.epoch) == ((256, 256), 1)


def test_the_camera_is_left_alone_while_it_runs() -> None:
    with rig() as opened:
        opened.start_live()
        opened.apply(useq.MDAEvent(x_pos=3, channel="DAPI"))
        assert opened.latest(2).meta.x_um == pytest.approx(3, abs=0.1)
        for event in ({"exposure": 33}, {"roi": (0, 0, 8, 8)}):
            with pytest.raises(RigError, match="while a sequence runs"):
                opened.apply(useq.MDAEvent(**event))


def test_light_is_off_when_the_core_is_released() -> None:
    seen: list[bool] = []

    def watch(core: Any) -> None:
        seen.append(any(core.getShutterOpen(s) for s in ("White Light Shutter", "LED Shutter")))
        release_core(core)

    def open_core() -> CMMCorePlus:
        core = CMMCorePlus(mm_path=str(LIBS))
        core.loadSystemConfiguration(str(LIBS / "MMConfig_demo.cfg"))
        core.setAutoShutter(False)
        core.setShutterOpen(True)
        return core

    with CoreRig(open_core, name="test", camera_buffer_mb=None, close_core=watch) as opened:
        opened.start_live()
        assert opened.core.getShutterOpen()
    assert seen == [False]


def test_a_camera_that_ended_by_itself_leaves_the_shutter_alone() -> None:
    with rig() as opened:
        opened.apply(useq.MDAEvent(exposure=2))
        for _ in range(5):
            opened.start_sequence(2)
            while opened.core.isSequenceRunning():
                time.sleep(0.0002)
            opened.stop()
            opened.core.setShutterOpen(True)
            time.sleep(0.03)
            assert opened.core.getShutterOpen()
            opened.core.setShutterOpen(False)


def test_foreign_errors_while_opening_become_ours() -> None:
    def broken() -> CMMCorePlus:
        raise OSError("no such bus")

    with pytest.raises(RigError, match="did not open: no such bus"), CoreRig(broken, name="test"):
        pass


_ENDS = """
from drivers.micromanager import open_micromanager
from drivers.settings import MicroManagerSettings
if __name__ == "__main__":
    with open_micromanager(MicroManagerSettings(camera_buffer_mb=16)) as rig:
        rig.start_sequence(None)
        rig.read(5)
        {how}
"""


@pytest.mark.parametrize(
    ("how", "code"), [("pass", 0), ("raise SystemExit(3)", 3), ("1 / 0", 1)], ids=str
)
def test_the_interpreter_ends_in_order(tmp_path: Path, how: str, code: int) -> None:
    script = tmp_path / "ends.py"
    script.write_text(_ENDS.format(how=how))
    for _ in range(3):  # the abort that this watches for came four times in five
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "FATAL" not in done.stderr


def test_a_call_that_hangs_does_not_hang_its_caller() -> None:
    release = threading.Event()
    patience = Patience("test")
    patience.open()
    assert patience.call(lambda: 41 + 1, 1) == 42
    with pytest.raises(ZeroDivisionError):
        patience.call(lambda: 1 / 0, 1)
    with pytest.raises(TookTooLong):
        patience.call(release.wait, 0.05)
    with pytest.raises(TookTooLong):
        patience.call(lambda: "never started", 0.05)
    assert not patience.close(0.05)
    release.set()
    assert patience.call(lambda: "next", 1) == "next"
    assert patience.late == 1
    assert patience.close(1)
