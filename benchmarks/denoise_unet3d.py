"""A network of the size of DeepCAD-RT's, to be timed: its weights do not matter for that.

Three-dimensional U-Net of four levels from 16 channels (Çiçek et al., MICCAI 2016), 1,020,337
weights, as published for DeepCAD-RT (Li et al., Nat Biotechnol 2022, doi
10.1038/s41587-022-01450-8).
"""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

WEIGHTS: Final = 1_020_337
DEPTH: Final = 16
"""Frames in a stack; the published patch is 150 deep, which takes as long for each frame."""


def seconds_per_frame(frames: NDArray[Any], threads: int) -> float:
    """Time that one frame of a stack (t, y, x) takes in torch, on this many threads."""
    import torch
    from torch import nn

    def double(inputs: int, between: int, outputs: int) -> Any:
        first = nn.Conv3d(inputs, between, 3, padding=1)
        return nn.Sequential(
            first, nn.ReLU(True), nn.Conv3d(between, outputs, 3, padding=1), nn.ReLU(True)
        )

    widths = (16, 32, 64, 128)
    down = [double(1, 8, 16), *(double(w // 2, w // 2, w) for w in widths[1:])]
    up = [double(3 * w, w, w) for w in (64, 32, 16)]
    last = nn.Conv3d(16, 1, 1)
    count = sum(p.numel() for part in (*down, *up, last) for p in part.parameters())
    if count != WEIGHTS:
        raise AssertionError(f"{count} weights, published are {WEIGHTS}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    stack = torch.from_numpy(np.resize(frames, (DEPTH, *frames.shape[1:])).astype(np.float32))
    try:
        with torch.inference_mode():
            start = time.perf_counter()
            x, skips = stack[None, None], list[Any]()
            for level, block in enumerate(down):
                x = block(x if level == 0 else nn.functional.max_pool3d(x, 2))
                skips.append(x)
            for block, skip in zip(up, skips[-2::-1], strict=True):
                larger = nn.functional.interpolate(x, size=skip.shape[2:])
                x = block(torch.cat([skip, larger], 1))
            last(x)
            return (time.perf_counter() - start) / DEPTH
    finally:
        torch.set_num_threads(before)
