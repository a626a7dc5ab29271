"""Probe: a whole pipeline, from the ring to the answer, as the inference process runs it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import numpy as np
import zmq

from drivers import Frame, FrameMeta, FrameReceiver, FrameRing, FrameSender, WireError
from live.doctor.samples import read_sample, there_and_back
from live.doctor.timing import Timing, Watch
from live.experiment.loading import load_pipeline_settings
from live.processes.enginewatch import EngineWatch
from live.processes.inference import Analyst
from live.processes.messages import Message, Result, objects_from_bytes
from models import EngineError, PipelineSettings, load_pipeline

CHECK_EVERY = 3
"""A check that a pipeline makes now and then is made this often here, to be measured at all."""
LEAST = 4
"""Frames after the first one, at the least: one of them is checked."""
MOST = 200
INTERVAL_S = 1.0
"""Between the frames, as far as the pipeline is told."""


def time_pipeline(
    *, pipeline: str, sample: str, pixel_size_um: float, seconds: float
) -> dict[str, Any]:
    """Time a pipeline on sample frames.

    The first frame is apart: the size of objects is found in it. So is what the check of trust
    costs, which is due once in so many frames.
    """
    settings = load_pipeline_settings(pipeline)
    every = settings.trust.every_frames if settings.trust else 0
    frames = read_sample(sample)
    with ExitStack() as stack:
        opened = stack.enter_context(load_pipeline(_checked_often(settings)))
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stack.callback(context.destroy, 0)
        rings = [FrameRing(max(128.0, 6 * frames[0].nbytes * k / 2**20)) for k in (1, 2)]
        for ring in rings:
            stack.callback(ring.close)
        sender = stack.enter_context(FrameSender(context))
        receiver = stack.enter_context(FrameReceiver(context, sender.address))
        image = (frames.shape[1], frames.shape[2]), frames.dtype.name
        watch_engine = EngineWatch(opened, image, _nobody)
        analyst = Analyst(opened, rings[1], watch_engine, send_denoised=False)
        first: float | None = None
        usual_ms: list[float] = []
        checks_ms: list[float] = []
        objects: list[int] = []
        watch = Watch()
        for number in range(MOST):
            pixels = frames[there_and_back(len(frames), number)]
            meta = FrameMeta(
                seq=number, captured_ns=time.monotonic_ns(), popped_ns=0, exposure_ms=20.0,
                pixel_size_um=pixel_size_um, recorded_s=number * INTERVAL_S,
            )  # fmt: skip
            ref = rings[0].write({"raw": pixels})
            sender.send(Frame(pixels, meta), ref, time.monotonic_ns())
            watch.pause()
            received = receiver.next(10.0)
            if received is None:
                raise WireError("a frame did not arrive")
            result = analyst.answer(received, receiver)
            analyst.complete()
            took_ms = watch.lap()
            check_ms = _told(result).stage_ms.get("trust", 0.0)
            if first is None:
                first, watch = took_ms, Watch()
                continue
            usual_ms.append(took_ms - check_ms)
            if every and number % CHECK_EVERY == 0:
                checks_ms.append(check_ms)
            objects.append(len(objects_from_bytes(_told(result).objects)))
            if len(usual_ms) >= LEAST and watch.elapsed_s > seconds:
                break
        cpu_share = watch.timing().cpu_ms / max(float(np.mean(watch.samples_ms)), 1e-6)
        engine = opened.info
    usual = Timing.of(usual_ms, cpu_share * float(np.mean(usual_ms)))
    return {
        "timing": usual.to_json(),
        "first_ms": first,
        "check_ms": max(checks_ms, default=0.0),
        "check_every": every,
        "objects": float(np.mean(objects)),
        "engine": engine.name,
        "precision": engine.precision,
        "device": engine.device,
        "model": engine.model,
    }


def _nobody(_message: Message) -> bool:
    """There is no rig to tell of a fault; ``_told`` raises it."""
    return True


def _checked_often(settings: PipelineSettings) -> PipelineSettings:
    if settings.trust is None:
        return settings
    trust = settings.trust.model_copy(update={"every_frames": CHECK_EVERY})
    return settings.model_copy(update={"trust": trust})


def _told(result: Result | None) -> Result:
    if result is None:
        raise WireError("the frame was overwritten while it was looked at")
    if result.failed:
        raise EngineError(result.failed)
    return result
