"""The other closed loops, each in a process of its own: ``... closedloop_peers NAME SIZE FRAMES``.

The decision is the same everywhere: an exposure above the threshold is made shorter, one below it
longer. What is printed is JSON: when each exposure ended and began, ns, and how long it was, ms.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mm_test_adapters
import useq

LONG_MS, SHORT_MS, THRESHOLD_MS = 10.0, 9.9, 9.95
TIMEOUT_S = 60.0


def next_ms(exposure_ms: float, image: Any) -> float:
    """The decision; the image is looked at, as any analysis would."""
    dark = float(image[::16, ::16].mean()) < 1e9
    return SHORT_MS if dark and exposure_ms > THRESHOLD_MS else LONG_MS


def _prepare(core: Any, size: int) -> None:
    for name, value in (
        ("PixelType", "16bit"),
        ("OnCameraCCDXSize", str(size)),
        ("OnCameraCCDYSize", str(size)),
        ("FastImage", "1"),
    ):
        core.setProperty("Camera", name, value)


def runner(size: int, frames: int) -> dict[str, list[float]]:
    """pymmcore-plus: ``MDARunner`` fed from a queue, ``frameReady`` puts the next event in."""
    from pymmcore_plus import CMMCorePlus

    folder = mm_test_adapters.device_adapter_path()
    core: Any = CMMCorePlus(mm_path=str(folder))
    core.loadSystemConfiguration(str(Path(folder) / "MMConfig_demo.cfg"))
    _prepare(core, size)
    core.mda.engine.use_hardware_sequencing = False
    ends: list[float] = []
    starts: list[float] = []
    exposures: list[float] = []
    snap = core.snapImage

    def timed() -> None:
        starts.append(time.monotonic_ns())
        snap()
        ends.append(time.monotonic_ns())

    core.snapImage = timed
    events: queue.Queue[useq.MDAEvent | None] = queue.Queue()
    events.put(useq.MDAEvent(exposure=LONG_MS))

    def iterate() -> Iterator[useq.MDAEvent]:
        while (event := events.get(timeout=TIMEOUT_S)) is not None:
            yield event

    def ready(image: Any, event: useq.MDAEvent, _meta: Any) -> None:
        exposures.append(float(event.exposure or 0))
        if len(exposures) >= frames:
            events.put(None)
        else:
            events.put(useq.MDAEvent(exposure=next_ms(exposures[-1], image)))

    core.mda.events.frameReady.connect(ready)
    core.mda.run(iterate())
    return {"ends": ends, "starts": starts, "exposures": exposures}


def pycromanager(size: int, frames: int) -> dict[str, list[float]]:
    """pycro-manager: an image-processing hook that puts the next event in."""
    from mmpycorex import Core
    from pycromanager import Acquisition, start_headless, stop_headless

    folder = Path(mm_test_adapters.device_adapter_path())
    start_headless(str(folder), str(folder / "MMConfig_demo.cfg"), python_backend=True)
    _prepare(Core(convert_camel_case=False), size)
    ends: list[float] = []
    starts: list[float] = []
    exposures: list[float] = []

    def before(event: Any, *_: Any) -> Any:
        starts.append(time.monotonic_ns())
        return event

    def after(event: Any, *_: Any) -> Any:
        ends.append(time.monotonic_ns())
        return event

    def hook(image: Any, _tags: Any, events: Any) -> None:
        exposures.append(asked[-1])
        if len(exposures) >= frames:
            events.put(None)
            return
        asked.append(next_ms(asked[-1], image))
        events.put({"axes": {"time": len(exposures)}, "exposure": asked[-1]})

    asked = [LONG_MS]
    try:
        with Acquisition(
            image_process_fn=hook, post_hardware_hook_fn=before, post_camera_hook_fn=after
        ) as acquisition:
            acquisition.acquire({"axes": {"time": 0}, "exposure": LONG_MS})
            deadline = time.monotonic() + TIMEOUT_S
            while len(exposures) < frames and time.monotonic() < deadline:
                time.sleep(0.05)
    finally:
        stop_headless()
    return {"ends": ends, "starts": starts, "exposures": exposures}


if __name__ == "__main__":
    wanted = {"runner": runner, "pycromanager": pycromanager}[sys.argv[1]]
    sys.stdout.write(json.dumps(wanted(int(sys.argv[2]), int(sys.argv[3]))) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a core that is taken down with the interpreter may abort
