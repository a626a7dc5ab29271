"""TIFF and PNG files as parts of a recording."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from drivers.errors import SettingsError
from drivers.replay_sources import Part

_UM = {"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0}
_UM |= {"\\u00B5m": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "inch": 25400.0}
_MS = {"s": 1e3, "sec": 1e3, "ms": 1.0, "min": 6e4, "h": 3.6e6}
_NEVER_WHOLE_BYTES = 2 << 30


def tiff_part(path: Path, channel: int) -> Part:
    """A TIFF: its first series, all planes of one channel, in file order."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return _part(path, tiff, channel)
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(f"{path} is not a readable TIFF: {error}") from error


def png_part(path: Path) -> Part:
    """A PNG: grey of 8 or 16 bit, or grey that was saved as colour."""
    try:
        with Image.open(path) as image:
            mode, (width, height) = image.mode, image.size
    except Exception as error:
        raise SettingsError(f"{path} is not a readable PNG: {error}") from error
    dtype = {"L": "uint8", "I;16": "uint16", "I;16B": "uint16", "I": "int32"}.get(mode)
    if dtype is None and mode not in ("LA", "RGB", "RGBA"):
        raise SettingsError(f"{path} is a PNG of mode {mode}, need grey of 8 or 16 bit")

    def read(_: int) -> NDArray[Any]:
        with Image.open(path) as image:
            pixels = np.asarray(image)
        if pixels.ndim == 3:
            pixels = _grey(pixels[..., :3] if mode != "LA" else pixels[..., :1], path)
        return pixels.astype("uint16", copy=False) if dtype == "uint16" else pixels

    return Part(path, 1, (height, width), dtype or "uint8", read)


def _part(path: Path, tiff: tifffile.TiffFile, channel: int) -> Part:
    series = tiff.series[0]
    axes, shape = str(series.axes), tuple(int(n) for n in series.shape)
    if axes.endswith("YXS"):
        inner = "YXS"
    elif axes.endswith("YX"):
        inner = "YX"
    else:
        raise SettingsError(f"{path} has axes {axes}, need images in (y, x)")
    outer_axes, outer = axes[: -len(inner)], shape[: len(axes) - len(inner)]
    planes: NDArray[np.int64] = np.arange(int(np.prod(outer, dtype=np.int64))).reshape(outer)
    # A TIFF with planar samples (S first) holds its colours or dyes as S.
    for axis in ("C", "S"):
        if axis in outer_axes:
            at = outer_axes.index(axis)
            if channel >= outer[at]:
                raise SettingsError(
                    f"{path} has {outer[at]} channels, counted from 0; no {channel}"
                )
            planes = np.take(planes, [channel], axis=at)
            break
    order = planes.ravel()
    if not _by_page(series, planes.size) and series.dataoffset is None:
        _check_whole(path, series)
    planes_of = _Planes(path, len(inner))

    def read(index: int) -> NDArray[Any]:
        pixels = planes_of.read(int(order[index]))
        return _grey(pixels, path) if inner == "YXS" else pixels

    pixel_size_um, interval_ms = _scale(tiff)
    height, width = shape[len(outer) : len(outer) + 2]
    return Part(
        path=path,
        count=len(order),
        shape=(height, width),
        dtype=np.dtype(series.dtype).name,
        read=read,
        close=planes_of.close,
        pixel_size_um=pixel_size_um,
        interval_ms=interval_ms,
    )


class _Planes:
    """Planes of a TIFF's first series; the file is opened by the first `read`."""

    def __init__(self, path: Path, inner: int) -> None:
        self._path = path
        self._inner = inner
        self._tiff: tifffile.TiffFile | None = None
        self._plane: Callable[[int], NDArray[Any]] | None = None

    def read(self, number: int) -> NDArray[Any]:
        """Plane ``number`` in file order, (y, x) or (y, x, sample)."""
        if self._plane is None:
            self._tiff = tifffile.TiffFile(self._path)
            self._plane = self._way(self._tiff)
        return self._plane(number)

    def close(self) -> None:
        """Close the file until the next `read`."""
        self._plane = None
        if self._tiff is not None:
            self._tiff.close()
            self._tiff = None

    def _way(self, tiff: tifffile.TiffFile) -> Callable[[int], NDArray[Any]]:
        """Function from plane number to pixels that reads no more than it must."""
        series: Any = tiff.series[0]
        outer, inner = series.shape[: -self._inner], series.shape[-self._inner :]
        total = int(np.prod(outer, dtype=np.int64))
        if _by_page(series, total):
            return lambda number: np.asarray(series.pages[number].asarray())
        if series.dataoffset is not None and total > 1:
            # ImageJ writes one page that stands for all planes, which follow in the file.
            stored = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
            where, shape = int(series.dataoffset), (total, *inner)
            stack = np.memmap(self._path, dtype=stored, mode="r", offset=where, shape=shape)
            return lambda number: stack[number].astype(series.dtype)
        whole = np.asarray(series.asarray()).reshape(total, *inner)
        return lambda number: whole[number]


def _by_page(series: Any, total: int) -> bool:
    return total > 1 and len(series.pages) == total


def _check_whole(path: Path, series: Any) -> None:
    if series.nbytes > _NEVER_WHOLE_BYTES:
        raise SettingsError(
            f"{path} can only be read as a whole, which needs {series.nbytes >> 20} MB; split it"
        )


def _grey(pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    """One plane of a picture whose colours are all the same."""
    if not (pixels == pixels[..., :1]).all():
        raise SettingsError(f"{path} is a colour picture, need grey; save one colour of it alone")
    return pixels[..., 0]


def _scale(tiff: tifffile.TiffFile) -> tuple[float, float]:
    """Pixel size in µm and frame interval in ms; 0 where the file does not say."""
    if tiff.is_ome and tiff.ome_metadata:
        return _ome_scale(tiff.ome_metadata)
    extra = tiff.imagej_metadata
    if not extra:
        return 0.0, 0.0
    unit_um = _UM.get(str(extra.get("unit", "")).strip(), 0.0)
    resolution = tiff.pages.first.tags.get("XResolution")
    per_unit = resolution.value[0] / resolution.value[1] if resolution is not None else 0.0
    pixel_size_um = unit_um / per_unit if unit_um and per_unit else 0.0
    interval_ms = float(extra.get("finterval", 0) or 0) * _MS.get(str(extra.get("tunit", "s")), 1e3)
    if not interval_ms and extra.get("fps"):
        interval_ms = 1e3 / float(extra["fps"])
    return pixel_size_um, interval_ms


def _ome_scale(xml: str) -> tuple[float, float]:
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return 0.0, 0.0  # the pixels are readable all the same, and unknown sizes are said to be
    for element in root.iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            size = float(element.get("PhysicalSizeX", 0))
            size *= _UM.get(element.get("PhysicalSizeXUnit", "µm"), 0.0)
            step = float(element.get("TimeIncrement", 0))
            return size, step * _MS.get(element.get("TimeIncrementUnit", "s"), 0.0)
    return 0.0, 0.0
