"""Keeps every raw frame, and what was found in it.

::

    submit ─► journal row ─► queue (bytes) ─► raw thread ─► chunk on disk ─► row confirmed
    submit_result ─► queue (drops, counted) ─► result thread ─► labels, objects

Raw frames are never dropped: when the disk is slower than the camera the queue fills, then `submit`
waits, and when that does not help it raises and the run has to stop. Results are dropped and
counted before they make anything wait.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from drivers.errors import SettingsError
from drivers.frame import Frame
from live.recording.bytequeue import ByteQueue
from live.recording.errors import RecorderError
from live.recording.journal import Journal
from live.recording.rawindex import FramePlace, RawIndex
from live.recording.rawwriter import RawItem, RawWriter
from live.recording.resultwriter import ResultItem, ResultWriter
from live.recording.runfolder import RunFolder
from models.result import OBJECT_DTYPE, EngineInfo, Verdict

_NO_OBJECTS: Final = np.zeros(0, dtype=OBJECT_DTYPE)
_NO_ENGINE: Final = EngineInfo(name="", precision="", device="")


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """Bounds of a recorder. The defaults suit a rig with a local disk."""

    labels: bool = True
    """Keep label images."""
    denoised: bool = False
    """Keep denoised images."""
    reserve_bytes: int = 500_000_000
    """Room that stays free on the disk; recording stops in order when it is reached."""
    queue_bytes: int = 1 << 30
    """Raw frames in memory on their way to disk at most."""
    queue_frames: int = 4096
    result_queue_bytes: int = 256 << 20
    result_queue_items: int = 256
    submit_timeout_s: float = 10.0
    """Longest time that `Recorder.submit` waits for room."""
    chunk_timeout_s: float = 20.0
    """Longest time that one frame may take to reach the disk."""
    drain_timeout_s: float = 120.0
    """Longest time to write what is queued at the end."""
    frames_per_store: int = 50_000
    """After these a new image is begun."""
    interval_s: float | None = None
    """Nominal time between frames; None: the mean is measured."""


@dataclass(frozen=True, slots=True)
class RecorderStats:
    """What a recorder has done so far, as one snapshot."""

    submitted: int
    recorded: int
    """Frames known to lie complete on disk."""
    lost: int
    """Frames that were taken and could not be written."""
    waiting_frames: int
    waiting_bytes: int
    waits: int
    """Times that `Recorder.submit` had to wait for the disk."""
    waited_s: float
    labels_written: int
    denoised_written: int
    drops: dict[str, int] = field(default_factory=dict)
    """Cause -> label or denoised images left out; see `live.recording.resultwriter`."""


class Recorder:
    """Records one run. Hold it in a ``with`` block.

    Leaving the block writes what is queued and closes the images.

    Parameters
    ----------
    folder
        Folder of the run, made by `RunFolder.create`.
    journal
        The run's journal, open, and closed after the recorder.
    settings
        Bounds.

    Raises
    ------
    SettingsError
        On entering, when less than the reserve is free on the disk.
    RecorderError
        On leaving, when a frame could not be kept. While another error is on its way the reason
        goes to the journal instead, and stays in `error`.
    """

    def __init__(
        self, folder: RunFolder, journal: Journal, settings: RecorderSettings | None = None
    ) -> None:
        self._folder, self._journal = folder, journal
        self._settings = use = settings or RecorderSettings()
        self._index = RawIndex(use.frames_per_store, use.interval_s)
        self._raw_queue: ByteQueue[RawItem] = ByteQueue(use.queue_bytes, use.queue_frames)
        self._result_queue: ByteQueue[ResultItem] = ByteQueue(
            use.result_queue_bytes, use.result_queue_items
        )
        self._raw = RawWriter(folder, journal, self._index, self._raw_queue, use.chunk_timeout_s)
        self._results = ResultWriter(
            folder, journal, self._index, self._result_queue, use.reserve_bytes
        )
        self._unix_minus_monotonic_ns = time.time_ns() - time.monotonic_ns()
        self._open = False
        self._submitted = 0
        self._last_seq = -1
        self._waits = 0
        self._waited_s = 0.0
        self._error: RecorderError | None = None

    def __enter__(self) -> Self:
        free = shutil.disk_usage(self._folder.path).free
        if free < self._settings.reserve_bytes:
            raise SettingsError(f"{self._room(free)}; free some room or choose another output")
        self._raw.start()
        self._results.start()
        self._open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except RecorderError as error:
            if kind is None:
                raise
            if self._journal.error is None:
                self._journal.add_log("recorder", str(error))

    # --- from the acquisition thread --------------------------------------------------------

    def submit(self, frame: Frame) -> None:
        """Keep ``frame``; waits while the disk is slower than the camera. One thread calls it.

        The pixels are read until the frame lies on disk, so they must not change: hand in an array
        of its own, not a view of a ring slot.

        Raises
        ------
        RecorderError
            When this frame, or an earlier one, cannot be kept: stop the run.
        """
        if not self._open:
            raise RecorderError("the recorder is not open; call it inside its with block")
        if self.error is not None:
            raise self.error
        meta, nbytes = frame.meta, frame.pixels.nbytes
        if meta.seq <= self._last_seq:
            raise RecorderError(
                f"frame {meta.seq} came after frame {self._last_seq}; frames must come in order"
            )
        self._check_room(meta.seq, nbytes)
        self._last_seq = meta.seq
        self._submitted += 1
        place = self._index.assign(frame.pixels, meta)
        ticket = self._journal.announce(self._row(frame, place))
        item = RawItem(frame, place, ticket)
        if self._raw_queue.put(item, nbytes, 0.0):
            return
        began = time.monotonic()
        kept = self._raw_queue.put(item, nbytes, self._settings.submit_timeout_s)
        self._waits += 1
        self._waited_s += time.monotonic() - began
        if not kept:
            self._error = self._raw.error or RecorderError(
                f"frame {meta.seq} cannot be kept: {self._raw_queue.held[1] / 1e6:.0f} MB wait for "
                f"the disk of {self._folder.path} and none was written in "
                f"{self._settings.submit_timeout_s:g} s; use a faster disk or a lower frame rate"
            )
            raise self._error

    # --- from the thread that receives results ----------------------------------------------

    def submit_result(
        self,
        seq: int,
        *,
        labels: NDArray[np.int32] | None = None,
        objects: NDArray[np.void] = _NO_OBJECTS,
        denoised: NDArray[Any] | None = None,
        engine: EngineInfo = _NO_ENGINE,
        stage_ms: Mapping[str, float] | None = None,
        verdict: Verdict | None = None,
    ) -> bool:
        """Keep what was found in frame ``seq``; never waits for an image.

        Parameters
        ----------
        seq
            A frame that was submitted before.
        labels
            (y, x), 0 is background. Not to be changed any more, like every array given here.
        objects
            (n,) of ``OBJECT_DTYPE``.
        denoised
            (y, x), written as an image of its own.
        engine, stage_ms
            Which engine ran, and milliseconds by stage.
        verdict
            The newest check of trust, where one is made.

        Returns
        -------
        bool
            False when the images were left out because too many wait; counted, and the objects
            are kept all the same.

        Raises
        ------
        RecorderError
            When the journal can no longer be written.
        """
        if not self._open:
            raise RecorderError("the recorder is not open; call it inside its with block")
        if self._results.error is not None:
            raise self._results.error
        item = ResultItem(
            seq,
            None if labels is None else labels.astype(np.int32, copy=False),
            denoised,
            objects,
            engine,
            stage_ms or {},
            verdict,
        )
        if not self._settings.labels:
            item = replace(item, labels=None)
        if not self._settings.denoised:
            item = replace(item, denoised=None)
        if self._result_queue.put(item, item.nbytes, 0.0):
            return True
        self._results.leave_out(item, "queue")
        return False

    # --- any thread -------------------------------------------------------------------------

    @property
    def error(self) -> RecorderError | None:
        """Why no more frames can be kept; None while all is well."""
        return self._error or self._raw.error or self._journal.error

    def place(self, seq: int) -> FramePlace | None:
        """Where frame ``seq`` is written; None when it is unknown or 10,000 frames ago."""
        return self._index.place(seq)

    def stats(self) -> RecorderStats:
        """What was done so far."""
        frames, nbytes = self._raw_queue.held
        written = self._results.written
        return RecorderStats(
            submitted=self._submitted,
            recorded=self._raw.recorded,
            lost=self._raw.lost,
            waiting_frames=frames,
            waiting_bytes=nbytes,
            waits=self._waits,
            waited_s=self._waited_s,
            labels_written=written.get("labels", 0),
            denoised_written=written.get("denoised", 0),
            drops=self._results.drops,
        )

    def close(self) -> None:
        """Write what is queued and close the images. Safe to call twice.

        Raises
        ------
        RecorderError
            When a frame could not be kept.
        """
        if not self._open:
            return
        self._open = False
        self._raw_queue.close()
        drained = self._raw.join(self._settings.drain_timeout_s)
        self._result_queue.close()
        results_drained = self._results.join(self._settings.drain_timeout_s)
        if not drained:
            self._error = self._error or RecorderError(
                f"{self._raw_queue.held[0]} frames were not written in "
                f"{self._settings.drain_timeout_s:g} s; the disk of {self._folder.path} is too slow"
            )
        if self.error is not None:
            raise self.error
        if self._results.error is not None:
            raise self._results.error
        if not results_drained:
            raise RecorderError(
                f"results were not written in {self._settings.drain_timeout_s:g} s; "
                f"the disk of {self._folder.path} is too slow"
            )

    def _check_room(self, seq: int, nbytes: int) -> None:
        free = shutil.disk_usage(self._folder.path).free
        # What waits in memory has been promised its room.
        if free - self._raw_queue.held[1] < self._settings.reserve_bytes + nbytes:
            self._error = RecorderError(
                f"stopped before frame {seq}: {self._room(free)}; "
                f"the {self._submitted} frames before it are kept"
            )
            raise self._error

    def _room(self, free: int) -> str:
        return (
            f"the disk of {self._folder.path} is full: {free / 1e6:,.1f} MB free, of which "
            f"{self._settings.reserve_bytes / 1e6:,.0f} MB are kept in reserve"
        )

    def _row(self, frame: Frame, place: FramePlace) -> dict[str, object]:
        meta = frame.meta
        return {
            "seq": meta.seq,
            "epoch": meta.epoch,
            "store": self._folder.raw(place.store).name,
            "t_index": place.t_index,
            "captured_ns": meta.captured_ns,
            "popped_ns": meta.popped_ns,
            "delta_s": self._index.delta_s(meta.captured_ns),
            "unix_time": (meta.captured_ns + self._unix_minus_monotonic_ns) / 1e9,
            "exposure_ms": meta.exposure_ms,
            "x_um": meta.x_um,
            "y_um": meta.y_um,
            "z_um": meta.z_um,
            "channel": meta.channel,
            "pos_name": meta.pos_name,
            "pixel_size_um": meta.pixel_size_um,
            "height": frame.pixels.shape[0],
            "width": frame.pixels.shape[1],
            "dtype": frame.pixels.dtype.name,
            "bit_depth": meta.bit_depth,
            "index_json": json.dumps(meta.index),
            "decision": meta.decision,
        }
