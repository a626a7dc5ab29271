"""Real frames with a known pattern, and a program that records them until it is killed."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from drivers.frame import Frame, FrameMeta
from live.recording.journal import Journal
from live.recording.recorder import Recorder, RecorderSettings
from live.recording.runfolder import RunFolder
from models.result import OBJECT_DTYPE

SMALL = RecorderSettings(reserve_bytes=0, interval_s=0.1)
INTERVAL_NS = 100_000_000


def pattern(seq: int, shape: tuple[int, int], dtype: str = "uint16") -> np.ndarray:
    """Pixels that belong to frame ``seq`` and no other."""
    count = shape[0] * shape[1]
    ramp = (np.arange(count, dtype=np.uint64) * 2654435761 + seq * 40503 + 1) >> 7
    return ramp.reshape(shape).astype(dtype)


def label_pattern(seq: int, shape: tuple[int, int]) -> np.ndarray:
    labels = np.zeros(shape, np.int32)
    labels[2:9, 3:11] = 1
    labels[12:20, 4:9] = seq + 2
    return labels


def frame(
    seq: int, shape: tuple[int, int] = (32, 48), dtype: str = "uint16", **meta: object
) -> Frame:
    captured_ns = 1_000_000_000 + seq * INTERVAL_NS
    known = {
        "exposure_ms": 20.0,
        "x_um": 1.5 * seq,
        "y_um": -seq,
        "z_um": 3.0,
        "channel": "DAPI",
        "pixel_size_um": 0.65,
        "index": {"t": seq},
        "captured_ns": captured_ns,
        "popped_ns": captured_ns + 1000,
    }
    return Frame(pattern(seq, shape, dtype), FrameMeta(seq=seq, **(known | meta)))


def objects(count: int) -> np.ndarray:
    table = np.zeros(count, OBJECT_DTYPE)
    table["label"] = np.arange(1, count + 1)
    table["track_id"] = table["label"] + 100
    table["y_px"] = 7.5
    table["y_um"] = np.nan
    table["divided"] = table["label"] == 2
    return table


@contextlib.contextmanager
def recording(
    out: Path, settings: RecorderSettings = SMALL
) -> Iterator[tuple[RunFolder, Journal, Recorder]]:
    folder = RunFolder.create(out)
    with Journal(folder.journal) as journal, Recorder(folder, journal, settings) as recorder:
        yield folder, journal, recorder


def end_zarr_threads() -> None:
    """zarr-python keeps an event loop and its threads for ever; a test must leave none behind."""
    from zarr.core.sync import cleanup_resources

    cleanup_resources()


def record_until_killed(out: Path, shape: tuple[int, int], rate_hz: float) -> None:
    """Record, results included, and print each ``seq`` that was submitted and its time."""
    with recording(out) as (_folder, _journal, recorder):
        began = time.monotonic()
        for seq in range(1_000_000):
            now = time.monotonic_ns()
            recorder.submit(frame(seq, shape, captured_ns=now, popped_ns=now))
            if seq % 2 == 0:
                recorder.submit_result(seq, labels=label_pattern(seq, shape), objects=objects(2))
            sys.stdout.write(f"{seq}\n")
            sys.stdout.flush()
            time.sleep(max(0.0, began + (seq + 1) / rate_hz - time.monotonic()))


if __name__ == "__main__":
    folder, height, width, rate = sys.argv[1:]
    record_until_killed(Path(folder), (int(height), int(width)), float(rate))
