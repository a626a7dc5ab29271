"""A long recording keeps nothing of the frames that lie on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from live.recording import zarrstore
from live.recording.zarrstore import ImageLayout, ImageStore


def test_writes_that_are_done_are_let_go(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "a.ome.zarr", ImageLayout(16, 16, "uint16"))
    most = 0
    for n in range(5 * zarrstore._FORGET_EVERY):
        store.append(np.full((16, 16), n + 1, np.uint16))
        most = max(most, len(store._stream._backend._futures))
    store.close()
    # Twice over: a write may take a moment longer than the next ones.
    assert most <= 3 * zarrstore._FORGET_EVERY
