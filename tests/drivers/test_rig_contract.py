"""One suite for every rig: what `drivers.rig.Rig` promises."""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import useq

from drivers import CameraTimeout, Rig, RigError, open_rig, rig_settings

Make = Callable[..., Any]
SHOWS = 400.0
"""Exposure, ms, that no test waits for."""

_CORE = {
    "startup": [
        ["Camera", "PixelType", "16bit"],
        ["Camera", "BitDepth", 16],
        ["Camera", "Exposure", 10],
    ],
    "camera_buffer_mb": 64,
}


@pytest.fixture(params=["micromanager", "simulated", "pycromanager", "replay"])
def kind(request: pytest.FixtureRequest) -> str:
    needed = {"simulated": "drivers.simulated", "pycromanager": "mmpycorex"}
    module = needed.get(request.param)
    if module and importlib.util.find_spec(module) is None:
        pytest.skip(f"{request.param}: {module} is not installed")
    return str(request.param)


@pytest.fixture
def make(kind: str, tmp_path: Path) -> Make:
    """Gives a closed rig; ``slow``: a frame of it takes long."""

    def rig(slow: bool = False) -> Rig:
        if kind == "replay":
            stack = np.arange(600 * 48 * 64, dtype=np.uint32).reshape(600, 48, 64) % 50_021
            path = tmp_path / "stack.tif"
            tifffile.imwrite(path, stack.astype(np.uint16))
            interval_ms = SHOWS if slow else 10
            return open_rig(
                rig_settings({"driver": kind, "path": str(path), "interval_ms": interval_ms})
            )
        settings: dict[str, Any] = {"driver": kind}
        if kind == "micromanager":
            settings |= _CORE
        if kind == "pycromanager":
            settings |= {"mode": "headless"} | _CORE
        return open_rig(rig_settings(settings))

    return rig


def expose(rig: Any, exposure_ms: float) -> None:
    rig.apply(useq.MDAEvent(exposure=exposure_ms))


def test_outside_the_block_every_call_says_so(make: Make) -> None:
    rig = make()

    def calls() -> None:
        for call in (
            lambda: rig.info,
            rig.image_format,
            lambda: rig.apply(useq.MDAEvent()),
            rig.snap,
            lambda: rig.start_sequence(3),
            rig.sequence_room,
            rig.start_live,
            lambda: rig.read(0.1),
            lambda: rig.latest(0.1),
            rig.stop,
        ):
            with pytest.raises(RigError, match=r"not open|with block"):
                call()

    calls()
    with rig:
        pass
    calls()


def test_opens_again_and_closes_twice(make: Make) -> None:
    rig = make()
    for _ in range(2):
        with rig:
            assert rig.snap().meta.seq == 0
            with pytest.raises(RigError, match="open"):
                rig.__enter__()
            assert rig.snap().meta.seq == 1
        rig.__exit__()


def test_a_snap_has_the_promised_form(make: Make, kind: str) -> None:
    with make() as rig:
        expose(rig, 12)
        form = rig.image_format()
        before = time.monotonic_ns()
        frame = rig.snap()
        after = time.monotonic_ns()
        assert frame.pixels.shape == (form.height, form.width)
        assert frame.pixels.dtype == form.dtype == "uint16"
        assert frame.pixels.flags.c_contiguous
        assert frame.pixels.std() > 0
        assert before <= frame.meta.captured_ns <= frame.meta.popped_ns <= after
        assert frame.meta.exposure_ms == 12
        assert (frame.meta.bit_depth, frame.meta.epoch) == (form.bit_depth, 0)
        assert frame.meta.pixel_size_um == form.pixel_size_um
        assert rig.info.name == kind


def test_frames_own_their_pixels(make: Make) -> None:
    with make() as rig:
        first = rig.snap()
        copy = first.pixels.copy()
        rig.snap()
        rig.start_sequence(4)
        frames = [rig.read(5) for _ in range(4)]
        copies = [frame.pixels.copy() for frame in frames]
        rig.stop()
        rig.snap()
        assert np.array_equal(first.pixels, copy)
        assert all(np.array_equal(f.pixels, c) for f, c in zip(frames, copies, strict=True))
        assert not np.array_equal(copies[0], copies[3])


