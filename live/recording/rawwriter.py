"""The thread that writes raw frames, in order, and says of each when it lies on disk."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from drivers.frame import Frame
from live.recording.bytequeue import ByteQueue
from live.recording.errors import JournalError, RecorderError, StoreError
from live.recording.frametable import frame_table, put_into_image
from live.recording.journal import Journal
from live.recording.journal_reader import JournalReader
from live.recording.rawindex import FramePlace, RawIndex
from live.recording.runfolder import RunFolder
from live.recording.zarrstore import ImageStore

# Frames handed to the file system at once: enough to keep a disk busy, few enough to look through.
_MOST_PENDING: Final = 32
# Files appear by themselves and tell nobody; a look costs 2 µs, off every decision path.
_LOOK_S: Final = 0.003
# A write that fails for want of room fails at once; this leaves time for one that is merely slow.
_FULL_AFTER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class RawItem:
    """A frame to write. Its row must be committed (``ticket``) before its pixels are."""

    frame: Frame
    place: FramePlace
    ticket: int


@dataclass(slots=True)
class _Pending:
    item: RawItem
    nbytes: int
    since_s: float


class RawWriter:
    """Writes what comes through ``queue`` until that is closed and empty, or a frame fails.

    Parameters
    ----------
    folder, journal, index
        Those of the run.
    queue
        Where frames come from; room is released as frames are confirmed.
    chunk_timeout_s
        Longest time that a frame may take to reach the disk.
    """

    def __init__(
        self,
        folder: RunFolder,
        journal: Journal,
        index: RawIndex,
        queue: ByteQueue[RawItem],
        chunk_timeout_s: float,
    ) -> None:
        self._folder, self._journal, self._index, self._queue = folder, journal, index, queue
        self._chunk_timeout_s = chunk_timeout_s
        self._pending: deque[_Pending] = deque()
        self._store: ImageStore | None = None
        self._number = -1
        self._first_ns = self._last_ns = 0
        self._error: RecorderError | None = None
        self._recorded = 0
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="raw-writer", daemon=True)

    def start(self) -> None:
        """Begin to take frames."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Whether all is written, or has failed, within ``timeout_s``."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def error(self) -> RecorderError | None:
        """Why writing ended early; None while all is well."""
        return self._error

    @property
    def recorded(self) -> int:
        """Frames known to lie complete on disk."""
        return self._recorded

    @property
    def lost(self) -> int:
        """Frames that were taken and could not be written."""
        return self._lost

    def _run(self) -> None:
        try:
            while not self._queue.exhausted:
                got = self._queue.get(_LOOK_S if self._pending else 0.2)
                if got is not None:
                    self._begin(*got)
                self._settle()
                while len(self._pending) >= _MOST_PENDING:
                    time.sleep(_LOOK_S)
                    self._settle()
            self._finish_store()
        except RecorderError as error:
            self._fail(error)
        except Exception as error:
            # Whatever it was, the run must hear of it: a silent end would lose every later frame.
            wrapped = StoreError(f"the writer of raw frames broke: {error!r}")
            wrapped.__cause__ = error
            self._fail(wrapped)

    def _begin(self, item: RawItem, nbytes: int) -> None:
        # Counted as pending from here, so that a failure counts it as lost.
        self._pending.append(_Pending(item, nbytes, float("inf")))
        place, meta = item.place, item.frame.meta
        if not self._journal.wait_committed(item.ticket, self._chunk_timeout_s):
            raise JournalError(
                f"the journal did not take the row of frame {meta.seq} in "
                f"{self._chunk_timeout_s:g} s; the disk of {self._folder.path} is too slow"
            )
        if self._store is None or place.store != self._number:
            newest = self._pending.pop()
            try:
                self._finish_store()
            finally:
                self._pending.append(newest)
            self._store = ImageStore(self._folder.raw(place.store), place.layout)
            self._number = place.store
            self._first_ns = meta.captured_ns
            self._index.set_made(place.store)
        self._last_ns = meta.captured_ns
        self._store.append(item.frame.pixels)
        self._pending[-1].since_s = time.monotonic()

    def _settle(self) -> None:
        """Confirm what has reached the disk; raise when something takes too long."""
        if not self._pending or self._store is None:
            return
        store = self._store
        there = [p for p in self._pending if store.is_on_disk(p.item.place.t_index)]
        if there:
            arrived = {p.item.place.t_index for p in there}
            self._pending = deque(p for p in self._pending if p.item.place.t_index not in arrived)
            self._journal.confirm([p.item.frame.meta.seq for p in there])
            self._recorded += len(there)
            for confirmed in there:
                self._queue.release(confirmed.nbytes)
        if self._pending:
            self._check_oldest()

    def _check_oldest(self) -> None:
        oldest = self._pending[0]
        waited_s = time.monotonic() - oldest.since_s
        if waited_s < _FULL_AFTER_S:
            return
        seq = oldest.item.frame.meta.seq
        free = shutil.disk_usage(self._folder.path).free
        if free < oldest.nbytes:
            raise StoreError(
                f"the disk of {self._folder.path} is full: {free / 1e6:.1f} MB free, frame {seq} "
                f"needs {oldest.nbytes / 1e6:.1f} MB; free some room or record elsewhere"
            )
        if waited_s > self._chunk_timeout_s:
            raise StoreError(
                f"frame {seq} did not reach the disk of {self._folder.path} in "
                f"{self._chunk_timeout_s:g} s; use a faster or local disk"
            )

    def _finish_store(self) -> None:
        """Wait for what is on its way and close the image."""
        if self._store is None:
            return
        while self._pending:
            self._settle()
            if self._pending:
                time.sleep(_LOOK_S)
        store, self._store = self._store, None
        steps = store.length - 1
        mean_s = (self._last_ns - self._first_ns) / 1e9 / steps if steps > 0 else None
        self._index.set_closed(self._number, store.length, mean_s)
        closed = self._index.closed(self._number)
        if closed is not None:
            store.set_interval(closed.interval_s)
        store.close()
        self._describe(store)

    def _describe(self, store: ImageStore) -> None:
        """Tell the image when and where each of its frames was taken."""
        self._journal.flush()
        with JournalReader(self._folder.journal) as journal:
            put_into_image(store.path, frame_table(journal, store.path.name))

    def _fail(self, error: RecorderError) -> None:
        cause = self._close_broken()
        self._error = type(error)(f"{error} ({cause})") if cause else error
        self._error.__cause__ = error.__cause__
        self._queue.close()
        while (got := self._queue.get(0.0)) is not None:
            self._pending.append(_Pending(*got, 0.0))
        self._lost += len(self._pending)
        for pending in self._pending:
            self._queue.release(pending.nbytes)
        self._pending.clear()
        if self._journal.error is None:
            self._journal.add_log("recorder", f"{self._error}; {self._lost} frames lost")

    def _close_broken(self) -> str:
        """Close after a failure, keeping what is whole; says what the file system said."""
        if self._store is None:
            return ""
        store, self._store = self._store, None
        self._index.set_closed(self._number, store.length, None)
        cause = ""
        try:
            store.close()
        except StoreError as error:
            cause = str(error.__cause__ or error)
        there = [p for p in self._pending if store.is_on_disk(p.item.place.t_index)]
        if there and self._journal.error is None:
            self._journal.confirm([p.item.frame.meta.seq for p in there])
            self._recorded += len(there)
            arrived = {p.item.frame.meta.seq for p in there}
            kept = deque(p for p in self._pending if p.item.frame.meta.seq not in arrived)
            for confirmed in there:
                self._queue.release(confirmed.nbytes)
            self._pending = kept
        if self._journal.error is None:
            with contextlib.suppress(RecorderError):  # the first cause tells more
                self._describe(store)
        return cause
