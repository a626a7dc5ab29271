"""The sending processes of the acquisition benchmark: one contestant, one run, its rate as JSON.

All drive the same DemoCamera, with ``FastImage`` and an exposure of 0 (its own lowest), from a core
buffer of the same size. ``backlog`` fills that buffer first: each contestant is held at its first
frame until the camera has finished, so that what follows is not limited by the camera. All begin as
our process that owns the camera does (``live.processes.pastcaches``), so what that gains all gain.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import mm_test_adapters
import msgspec
import numpy as np
import useq
import zmq

from benchmarks.acquire_read import QUEUE, TIMEOUT_S, Found, Lost
from drivers import FrameSender, open_rig
from drivers.frame import Frame
from drivers.micromanager import TEST_ADAPTERS
from drivers.ring import FrameRing
from drivers.settings import MicroManagerSettings
from live.acquire import Acquisition, Outlets, Pace
from live.ledger import Ledger
from live.plan.plan import Plan
from live.processes.pastcaches import begin_past_caches
from live.recording.recorder import Recorder

BUFFER_MB = 1024
AHEAD = 24
"""Unconfirmed frames that ours may have under way; the ring has room for 31 or more."""


@dataclass(frozen=True, slots=True)
class Task:
    """One run of one contestant."""

    size: int
    frames: int
    backlog: bool

    @property
    def skip(self) -> int:
        """Frames before the clock starts: what starting costs is not compared."""
        return 1 if self.backlog else max(1, self.frames // 10)


def startup(size: int) -> tuple[tuple[str, str, str], ...]:
    """Properties of the camera for full speed."""
    return (
        ("Camera", "PixelType", "16bit"),
        ("Camera", "OnCameraCCDXSize", str(size)),
        ("Camera", "OnCameraCCDYSize", str(size)),
        ("Camera", "FastImage", "1"),
        ("Camera", "Exposure", "0"),
    )


def send_ours(task: Task) -> Found:
    """The product's own acquisition loop: rig, ring, descriptor; nothing is recorded."""
    settings = MicroManagerSettings(
        driver="micromanager",
        config="demo",
        adapters=TEST_ADAPTERS,
        camera_buffer_mb=BUFFER_MB,
        startup=startup(task.size),
    )
    with ExitStack() as stack:
        rig = stack.enter_context(open_rig(settings))
        context = _context(stack)
        ring = FrameRing()
        stack.callback(ring.close)
        sender = stack.enter_context(FrameSender(context))
        pace = Pace(AHEAD, TIMEOUT_S)
        hold = _hold(rig.core if task.backlog else None)  # type: ignore[attr-defined]
        plan = Plan(_plan(task))
        loop = Acquisition(
            rig,
            plan,
            Outlets(ring, cast(Recorder, _NotKept(hold)), Ledger(), sender),
            pace=pace,
            on_burst=lambda _number, _problem: None,
            on_burst_start=lambda _number: None,
        )
        with _reader(task, sender.address, context, pace.answered, ours=True) as answer:
            loop.run(threading.Event())
            found = answer()
        if loop.counts.captured != task.frames or sender.drops or pace.gave_up:
            raise Lost(f"{loop.counts}; dropped {dict(sender.drops)}, {pace.gave_up} waits")
        return found


def send_raw(task: Task) -> Found:
    """``popNextImage`` in a loop, pixels through pyzmq without a copy in Python."""
    core = _bare_core(task.size)
    with ExitStack() as stack:
        context = _context(stack)
        send, address = _zmq_sender(stack, context)
        hold = _hold(core if task.backlog else None)
        with _reader(task, address, context) as answer:
            for number, pixels in enumerate(_popped(core, task.frames)):
                send(number, pixels)
                hold()
            return answer()


def send_nothing(task: Task) -> Found:
    """``popNextImage`` in a loop, and nothing else."""
    core = _bare_core(task.size)
    began = 0.0
    for number, _ in enumerate(_popped(core, task.frames)):
        if number == task.skip:
            began = time.perf_counter()
    return Found(task.frames - 1 - task.skip, time.perf_counter() - began)


def send_runner(task: Task) -> Found:
    """pymmcore-plus: hardware-sequenced ``MDARunner``, ``frameReady`` sends through pyzmq."""
    from pymmcore_plus import CMMCorePlus

    folder = mm_test_adapters.device_adapter_path()
    core = CMMCorePlus(mm_path=str(folder))
    _configure(core, task.size)
    engine: Any = core.mda.engine
    engine.use_hardware_sequencing = True
    with ExitStack() as stack:
        context = _context(stack)
        send, address = _zmq_sender(stack, context)
        hold = _hold(core if task.backlog else None)
        count = iter(range(task.frames))

        def ready(image: Any, _event: useq.MDAEvent, _meta: Any) -> None:
            send(next(count), image)
            hold()

        core.mda.events.frameReady.connect(ready)
        plan = _plan(task)
        with _reader(task, address, context) as answer:
            core.mda.run(plan)
            return answer()


def send_pycromanager(task: Task) -> Found:
    """pycro-manager: ``Acquisition`` with an image-processing hook that sends through pyzmq."""
    from mmpycorex import Core
    from pycromanager import Acquisition as Peer
    from pycromanager import multi_d_acquisition_events, start_headless, stop_headless

    folder = Path(mm_test_adapters.device_adapter_path())
    start_headless(
        str(folder), str(folder / "MMConfig_demo.cfg"), python_backend=True,
        buffer_size_mb=BUFFER_MB,
    )  # fmt: skip
    core = Core(convert_camel_case=False)
    for device, name, value in startup(task.size):
        core.setProperty(device, name, value)
    with ExitStack() as stack:
        stack.callback(stop_headless)
        context = _context(stack)
        send, address = _zmq_sender(stack, context)
        hold = _hold(core if task.backlog else None)
        count = iter(range(task.frames))

        def hook(image: Any, _tags: Any) -> None:
            send(next(count), image)
            hold()

        with _reader(task, address, context) as answer:
            with Peer(image_process_fn=hook) as acquisition:
                acquisition.acquire(
                    multi_d_acquisition_events(num_time_points=task.frames, time_interval_s=0)
                )
            return answer()


