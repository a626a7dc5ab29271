"""Room for small objects of Python, taken before the first frame.

Python asks the system for 1 MB at a time and cuts small objects from it. Rows that wait for a slow
disk are some hundred kB for a moment, so in mid-run it would come to fresh memory again and again:
the frame waits for its pages, and memory creeps up towards the most that was ever needed at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

ROOM_BYTES = 4 * 2**20
_BLOCK = 512
"""The largest that Python cuts itself."""
_STAYS_EVERY = 512
"""Of each 1 MB a few blocks stay taken, or it would go back to the system."""


@contextmanager
def room_for_small_objects(room_bytes: int = ROOM_BYTES) -> Iterator[None]:
    """Inside, so many bytes of small objects more than now need nothing of the system."""
    content = _BLOCK - b"".__sizeof__()
    taken = [bytes(content) for _ in range(room_bytes // _BLOCK)]
    stays = taken[::_STAYS_EVERY]
    del taken
    try:
        yield
    finally:
        del stays
