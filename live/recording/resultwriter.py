"""The thread that writes label and denoised images beside the raw frames that they belong to.

It may fall behind or fail; raw frames never wait for it. What it leaves out is counted by cause:

``labels_queue``
    the queue was full
``labels_disk``
    less room than the reserve is left, which belongs to raw frames
``labels_late``
    the raw frame is unknown, too long ago, or a later one was written already
``labels_shape``
    the image is not of the size of its raw frame
``labels_store``
    the image could not be written
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from live.recording.bytequeue import ByteQueue
from live.recording.errors import JournalError, RecorderError, StoreError
from live.recording.journal import Journal
from live.recording.rawindex import FramePlace, RawIndex
from live.recording.runfolder import RunFolder
from live.recording.zarrstore import ImageLayout, ImageStore, list_labels
from models.result import EngineInfo, Verdict

_MOST_PENDING: Final = 16
_LOOK_S: Final = 0.01
_ON_DISK_TIMEOUT_S: Final = 10.0
_OUTRUN_S: Final = 1.0
"""Longest wait for a frame whose result came first."""


@dataclass(frozen=True, slots=True, eq=False)
class ResultItem:
    """A result on its way to disk. The arrays must not change any more."""

    seq: int
    labels: NDArray[np.int32] | None
    denoised: NDArray[Any] | None
    objects: NDArray[np.void]
    engine: EngineInfo
    stage_ms: Mapping[str, float]
    verdict: Verdict | None = None

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        images = (self.labels, self.denoised)
        return sum(image.nbytes for image in images if image is not None) + self.objects.nbytes


class _LeftOut(Exception):
    """An image is not written; its text is the cause under which that is counted."""


@dataclass(slots=True)
class _Pending:
    item: ResultItem
    place: FramePlace | None
    stores: dict[str, ImageStore]
    nbytes: int
    since_s: float


class _Follower:
    """One kind of image, kept on the t axis of the raw image of the same number."""

    def __init__(self, kind: str, folder: RunFolder, index: RawIndex) -> None:
        self.kind, self._folder, self._index = kind, folder, index
        self._store: ImageStore | None = None
        self._number = -1
        self.broken = False

    def write(self, place: FramePlace, image: NDArray[Any]) -> ImageStore:
        """Begin to write ``image``; raises ``_LeftOut`` or ``StoreError``."""
        if image.shape != (place.layout.height, place.layout.width):
            raise _LeftOut("shape")
        if place.store < self._number or (
            place.store == self._number and self._store and place.t_index < self._store.length
        ):
            raise _LeftOut("late")
        if self._store is None or place.store != self._number:
            self.close()
            self._store, self._number = self._make(place, image.dtype.name), place.store
        self._store.skip_to(place.t_index)
        self._store.append(image)
        return self._store

    def close(self) -> None:
        """Give the image the length of its raw image and close it."""
        if self._store is None:
            return
        store, self._store = self._store, None
        raw = self._index.closed(self._number)
        try:
            if raw is not None:
                store.skip_to(raw.length)
                store.set_interval(raw.interval_s)
        finally:
            store.close()

    def _make(self, place: FramePlace, dtype: str) -> ImageStore:
        layout: ImageLayout = replace(place.layout, dtype=dtype)
        if self.kind != "labels":
            return ImageStore(self._folder.denoised(place.store), layout)
        list_labels(self._folder.raw(place.store))
        # Label images are flat: 100 times smaller, and written in a quarter of the time.
        made = ImageStore(self._folder.labels(place.store), replace(layout, compression="zstd"))
        made.mark_as_labels()
        return made


class ResultWriter:
    """Writes results until its queue is closed and empty.

    A result's rows go to the journal once its images lie on disk, or were left out.

    Parameters
    ----------
    folder, journal, index
        Those of the run.
    queue
        Where results come from.
    reserve_bytes
        Room on the disk that is left to raw frames.
    """

    def __init__(
        self,
        folder: RunFolder,
        journal: Journal,
        index: RawIndex,
        queue: ByteQueue[ResultItem],
        reserve_bytes: int,
    ) -> None:
        self._folder, self._journal, self._index, self._queue = folder, journal, index, queue
        self._reserve_bytes = reserve_bytes
        self._followers = {kind: _Follower(kind, folder, index) for kind in ("labels", "denoised")}
        self._pending: deque[_Pending] = deque()
        self._lock = threading.Lock()
        self._drops: Counter[str] = Counter()
        self._written: Counter[str] = Counter()
        self._error: RecorderError | None = None
        self._thread = threading.Thread(target=self._run, name="result-writer", daemon=True)

    def start(self) -> None:
        """Begin to take results."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Whether all is written or left out within ``timeout_s``."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def error(self) -> RecorderError | None:
        """Why results can no longer be kept; None while all is well."""
        return self._error

    @property
    def drops(self) -> dict[str, int]:
        """Cause -> images left out."""
        with self._lock:
            return dict(self._drops)

    @property
    def written(self) -> dict[str, int]:
        """Kind of image -> images that lie on disk."""
        with self._lock:
            return dict(self._written)

    def leave_out(self, item: ResultItem, cause: str) -> None:
        """Journal a result whose images are not kept, and count them. Any thread may call it."""
        for kind in _images(item):
            self._count(f"{kind}_{cause}")
        self._add_result(item, frozenset())

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
            while self._pending:
                time.sleep(_LOOK_S)
                self._settle()
            for follower in self._followers.values():
                self._guard(follower)
        except JournalError as error:
            self._stop(error)
        except Exception as error:
            wrapped = RecorderError(f"the writer of results broke: {error!r}")
            wrapped.__cause__ = error
            self._stop(wrapped)

    def _begin(self, item: ResultItem, nbytes: int) -> None:
        place = self._index.wait_place(item.seq, _OUTRUN_S)
        stores: dict[str, ImageStore] = {}
        for kind, image in _images(item).items():
            follower = self._followers[kind]
            try:
                self._check_room(item)
                if follower.broken:
                    raise _LeftOut("store")
                if place is None or not self._index.wait_made(place.store, _ON_DISK_TIMEOUT_S):
                    raise _LeftOut("late")
                stores[kind] = follower.write(place, image)
            except _LeftOut as cause:
                self._count(f"{kind}_{cause}")
            except StoreError as error:
                self._break(follower, error)
                self._count(f"{kind}_store")
        self._pending.append(_Pending(item, place, stores, nbytes, time.monotonic()))

    def _settle(self) -> None:
        """Journal, in order, the results whose images have reached the disk."""
        while self._pending:
            oldest = self._pending[0]
            waiting = [kind for kind in oldest.stores if not self._is_there(oldest, kind)]
            if waiting and time.monotonic() - oldest.since_s < _ON_DISK_TIMEOUT_S:
                return
            for kind in waiting:
                self._break(
                    self._followers[kind],
                    StoreError(f"{kind} of frame {oldest.item.seq} did not reach the disk"),
                )
                self._count(f"{kind}_store")
            self._pending.popleft()
            there = frozenset(oldest.stores) - frozenset(waiting)
            self._add_result(oldest.item, there)
            with self._lock:
                self._written.update(there)
            self._queue.release(oldest.nbytes)

    def _is_there(self, pending: _Pending, kind: str) -> bool:
        return pending.place is not None and pending.stores[kind].is_on_disk(pending.place.t_index)

    def _check_room(self, item: ResultItem) -> None:
        free = shutil.disk_usage(self._folder.path).free
        if free < self._reserve_bytes + item.nbytes:
            raise _LeftOut("disk")

    def _guard(self, follower: _Follower) -> None:
        try:
            follower.close()
        except StoreError as error:
            self._break(follower, error)

    def _break(self, follower: _Follower, error: StoreError) -> None:
        if not follower.broken:
            follower.broken = True
            self._journal.add_log("recorder", f"no more {follower.kind}: {error}")

    def _count(self, drop: str) -> None:
        with self._lock:
            self._drops[drop] += 1
        self._journal.add_drops(drop, 1)

    def _add_result(self, item: ResultItem, written: frozenset[str]) -> None:
        self._journal.add_result(
            item.seq,
            item.objects,
            engine=item.engine,
            stage_ms=item.stage_ms,
            labels_written="labels" in written,
            denoised_written="denoised" in written,
            verdict=item.verdict,
        )

    def _stop(self, error: RecorderError) -> None:
        self._error = error
        self._queue.close()
        left = len(self._pending)
        while self._queue.get(0.0) is not None:
            left += 1
        self._pending.clear()
        with self._lock:
            self._drops["results_lost"] += left


def _images(item: ResultItem) -> dict[str, NDArray[Any]]:
    images = {"labels": item.labels, "denoised": item.denoised}
    return {kind: image for kind, image in images.items() if image is not None}