@pytest.mark.parametrize("count", [12, None], ids=["counted", "endless"])
def test_a_sequence_gives_every_frame(make: Make, count: int | None) -> None:
    with make() as rig:
        expose(rig, 10)
        rig.snap()
        rig.start_sequence(count)
        frames = [rig.read(5) for _ in range(12)]
        if count is not None:
            with pytest.raises(RigError, match="read; call stop"):
                rig.read(5)
        rig.stop()
        assert [frame.meta.seq for frame in frames] == list(range(1, 13))
        captured = [frame.meta.captured_ns for frame in frames]
        assert captured == sorted(captured)
        assert all(f.meta.captured_ns <= f.meta.popped_ns for f in frames)
        pairs = itertools.pairwise(frames)
        assert not any(np.array_equal(a.pixels, b.pixels) for a, b in pairs)
        assert rig.snap().meta.seq >= 13


def test_a_late_reader_loses_nothing(make: Make) -> None:
    with make() as rig:
        expose(rig, 5)
        rig.start_sequence(10)
        time.sleep(0.6)
        before = time.monotonic_ns()
        frames = [rig.read(5) for _ in range(10)]
        rig.stop()
        assert [frame.meta.seq for frame in frames] == list(range(10))
        # They were captured while nobody looked, and say so.
        assert frames[1].meta.captured_ns < before + 20e6


def test_a_sequence_that_fits_its_room_waits_for_its_reader(make: Make) -> None:
    with make() as rig:
        expose(rig, 1)
        rig.apply(useq.MDAEvent(roi=(0, 0, 48, 32)))
        assert rig.sequence_room() >= 100
        rig.start_sequence(100)
        time.sleep(0.3)
        assert [rig.read(5).meta.seq for _ in range(100)] == list(range(100))
        rig.stop()


def test_live_gives_the_newest_and_counts_the_rest(make: Make) -> None:
    with make() as rig:
        expose(rig, 10)
        rig.start_live()
        first = rig.latest(5)
        second = rig.latest(5)
        time.sleep(0.4)
        third = rig.latest(5)
        fourth = rig.latest(5)
        rig.stop()
        seqs = [frame.meta.seq for frame in (first, second, third, fourth)]
        assert seqs == sorted(set(seqs))
        assert 3 <= seqs[2] - seqs[1] <= 60
        assert third.meta.captured_ns - second.meta.captured_ns > 0.2e9


def test_modes_do_not_mix_and_stop_is_idempotent(make: Make) -> None:
    with make() as rig:
        rig.stop()
        with pytest.raises(RigError, match="first"):
            rig.read(0.1)
        with pytest.raises(RigError, match="first"):
            rig.latest(0.1)
        rig.start_live()
        for call in (rig.snap, rig.start_live, lambda: rig.start_sequence(2), lambda: rig.read(1)):
            with pytest.raises(RigError, match="first"):
                call()
        rig.stop()
        rig.stop()
        with pytest.raises(RigError):
            rig.start_sequence(0)
        rig.snap()


