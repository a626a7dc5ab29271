"""Probe: the recorder as a run uses it, on the disk that a run would use."""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers import Frame, FrameMeta
from live.doctor.samples import read_sample, there_and_back
from live.doctor.timing import Watch
from live.recording.journal import Journal, RunState
from live.recording.recorder import Recorder, RecorderSettings
from live.recording.runfolder import RunFolder

MOST_BYTES = 400_000_000
LEAST = 5


def time_writer(*, sample: str, out: str, seconds: float) -> dict[str, Any]:
    """Record frames with label images as fast as it goes, until all lies on the disk itself.

    The folder that it makes in ``out`` is removed again.
    """
    frames = read_sample(sample)
    nbytes = frames[0].nbytes
    labels = _labels(frames[0].shape)
    most = max(LEAST, min(2000, MOST_BYTES // nbytes))
    with TemporaryDirectory(prefix="parfocal-doctor-", dir=out) as work:
        folder = RunFolder.create(Path(work) / "run")
        watch = Watch()
        with Journal(folder.journal) as journal:
            # no label image may be left out, or the time would be that of less work; all of them
            # are one array, so they take no memory
            settings = RecorderSettings(
                reserve_bytes=0, queue_frames=16, result_queue_bytes=1 << 40,
                result_queue_items=10_000,
            )  # fmt: skip
            with Recorder(folder, journal, settings) as recorder:
                while len(watch.samples_ms) < LEAST or (
                    watch.elapsed_s < seconds and len(watch.samples_ms) < most
                ):
                    number = len(watch.samples_ms)
                    pixels = frames[there_and_back(len(frames), number)]
                    now = time.monotonic_ns()
                    meta = FrameMeta(seq=number, captured_ns=now, popped_ns=now, exposure_ms=1.0)
                    recorder.submit(Frame(pixels, meta))
                    recorder.submit_result(number, labels=labels)
                    watch.lap()
            journal.finish(RunState.FINISHED, "")
        _flush(folder.path)
        whole_ms = watch.elapsed_s * 1e3
        timing = watch.timing()
    count = timing.count
    return {
        # of a queue that fills, single times say nothing: what counts is the time for all
        "p50_ms": whole_ms / count,
        "p95_ms": whole_ms / count,
        "cpu_ms": timing.cpu_ms,
        "count": count,
        "mb_per_s": nbytes * count / 1e3 / whole_ms,
    }


def _flush(folder: Path) -> None:
    """Wait until the disk has what the system still holds in memory."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("r+b") as opened:
                os.fsync(opened.fileno())


def _labels(shape: tuple[int, ...]) -> NDArray[np.int32]:
    """A label image with as many objects as a full picture has."""
    y, x = np.indices(shape)
    inside = (y % 48 - 24) ** 2 + (x % 48 - 24) ** 2 < 180
    number = (y // 48) * (shape[1] // 48 + 1) + x // 48 + 1
    return np.where(inside, number, 0).astype(np.int32)