CONTESTANTS: dict[str, Callable[[Task], Found]] = {
    "ours": send_ours,
    "nothing": send_nothing,
    "raw": send_raw,
    "runner": send_runner,
    "pycromanager": send_pycromanager,
}


def _plan(task: Task) -> useq.MDASequence:
    return useq.MDASequence(time_plan=useq.TIntervalLoops(interval=timedelta(0), loops=task.frames))


class _NotKept:
    """Takes frames as the recorder does, and keeps none: the peers keep none either."""

    def __init__(self, hold: Callable[[], None]) -> None:
        self._hold = hold

    def submit(self, _frame: Frame, /) -> None:
        """Let the frame go."""
        self._hold()


def _hold(core: Any) -> Callable[[], None]:
    """Called after each frame: after the first it waits until the camera has filled the buffer."""
    held = core is None

    def hold() -> None:
        nonlocal held
        if held:
            return
        held = True
        deadline = time.monotonic() + TIMEOUT_S
        while core.isSequenceRunning():
            if time.monotonic() > deadline:
                raise Lost("the camera did not finish its sequence")
            time.sleep(0.01)

    return hold


def _configure(core: Any, size: int) -> None:
    core.loadSystemConfiguration(
        str(Path(mm_test_adapters.device_adapter_path()) / "MMConfig_demo.cfg")
    )
    core.setCircularBufferMemoryFootprint(BUFFER_MB)
    for device, name, value in startup(size):
        core.setProperty(device, name, value)


def _bare_core(size: int) -> Any:
    import pymmcore

    core = pymmcore.CMMCore()
    core.setDeviceAdapterSearchPaths([str(mm_test_adapters.device_adapter_path())])
    _configure(core, size)
    return core


def _popped(core: Any, frames: int) -> Iterator[Any]:
    core.startSequenceAcquisition(frames, 0, True)
    deadline = time.monotonic() + TIMEOUT_S * 4
    for number in range(frames):
        while not core.getRemainingImageCount():
            if time.monotonic() > deadline or core.isBufferOverflowed():
                raise Lost(f"frame {number} did not come, or the core's buffer overflowed")
            time.sleep(0.0001)
        yield core.popNextImage()
    core.stopSequenceAcquisition()


def _context(stack: ExitStack) -> zmq.Context[zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    stack.callback(context.destroy, 0)
    return context


def _zmq_sender(
    stack: ExitStack, context: zmq.Context[zmq.Socket[bytes]]
) -> tuple[Callable[[int, Any], None], str]:
    socket = stack.enter_context(context.socket(zmq.PUSH))
    socket.setsockopt(zmq.SNDHWM, QUEUE)
    socket.setsockopt(zmq.SNDTIMEO, int(TIMEOUT_S * 1000))
    socket.bind("tcp://127.0.0.1:*")

    def send(number: int, pixels: Any) -> None:
        header = msgspec.msgpack.encode((number, pixels.shape, pixels.dtype.name))
        socket.send_multipart([header, np.ascontiguousarray(pixels).data], copy=False)

    return send, socket.getsockopt_string(zmq.LAST_ENDPOINT)


@contextmanager
def _reader(
    task: Task,
    address: str,
    context: zmq.Context[zmq.Socket[bytes]],
    answered: Callable[[int], None] | None = None,
    *,
    ours: bool = False,
) -> Iterator[Callable[[], Found]]:
    """A reading process; what is given waits for its verdict. ``answered`` hears confirmations."""
    back = context.socket(zmq.PULL)
    back.bind("tcp://127.0.0.1:*")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "benchmarks.acquire_read", *(["--ours"] if ours else []),
            "--address", address, "--back", back.getsockopt_string(zmq.LAST_ENDPOINT),
            "--frames", str(task.frames), "--skip", str(task.skip),
        ]
    )  # fmt: skip
    found: list[Found] = []

    def listen() -> None:
        while not found:
            if not back.poll(int(TIMEOUT_S * 1000)):
                found.append(Found(-1, 0.0, f"the reader said nothing for {TIMEOUT_S:g} s"))
                break
            message = msgspec.msgpack.decode(back.recv(), type=int | Found)
            if isinstance(message, Found):
                found.append(message)
            elif answered is not None:
                answered(message)

    def answer() -> Found:
        listener.join(TIMEOUT_S * 2)
        if not found or found[0].problem:
            raise Lost(found[0].problem if found else "no verdict of the reader")
        return found[0]

    try:
        if not back.poll(int(TIMEOUT_S * 1000)):
            raise Lost("the reader did not start")
        back.recv()
        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        yield answer
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Entry point of a sending process: prints what its reader found."""
    parser = argparse.ArgumentParser(description="sending end of the acquisition benchmark")
    parser.add_argument("--kind", required=True, choices=sorted(CONTESTANTS))
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--backlog", action="store_true")
    options = parser.parse_args()
    task = Task(options.size, options.frames, options.backlog)
    try:
        found = CONTESTANTS[options.kind](task)
    except Lost as error:
        found = Found(-1, 0.0, str(error))
    print(msgspec.json.encode(found).decode(), flush=True)


if __name__ == "__main__":
    begin_past_caches()
    main()
