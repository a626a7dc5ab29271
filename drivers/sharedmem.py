"""Named shared memory that is always given back, also after ``kill -9``.

On Linux and macOS the owner's resource tracker (a process of its own) unlinks the segment when the
owner dies in whatever way; on Windows the last open handle does. ``sweep`` is the second net: at
the next start it removes segments of owners that no longer live. Readers attach without being
tracked: before Python 3.13 attaching registers the segment as the reader's own, and the reader's
end would then unlink it under everybody else.
"""

from __future__ import annotations

import mmap
import os
import secrets
import shutil
import sys
from multiprocessing import shared_memory
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import psutil

from drivers.errors import SettingsError, WireError

PREFIX = "parfocal"
_LINUX_FOLDER = Path("/dev/shm")
# Room that we leave to others: a write past the end of a full /dev/shm kills the writer (SIGBUS).
_SPARE_BYTES = 8 * 2**20


class OwnedSegment:
    """A new shared-memory segment; this process owns it and unlinks it on ``close``.

    Parameters
    ----------
    size
        Bytes. Every page is touched at once, so that the frame loop meets no page fault.

    Raises
    ------
    SettingsError
        When the system has less shared memory left than that.
    """

    def __init__(self, size: int) -> None:
        _check_room(size)
        name = f"{PREFIX}-{os.getpid()}-{secrets.token_hex(4)}"
        self._memory = shared_memory.SharedMemory(name=name, create=True, size=size)
        self.name = name
        self.size = size
        self._closed = False
        np.frombuffer(self.buffer, np.uint8)[:] = 0

    @property
    def buffer(self) -> memoryview:
        """The bytes, writable."""
        buffer = self._memory.buf
        if buffer is None:
            raise WireError(f"shared memory {self.name} is closed")
        return buffer

    def close(self) -> None:
        """Unlink and unmap. Readers that are attached keep their mapping until they let go."""
        if self._closed:
            return
        self._closed = True
        if sys.platform != "win32":
            self._memory.unlink()
        _close_mapping(self._memory)

    def __enter__(self) -> Self:
        """Return the segment."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Unlink and unmap."""
        self.close()


class AttachedSegment:
    """Another process's segment, read through a mapping of our own.

    Raises
    ------
    WireError
        When no segment of that name exists: its owner has gone or has moved to a new one.
    """

    def __init__(self, name: str, size: int) -> None:
        if not name.startswith(PREFIX + "-"):
            raise WireError(f"shared memory {name!r}: not one of ours (need {PREFIX}-...)")
        try:
            self._map = _map_existing(name, size)
        except (OSError, ValueError) as error:
            raise WireError(
                f"shared memory {name} of {size} bytes cannot be opened ({error}); its owner ended"
            ) from error
        self.name = name
        self.size = size

    @property
    def buffer(self) -> memoryview:
        """The bytes; the readers of this program never write to them."""
        return memoryview(self._map)

    def close(self) -> None:
        """Unmap, as soon as no array that looks into the memory is left."""
        try:
            self._map.close()
        except BufferError:
            # An array still looks into the mapping; it goes when that array goes.
            return


def sweep() -> list[str]:
    """Unlink segments of dead owners and return their names (Linux; elsewhere none stays)."""
    removed: list[str] = []
    if not sys.platform.startswith("linux") or not _LINUX_FOLDER.is_dir():
        return removed
    for path in _LINUX_FOLDER.glob(f"{PREFIX}-*-*"):
        owner = path.name.split("-")[1]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            path.unlink(missing_ok=True)
            removed.append(path.name)
    return removed


def room_bytes() -> int | None:
    """Shared memory that can still be taken, in bytes; None where the system does not say."""
    if not _LINUX_FOLDER.is_dir():
        return None
    return max(0, shutil.disk_usage(_LINUX_FOLDER).free - _SPARE_BYTES)


def _check_room(size: int) -> None:
    room = room_bytes()
    if room is not None and size > room:
        raise SettingsError(
            f"shared memory: need {size / 2**20:.0f} MiB for the frame ring, {_LINUX_FOLDER} has "
            f"{room / 2**20:.0f} MiB left; make it larger (docker: --shm-size) or the ring smaller"
        )


def _map_existing(name: str, size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size, tagname=name)
    # The module that multiprocessing itself stands on; it does not track. See the docstring above.
    import _posixshmem  # type: ignore[import-not-found]

    descriptor = _posixshmem.shm_open("/" + name, os.O_RDWR, mode=0o600)
    try:
        # All page faults now rather than in the first frames.
        return mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0))
    finally:
        os.close(descriptor)


def _close_mapping(memory: shared_memory.SharedMemory) -> None:
    try:
        memory.close()
    except BufferError:
        # An array still looks into it. The name is gone already, so the memory goes with the array.
        return
