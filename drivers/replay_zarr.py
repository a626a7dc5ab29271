"""OME-Zarr 0.5 images as parts of a recording, read through tensorstore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from numpy.typing import NDArray

from drivers.errors import SettingsError
from drivers.replay_sources import Part

_UM = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3}
_MS = {"second": 1e3, "millisecond": 1.0, "minute": 6e4, "hour": 3.6e6}


def zarr_part(group: Path, channel: int) -> Part:
    """Full resolution of the OME-Zarr image at ``group``; outer axes become frames, t first."""
    axes, dataset = _image(group)
    try:
        store = tensorstore.open(
            {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": str(group / dataset["path"])},
            },
            open=True,
            read=True,
        ).result()
    except Exception as error:
        raise SettingsError(f"{group}: its array does not open: {error}") from error
    names = [str(axis["name"]) for axis in axes]
    shape = tuple(int(n) for n in store.shape)
    if names[-2:] != ["y", "x"] or len(names) != len(shape):
        raise SettingsError(f"{group} has axes {names} and shape {shape}, need (…, y, x)")
    outer = shape[:-2]
    planes: NDArray[np.int64] = np.arange(int(np.prod(outer, dtype=np.int64))).reshape(outer)
    if "c" in names:
        at = names.index("c")
        if channel >= outer[at]:
            raise SettingsError(f"{group} has {outer[at]} channels, counted from 0; no {channel}")
        planes = np.take(planes, [channel], axis=at)
    order = planes.ravel()

    def read(index: int) -> NDArray[Any]:
        where = np.unravel_index(int(order[index]), outer) if outer else ()
        return np.asarray(store[tuple(int(i) for i in where)].read().result())

    scale = _scale(dataset, len(shape))
    return Part(
        path=group,
        count=len(order),
        shape=(shape[-2], shape[-1]),
        dtype=np.dtype(store.dtype.numpy_dtype).name,
        read=read,
        pixel_size_um=scale[-1] * _UM.get(str(axes[-1].get("unit")), 0.0),
        interval_ms=scale[0] * _MS.get(str(axes[0].get("unit")), 0.0) if names[0] == "t" else 0.0,
    )


def _image(group: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Axes and full-resolution dataset of an OME-Zarr 0.5 image."""
    try:
        data = json.loads((group / "zarr.json").read_text(encoding="utf-8"))
        image = data["attributes"]["ome"]["multiscales"][0]
        axes, dataset = image["axes"], image["datasets"][0]
        if not isinstance(dataset["path"], str) or not all("name" in axis for axis in axes):
            raise KeyError("path")
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise SettingsError(
            f"{group} is no OME-Zarr 0.5 image (its zarr.json lacks ome.multiscales: {error!r}); "
            "name the folder of one image"
        ) from error
    return axes, dataset


def _scale(dataset: dict[str, Any], size: int) -> list[float]:
    for step in dataset.get("coordinateTransformations", ()):
        if step.get("type") == "scale" and len(step.get("scale", ())) == size:
            return [float(value) for value in step["scale"]]
    return [0.0] * size
