"""Probe: how fast a camera hands frames over, and what that costs the processor."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import useq
from pydantic import TypeAdapter
from useq._mda_event import Channel

from drivers import Rig, RigSettings, open_rig
from drivers.settings import MicroManagerSettings
from live.doctor.timing import Timing, Watch

READ_TIMEOUT_S = 20.0


def demo_camera(side: int, *, fast: bool = True) -> dict[str, Any]:
    """Settings of Micro-Manager's demo microscope with frames of ``side`` x ``side`` pixels.

    ``fast``: black frames at full speed, which times the way out of Micro-Manager alone.
    """
    startup = [
        ("Camera", "PixelType", "16bit"),
        ("Camera", "BitDepth", "16"),
        ("Camera", "OnCameraCCDXSize", str(side)),
        ("Camera", "OnCameraCCDYSize", str(side)),
        ("Camera", "FastImage", "1" if fast else "0"),
        ("Camera", "Exposure", "0.1"),
    ]
    settings = MicroManagerSettings(
        config="demo", adapters="mm-test-adapters", startup=tuple(startup)
    )
    return settings.model_dump(mode="json")


def time_camera(*, rig: Mapping[str, Any], seconds: float, preset: str = "") -> dict[str, Any]:
    """Time single pictures, then a sequence; the rig's stage and focus are left where they are.

    ``preset`` of the channel group is set first; empty leaves the light path as it is too.
    """
    settings: Any = TypeAdapter(RigSettings).validate_python(dict(rig))
    with open_rig(settings) as opened:
        form = opened.image_format()
        if preset:
            opened.apply(useq.MDAEvent(channel=Channel(config=preset)))
        opened.snap(READ_TIMEOUT_S)
        snap, exposure_ms = _snap(opened, seconds)
        pop = _sequence(opened, seconds, snap.p50_ms)
        info = opened.info
    return {
        "height": form.height,
        "width": form.width,
        "camera": info.camera,
        "rig": info.name,
        "exposure_ms": exposure_ms,
        "snap": snap.to_json(),
        "pop": pop.to_json(),
    }


def _snap(rig: Rig, seconds: float) -> tuple[Timing, float]:
    event = useq.MDAEvent()
    watch, exposure_ms = Watch(), 0.0
    while not watch.samples_ms or (watch.elapsed_s < seconds and len(watch.samples_ms) < 500):
        rig.apply(event)
        exposure_ms = rig.snap(READ_TIMEOUT_S).meta.exposure_ms
        watch.lap()
    return watch.timing(), exposure_ms


def _sequence(rig: Rig, seconds: float, snap_ms: float) -> Timing:
    wanted = int(seconds * 1e3 / max(snap_ms, 1.0)) + 2
    count = max(3, min(wanted, rig.sequence_room(), 500))
    rig.start_sequence(count)
    try:
        watch = Watch()
        deadline = time.monotonic() + 2 * seconds + READ_TIMEOUT_S
        for _ in range(count):
            rig.read(READ_TIMEOUT_S)
            watch.lap()
            if time.monotonic() > deadline:
                break
    finally:
        rig.stop()
    return watch.timing()
