"""Feeds for the tests of the window: moving cells, drawn with numpy."""

from __future__ import annotations

import time

import numpy as np

from live.display import ShownFrame, ShownResult, ShownStatus
from models.result import OBJECT_DTYPE

PIXEL_SIZE_UM = 0.5


class Cells:
    """Bright discs that move over a noisy ground, seen from a stage that can move too."""

    def __init__(
        self, side: int = 256, count: int = 6, dtype: type[np.generic] = np.uint16
    ) -> None:
        self._rng = np.random.default_rng(4)
        self.side, self.dtype = side, dtype
        grid = int(np.ceil(np.sqrt(count)))
        step = side / grid
        spots = [(y, x) for y in range(grid) for x in range(grid)][:count]
        self.places = (np.array(spots, np.float64) + 0.5) * step
        self.x_um = 0.0

    def picture(self, seq: int) -> tuple[ShownFrame, ShownResult]:
        self.places[:, 0] += 1.0
        shift = self.x_um / PIXEL_SIZE_UM
        labels = np.zeros((self.side, self.side), np.int32)
        objects = np.zeros(len(self.places), OBJECT_DTYPE)
        for number, (y, x) in enumerate(self.places, start=1):
            x -= shift
            y0, x0 = max(int(y) - 9, 0), max(int(x) - 9, 0)
            yy, xx = np.mgrid[y0 : y0 + 19, x0 : x0 + 19]
            patch = labels[y0 : y0 + 19, x0 : x0 + 19]
            inside = ((yy - y) ** 2 + (xx - x) ** 2 < 81)[: patch.shape[0], : patch.shape[1]]
            patch[inside] = number
            row = objects[number - 1]
            row["label"], row["track_id"], row["area_px"] = number, number, 254
            row["y_px"], row["x_px"] = y, x
            row["bbox_y0"], row["bbox_y1"] = y - 9, y + 9
            row["bbox_x0"], row["bbox_x1"] = x - 9, x + 9
        scale = 1 if self.dtype == np.uint16 else 0.1
        ground = self._rng.poisson(100, labels.shape) + 1200 * (labels > 0)
        pixels = (ground * scale).astype(self.dtype)
        frame = ShownFrame(
            pixels, seq, time.monotonic_ns() - 40_000_000, self.x_um, 0.0, PIXEL_SIZE_UM, "DAPI"
        )
        return frame, ShownResult(seq, labels, objects)


class ScriptedFeed:
    """What a test puts in is what the window gets; counts how often it is asked."""

    def __init__(self) -> None:
        self.frame: ShownFrame | None = None
        self.result: ShownResult | None = None
        self.now = ShownStatus(camera_hz=98.0, inference_hz=27.0, engine="onnxruntime fp32")
        self.done = False
        self.polls = 0

    def newest_frame(self) -> ShownFrame | None:
        self.polls += 1
        frame, self.frame = self.frame, None
        return frame

    def newest_result(self) -> ShownResult | None:
        result, self.result = self.result, None
        return result

    def status(self) -> ShownStatus:
        return self.now

    def closed(self) -> bool:
        return self.done


class Movie(ScriptedFeed):
    """Gives ``count`` pictures and closes, or stays open after them."""

    def __init__(self, count: int, stay: bool = False) -> None:
        super().__init__()
        self._cells, self._count, self._stay, self._given = Cells(), count, stay, 0

    def newest_frame(self) -> ShownFrame | None:
        if self._given >= self._count:
            self.done = not self._stay
            return None
        self._given += 1
        frame, self.result = self._cells.picture(self._given)
        return frame
