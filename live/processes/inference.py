"""The inference process: frames in, label images, objects and tracks out.

Started by the supervisor as ``python -m live.processes.inference --control ADDRESS``. It is told
everything else over the control socket, warms its pipeline up, says READY with the engine that
really ran, and then answers every frame that it gets. It never touches hardware, so it may crash
and be replaced.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq

from drivers import FrameMeta, FrameReceiver, FrameRing, Received, ScopeError, px_to_um
from drivers.ring import Claim
from live.processes.children import DEVICE_LOST
from live.processes.control import Control, RigGone
from live.processes.enginewatch import EngineWatch
from live.processes.messages import (
    Configure,
    DenoiserSwapped,
    EngineFault,
    Fault,
    Message,
    Ready,
    Result,
    Stop,
    SwapDenoiser,
    objects_to_bytes,
)
from models import (
    ImageContext,
    ModelError,
    Pipeline,
    PipelineError,
    PipelineSettings,
    load_pipeline,
)
from models.engines.buffers import ResultBuffers
from models.engines.faults import fault_name
from models.errors import EngineDeviceLost, EngineError

ROLE = "inference"
STATE_EVERY_S = 0.25
BEAT_EVERY_S = 0.5
CONFIGURE_TIMEOUT_S = 30.0
IDLE_MS = 100
WAITING_MS = 3
"""Between two rehearsals while a frame is expected: what takes longer is forgotten again."""
EXPECTING_S = 0.5
"""Where frames come further apart, their decisions can wait for a thread to wake up."""


def context_of(meta: FrameMeta, shape: tuple[int, int]) -> ImageContext:
    """What a pipeline is told about a frame of (y, x) ``shape`` pixels."""
    # time apart: frames that differ in any other axis of the plan show another place
    axes = [f"{axis}{index}" for axis, index in sorted(meta.index.items()) if axis not in "tc"]
    return ImageContext(
        seq=meta.seq,
        time_s=meta.recorded_s if meta.recorded_s >= 0 else meta.captured_ns / 1e9,
        pixel_size_um=meta.pixel_size_um,
        px_to_um=px_to_um(meta, shape),
        channel=meta.channel,
        x_um=meta.x_um,
        y_um=meta.y_um,
        z_um=meta.z_um,
        exposure_ms=meta.exposure_ms,
        position=" ".join([meta.pos_name, *axes]).strip(),
        epoch=meta.epoch,
    )


class Analyst:
    """Runs a pipeline over frames and answers through its own ring. One thread uses it."""

    def __init__(
        self, pipeline: Pipeline, ring: FrameRing, watch: EngineWatch, *, send_denoised: bool
    ) -> None:
        self._pipeline = pipeline
        self._ring = ring
        self._watch = watch
        self.lost = False
        """True once only a new process can go on."""
        self._send_denoised = send_denoised
        self._copies = ResultBuffers()
        self._claim: Claim | None = None
        self._like: tuple[FrameMeta, tuple[int, int], np.dtype[Any]] | None = None
        self._last_state = 0.0

    def answer(self, frame: Received, receiver: FrameReceiver) -> Result | None:
        """Analyse one frame; None when it was overwritten while we looked at it.

        The label image is promised; `complete` keeps that, once the answer is on its way.
        """
        self.complete()
        meta = frame.meta
        self._like = meta, frame.pixels.shape, frame.pixels.dtype
        context = context_of(meta, frame.pixels.shape)
        # A copy proves that what was analysed is whole: tracker state cannot be taken back later.
        pixels = self._copies.take(frame.pixels.shape, frame.pixels.dtype)
        np.copyto(pixels, frame.pixels)
        if not receiver.check(frame):
            return None
        start_ns = time.monotonic_ns()
        try:
            found = self._pipeline.run(pixels, context)
        except ModelError as error:
            self.lost = self._watch.failed(error, meta.seq)
            return self._unanswered(frame, start_ns, str(error))
        self._watch.answered(meta.seq)
        end_ns = time.monotonic_ns()
        planes = {"labels": found.labels}
        if self._send_denoised and found.denoised is not None:
            planes["denoised"] = np.ascontiguousarray(found.denoised)
        self._claim = self._ring.claim(planes)
        state = b""
        if end_ns / 1e9 - self._last_state >= STATE_EVERY_S:
            self._last_state = end_ns / 1e9
            state = self._pipeline.export_state()
        return Result(
            meta=meta,
            ref=self._claim.ref,
            objects=objects_to_bytes(found.objects),
            stage_ms=found.stage_ms,
            classes=found.classes,
            verdict=found.verdict,
            denoise=found.denoise,
            repairs=found.repairs,
            ring_ns=frame.ring_ns,
            received_ns=frame.received_ns,
            start_ns=start_ns,
            end_ns=end_ns,
            state=state,
        )

    def rehearse(self) -> None:
        """Do once more what comes before the analysis of a frame, see `FrameReceiver.rehearse`."""
        if self._like is not None:
            meta, shape, dtype = self._like
            context_of(meta, shape)
            self._copies.take(shape, dtype)

    def complete(self) -> None:
        """Put the label image of the last answer where it was promised.

        It is large, and no decision waits for it.
        """
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.fill()

    def swap(self, wanted: SwapDenoiser) -> DenoiserSwapped:
        """Denoise with other weights from the next frame on, or say why not.

        The file must have the hash that was said: what the journal names is what runs.
        """
        path = Path(wanted.path)
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != wanted.sha256:
                raise PipelineError(f"{path} has changed since it was written; train again")
            engine = self._pipeline.swap_denoiser(path)
            self._watch.swapped()
        except (OSError, ModelError) as error:
            return DenoiserSwapped(path=wanted.path, sha256=wanted.sha256, failed=str(error))
        return DenoiserSwapped(path=wanted.path, sha256=wanted.sha256, model=engine.model)

    def _unanswered(self, frame: Received, start_ns: int, why: str) -> Result:
        return Result(
            meta=frame.meta, ref=None, objects=b"", stage_ms={}, ring_ns=frame.ring_ns,
            received_ns=frame.received_ns, start_ns=start_ns, end_ns=time.monotonic_ns(),
            failed=why, state=self._pipeline.export_state() if self.lost else b"",
        )  # fmt: skip


def serve(control: Control, context: zmq.Context[zmq.Socket[bytes]]) -> int:
    """Wait to be configured, warm up, then answer frames until told to stop; the exit code."""
    message = control.receive(CONFIGURE_TIMEOUT_S)
    if not isinstance(message, Configure):
        return 0 if isinstance(message, Stop) else 1
    settings = PipelineSettings.model_validate_json(message.pipeline)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        try:
            pipeline = stack.enter_context(load_pipeline(settings))
            engine = pipeline.warm_up((message.height, message.width), message.dtype)
        except ModelError as error:
            lost = isinstance(error, EngineDeviceLost)
            if isinstance(error, EngineError):
                step = "inference starts again" if lost else "it does not run"
                name = fault_name(error)
                control.send(EngineFault(fault=name, step=step, sentence=str(error)))
            control.send(Fault(role=ROLE, sentence=str(error), fatal=not lost))
            return DEVICE_LOST if lost else 2
        if message.state:
            pipeline.restore_state(message.state)
        ring = FrameRing(message.ring_mb)
        stack.callback(ring.close)
        planes = {"labels": "int32"}
        if message.send_denoised and settings.denoise is not None:
            planes["denoised"] = "float32"
        shape = message.height, message.width
        ring.reserve({name: (shape, dtype) for name, dtype in planes.items()})
        receiver = stack.enter_context(
            FrameReceiver(context, message.frames, ahead=message.frames_ahead)
        )
        control.send(
            Ready(
                role=ROLE,
                engine=engine.name,
                precision=engine.precision,
                device=engine.device,
                model=engine.model,
                warm_up_ms=(time.monotonic() - started) * 1e3,
            )
        )
        image = (message.height, message.width), message.dtype
        watch = EngineWatch(pipeline, image, control.send)
        analyst = Analyst(pipeline, ring, watch, send_denoised=message.send_denoised)
        return _Answering(control, receiver, analyst, newest=message.policy == "newest").run()


class _Answering:
    """The loop of the process: a frame first, for a decision waits for it, then what is said."""

    def __init__(
        self, control: Control, receiver: FrameReceiver, analyst: Analyst, *, newest: bool
    ) -> None:
        self._control = control
        self._receiver = receiver
        self._analyst = analyst
        self._next = receiver.newest if newest else receiver.next
        self._unsent: Counter[str] = Counter()
        self._answered: deque[float] = deque(maxlen=32)
        self._swapped: DenoiserSwapped | None = None

    def run(self) -> int:
        """Until told to stop, or only a new process can go on; the exit code."""
        poller = zmq.Poller()
        poller.register(self._control.socket, zmq.POLLIN)
        self._receiver.wait_with(poller)
        while True:
            poller.poll(WAITING_MS if self._expecting() else IDLE_MS)
            self._answer()
            if self._analyst.lost:
                return DEVICE_LOST
            if self._obey():
                return 0

    def _answer(self) -> None:
        frame = self._next(0.0)
        if frame is None:
            if self._expecting():
                self._receiver.rehearse()
                self._analyst.rehearse()
            return
        result = self._analyst.answer(frame, self._receiver)
        if result is None:
            return
        if not self._control.send(result, ahead=True):
            self._unsent["result_queue"] += 1
        self._analyst.complete()
        self._answered.append(time.monotonic())
        if self._swapped is not None and result.denoise is not None:
            self._tell_swapped(self._swapped, result.denoise.model, result.meta.seq)

    def _expecting(self) -> bool:
        """Whether the next frame is likely to come soon."""
        return bool(self._answered) and time.monotonic() - self._answered[-1] < EXPECTING_S

    def _tell_swapped(self, swapped: DenoiserSwapped, model: str, first_seq: int) -> None:
        if not swapped.failed:
            swapped = msgspec.structs.replace(swapped, model=model, first_seq=first_seq)
        # asked again with the next frame where the rig is too busy to take it
        if self._control.send(swapped):
            self._swapped = None

    def _obey(self) -> bool:
        """Do what the rig says, if it says something; whether that is to stop."""
        word: Message | None = self._control.receive(0.0)
        ending = isinstance(word, Stop)
        drops = dict(self._receiver.drops + self._unsent)
        # The last counts go out whatever the clock says, so that the report has them all.
        interval_s = 0.0 if ending else BEAT_EVERY_S
        self._control.beat(drops, _rate_hz(self._answered), interval_s)
        if isinstance(word, SwapDenoiser):
            swapped = self._analyst.swap(word)
            told = bool(swapped.failed) and self._control.send(swapped)
            self._swapped = None if told else swapped
        return ending


def _rate_hz(times: deque[float]) -> float:
    if len(times) < 2 or time.monotonic() - times[-1] > 2.0:
        return 0.0
    span = times[-1] - times[0]
    return (len(times) - 1) / span if span > 0 else 0.0


def main() -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description="Parfocal's inference process (internal)")
    parser.add_argument("--control", required=True, help="the rig's control socket")
    address = parser.parse_args().control
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with Control(context, address, ROLE) as control:
            try:
                return serve(control, context)
            except RigGone as error:
                sys.stderr.write(f"{os.getpid()}: {error}; ending\n")
                return 0
            except ScopeError as error:
                control.send(Fault(role=ROLE, sentence=str(error)))
                raise
    finally:
        context.destroy(linger=500)


if __name__ == "__main__":
    sys.exit(main())
