"""Works out, for one frame, every column that the conditions of a run speak of. Pure.

What is compared with before is kept apart for each way of imaging (preset, exposure, pixel size)
and, for the frame as a whole, for each place: another exposure is no event.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers import FrameMeta
from live.rules.columns import FRAME_COLUMNS, OBJECT_COLUMNS
from live.rules.settings import RoiSettings
from live.rules.tracks import WARM_UP, History, Tracks, followed, ratio

MOST_WAYS = 16
MOST_PLACES = 4096
BORDER_PX = 3
"""What comes this near the border of the image is about to leave it."""
RATE_WINDOW_S = 300.0
MOST_RATE_ENTRIES = 10_000

_HISTORY = ("area_change", "mean_change")
_CHANGE_DENOISED = "mean_denoised_change"
_OF_TRACKS = frozenset((*_HISTORY, _CHANGE_DENOISED))
_FRAME_HISTORY = ("n_change", "contrast_change")


class _Level:
    """Baseline of one number of the frame at one place."""

    def __init__(self) -> None:
        self._level, self._spread = np.zeros(1), np.zeros(1)
        self._sights = np.zeros(1, np.int64)

    def take(self, value: float, *, learn: bool) -> float:
        """Value in the baseline, NaN while there is none; then, with ``learn``, take it in."""
        if not np.isfinite(value):
            return float("nan")
        now = np.array([value])
        change = ratio(now, self._level)[0] if self._sights[0] >= WARM_UP else np.nan
        if learn:
            self._level, self._spread = followed(self._level, self._spread, self._sights, now)
            self._sights = self._sights + 1
        return float(change)


class Table:
    """Columns of one frame after the other. One thread uses it.

    Parameters
    ----------
    rois
        Regions that ``in_roi_0`` and so on speak of.
    """

    def __init__(self, rois: Sequence[RoiSettings] = ()) -> None:
        self.tracks = Tracks()
        self._ways: OrderedDict[tuple[Any, ...], History] = OrderedDict()
        self._places: OrderedDict[tuple[Any, ...], tuple[_Level, _Level]] = OrderedDict()
        self._divisions: deque[tuple[float, int]] = deque(maxlen=MOST_RATE_ENTRIES)
        self._start_s: float | None = None
        self._border: tuple[tuple[Any, ...], NDArray[np.int64]] | None = None
        self.set_rois(rois)

    def set_rois(self, rois: Sequence[RoiSettings]) -> None:
        """Go on with other regions; nothing has entered them so far."""
        self._rois = tuple(rois)
        self._inside = np.zeros((len(self._rois), self.tracks.most), np.int8)

    def take(
        self,
        objects: NDArray[np.void],
        meta: FrameMeta,
        shape: tuple[int, int],
        wanted: frozenset[str],
        *,
        follow: bool = True,
    ) -> tuple[dict[str, Any], NDArray[np.int64], NDArray[np.int64]]:
        """Work the columns of a frame out.

        Parameters
        ----------
        objects
            (n,) of ``OBJECT_DTYPE``, followed over time.
        meta, shape
            How the frame was taken, and its (y, x).
        wanted
            Names of columns; ``class`` comes as the number of the class.
        follow
            Someone asks for ``places``; else they are only worked out where a column needs them.

        Returns
        -------
        values
            Name -> (n,) array, or one value of the frame.
        places
            (n,) of each track in `Tracks`; -1 where there is none.
        fresh
            Places that are of new tracks.
        """
        places, fresh = np.full(len(objects), -1, np.int64), np.zeros(0, np.int64)
        if follow or self._rois or wanted & _OF_TRACKS:
            ids = objects["track_id"].astype(np.int64)
            followed_rows = np.flatnonzero(ids > 0)
            places[followed_rows], fresh = self.tracks.take(ids[followed_rows])
            for history in self._ways.values():
                history.forget(fresh)
            self._inside[:, fresh] = 0
        values = self._of_frame(objects, meta, shape, wanted)
        for name in wanted:
            column = OBJECT_COLUMNS.get(name)
            if column is not None and column.field:
                values[name] = objects[column.field]
        if "class" in wanted:
            values["class"] = objects["class_id"]
        if "uncertainty" in wanted:
            given = objects["uncertainty"].astype(np.float64)
            values["uncertainty"] = np.where(given >= 0, given, np.nan)
        if "neighbours" in wanted:
            touch = objects["neighbours"].astype(np.float64)
            values["neighbours"] = np.where(touch >= 0, touch, np.nan)
        if "p" in wanted:
            values["p"] = np.where(
                objects["class_id"] >= 0, objects["class_probability"].astype(float), np.nan
            )
        if "appeared" in wanted:
            values["appeared"] = (objects["age_frames"] == 1) & (objects["parent_id"] == 0)
        if "speed_um" in wanted:
            scale = meta.pixel_size_um or np.nan
            values["speed_um"] = objects["speed_px"].astype(np.float64) * scale
        if any(name in wanted for name in _HISTORY):
            values["area_change"], values["mean_change"] = self._way(meta).take(
                places, objects["area_px"].astype(float), objects["mean_intensity"].astype(float)
            )
        if _CHANGE_DENOISED in wanted:
            _, values[_CHANGE_DENOISED] = self._way(meta, "denoised").take(
                places, objects["area_px"].astype(float), objects["mean_denoised"].astype(float)
            )
        self._regions(objects, places, values)
        return values, places, fresh

    def _regions(
        self, objects: NDArray[np.void], places: NDArray[np.int64], values: dict[str, Any]
    ) -> None:
        known = places >= 0
        for k, roi in enumerate(self._rois):
            unit = roi.unit
            inside = roi.contains(objects[f"y_{unit}"], objects[f"x_{unit}"])
            before = np.where(known, self._inside[k][places], 0)
            values[f"in_roi_{k}"] = inside
            values[f"entered_roi_{k}"] = inside & (before == -1)
            values[f"left_roi_{k}"] = ~inside & (before == 1)
            self._inside[k][places[known]] = np.where(inside[known], 1, -1)

    def _way(self, meta: FrameMeta, image: str = "raw") -> History:
        key = (meta.channel, meta.exposure_ms, meta.pixel_size_um, image)
        history = self._ways.pop(key, None) or History(self.tracks.most)
        self._ways[key] = history
        if len(self._ways) > MOST_WAYS:
            self._ways.popitem(last=False)
        return history

    def _of_frame(
        self,
        objects: NDArray[np.void],
        meta: FrameMeta,
        shape: tuple[int, int],
        wanted: frozenset[str],
    ) -> dict[str, Any]:
        at_s = meta.recorded_s if meta.recorded_s >= 0 else meta.captured_ns / 1e9
        if self._start_s is None:
            self._start_s = at_s
        divided = objects["divided"]
        if divided.any():
            self._divisions.append((at_s, len(np.unique(objects["parent_id"][divided]))))
        while self._divisions and self._divisions[0][0] < at_s - RATE_WINDOW_S:
            self._divisions.popleft()
        span_s = min(RATE_WINDOW_S, max(at_s - self._start_s, 1.0))
        contrast = _contrast(objects) if {"contrast", "contrast_change"} & wanted else np.nan
        values: dict[str, Any] = {
            "n": len(objects),
            "contrast": contrast,
            "rate_divisions": 60.0 * sum(count for _, count in self._divisions) / span_s,
            "t_s": at_s - self._start_s,
            "stage_x_um": meta.x_um,
            "stage_y_um": meta.y_um,
            "stage_z_um": meta.z_um,
            "position": meta.pos_name,
            "position_number": meta.index.get("p", -1),
            "channel": meta.channel,
            "exposure_ms": meta.exposure_ms,
            "in_burst": meta.decision >= 0,
        }
        if "n_left" in wanted:
            values["n_left"] = self._left(objects, meta, shape)
        if "confluence" in wanted:
            covered = float(objects["area_px"].sum(dtype=float))
            values["confluence"] = covered / max(1, shape[0] * shape[1])
        if any(name in wanted for name in _FRAME_HISTORY):
            count, sharp = self._place(meta)
            # In a burst the stage looks elsewhere, so its frames are not what is usual here.
            learn = meta.decision < 0
            values["n_change"] = count.take(len(objects), learn=learn)
            values["contrast_change"] = sharp.take(contrast, learn=learn)
        assert values.keys() <= FRAME_COLUMNS.keys()
        return values

    def _left(self, objects: NDArray[np.void], meta: FrameMeta, shape: tuple[int, int]) -> int:
        """Objects that touched the border of the frame before and are in this one no more.

        None are counted when the stage has moved: then the frame left them.
        """
        here = (meta.x_um, meta.y_um, meta.channel, meta.pixel_size_um, shape)
        ids = objects["track_id"]
        there, gone = self._border, 0
        if there is not None and there[0] == here:
            gone = int(np.count_nonzero(~np.isin(there[1], ids)))
        at_border = (
            (objects["bbox_y0"] <= BORDER_PX) | (objects["bbox_y1"] >= shape[0] - BORDER_PX)
            | (objects["bbox_x0"] <= BORDER_PX) | (objects["bbox_x1"] >= shape[1] - BORDER_PX)
        )  # fmt: skip
        self._border = here, ids[at_border & (ids > 0)].copy()
        return gone

    def _place(self, meta: FrameMeta) -> tuple[_Level, _Level]:
        index = tuple(meta.index.get(axis, -1) for axis in ("p", "g", "z"))
        key = (meta.channel, meta.exposure_ms, meta.pixel_size_um, meta.pos_name, index)
        levels = self._places.pop(key, None) or (_Level(), _Level())
        self._places[key] = levels
        if len(self._places) > MOST_PLACES:
            self._places.popitem(last=False)
        return levels


def _contrast(objects: NDArray[np.void]) -> float:
    mean = objects["mean_intensity"].astype(float)
    good = mean > 0
    if not good.any():
        return float("nan")
    return float(np.median((objects["max_intensity"][good] - mean[good]) / mean[good]))