def test_left_in_the_middle_of_a_sequence(make: Make) -> None:
    rig = make()

    def fail() -> None:
        with rig:
            rig.start_sequence(None)
            rig.read(5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    with rig:
        assert rig.snap().meta.seq == 0


def test_waits_end(make: Make) -> None:
    with make(slow=True) as rig:
        expose(rig, SHOWS)
        rig.snap(5)
        for start, wait in (
            (lambda: rig.start_sequence(3), rig.read),
            (rig.start_live, rig.latest),
            (lambda: None, rig.snap),
        ):
            start()
            before = time.monotonic()
            with pytest.raises(CameraTimeout, match=r"0\.1 s"):
                wait(0.1)
            assert time.monotonic() - before < 0.6
            rig.stop()


def test_an_event_goes_into_the_frames(make: Make, kind: str) -> None:
    event = useq.MDAEvent(
        index={"t": 3, "p": 1},
        pos_name="well B",
        x_pos=25.0,
        y_pos=-10.0,
        z_pos=2.0,
        exposure=15,
        metadata={"parfocal": {"decision": 7}},
    )
    with make() as rig:
        start = rig.snap().meta
        rig.apply(event)
        meta = rig.snap().meta
        assert (meta.index, meta.pos_name, meta.decision) == ({"t": 3, "p": 1}, "well B", 7)
        assert meta.exposure_ms == 15
        where = (start.x_um, start.y_um, start.z_um) if kind == "replay" else (25, -10, 2)
        assert (meta.x_um, meta.y_um, meta.z_um) == pytest.approx(where, abs=0.1)
        rig.apply(useq.MDAEvent())
        later = rig.snap().meta
        assert (later.x_um, later.exposure_ms) == (meta.x_um, 15)
        assert (later.index, later.decision) == ({}, -1)


def test_presets(make: Make, kind: str) -> None:
    with make() as rig:
        group = rig.info.channel_group
        if kind == "replay":
            assert not group
            pytest.skip("recorded frames have no presets")
        real = rig.info.presets[group]
        for preset in real[:2]:
            rig.apply(useq.MDAEvent(channel={"config": preset, "group": group}))
            assert rig.snap().meta.channel == preset
        wrong = real[0] + "x"
        with pytest.raises(RigError) as caught:
            rig.apply(useq.MDAEvent(channel={"config": wrong, "group": group}))
        assert f"did you mean '{real[0]}'" in str(caught.value)
        assert all(preset in str(caught.value) for preset in real)


def test_an_unknown_device_or_property_is_refused(make: Make, kind: str) -> None:
    with make() as rig:
        with pytest.raises(RigError, match="device 'Camra' does not exist"):
            rig.apply(useq.MDAEvent(properties=[("Camra", "Binning", "2")]))
        if kind != "replay":
            camera = rig.info.camera.split(" (")[0]
            with pytest.raises(RigError, match="did you mean 'Binning'"):
                rig.apply(useq.MDAEvent(properties=[(camera, "Bining", "2")]))


def test_another_format_is_another_epoch(make: Make, kind: str) -> None:
    with make() as rig:
        whole = rig.snap()
        rig.apply(useq.MDAEvent(roi=(8, 4, 32, 24)))
        assert (rig.image_format().height, rig.image_format().width) == (24, 32)
        cut = rig.snap()
        assert (cut.pixels.shape, cut.meta.epoch) == ((24, 32), 1)
        rig.apply(useq.MDAEvent(roi=(8, 4, 32, 24)))
        assert rig.snap().meta.epoch == 1
        assert (whole.meta.epoch, cut.meta.seq) == (0, 1)


def test_binning_is_another_epoch(make: Make, kind: str) -> None:
    with make() as rig:
        if kind == "replay":
            pytest.skip("recorded frames cannot be binned")
        camera = rig.info.camera.split(" (")[0]
        whole = rig.snap()
        rig.apply(useq.MDAEvent(properties=[(camera, "Binning", "2")]))
        half = rig.snap()
        assert half.pixels.shape == (whole.pixels.shape[0] // 2, whole.pixels.shape[1] // 2)
        assert half.meta.epoch == 1
        assert half.meta.pixel_size_um == pytest.approx(2 * whole.meta.pixel_size_um)
        rig.start_sequence(3)
        assert [rig.read(5).pixels.shape for _ in range(3)] == [half.pixels.shape] * 3
        rig.stop()


def test_light_is_on_only_while_imaging(make: Make, kind: str) -> None:
    with make() as rig:
        if kind == "replay":
            pytest.skip("recorded frames need no light")
        rig.start_live()
        rig.latest(5)
        assert rig.core.getShutterOpen()
        rig.stop()
        assert not rig.core.getShutterOpen()
