"""One growing OME-Zarr 0.5 image (t, y, x), laid out and written by ome-writers.

One chunk is one frame. The file of a chunk appears by renaming, so it is either complete or not
there, and `ImageStore.is_on_disk` can tell which frames survived anything that may happen.

Two traps are mended here. Zarr writers leave out a chunk that is all zeros, so a black frame and
a missing frame would look the same: a black frame gets its file like any other. And a store must
not be made before its first frame, since an empty growing array already claims one.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import tensorstore
from numpy.typing import NDArray
from ome_writers import AcquisitionSettings, Dimension, OmeZarrFormat, create_stream

from live.recording.errors import StoreError

NAMESPACE: Final = "parfocal"
LABELS_NAME: Final = "cells"
_FORGET_EVERY: Final = 64


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """What is fixed when an image is made."""

    height: int
    width: int
    dtype: str
    pixel_size_um: float = 0.0
    """0 means uncalibrated: the axes then carry no unit and a scale of 1."""
    interval_s: float = 1.0
    """Nominal time between frames; the real time of each is in its metadata and the journal."""
    start_s: float = 0.0
    """Time of the first frame since the first of the run."""
    compression: Literal["zstd"] | None = None
    """``zstd`` for label images; raw frames stay as they are."""


class ImageStore:
    """Writes one image. One thread owns it; `is_on_disk` alone may be called by any.

    Parameters
    ----------
    path
        Folder to create.
    layout
        Shape and scale of the image.

    Raises
    ------
    StoreError
        When the folder exists or cannot be made.
    """

    def __init__(self, path: Path, layout: ImageLayout) -> None:
        self.path, self.layout = path, layout
        self._chunks = str(path / "0" / "c")
        self._length = 0
        self._written = 0
        self._closed = False
        try:
            self._stream = create_stream(_settings(path, layout))
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot make the image {path}: {error}") from error
        try:
            self._stream.set_global_metadata(NAMESPACE, {"state": "recording"})
            self._black = _black_chunk(path / "0", layout)
            self._black_is_zeros = not any(self._black)
        except (OSError, ValueError) as error:
            self._stream.close()
            raise StoreError(f"cannot lay out the image {path}: {error}") from error

    @property
    def length(self) -> int:
        """Frames that the image has, those skipped included."""
        return self._length

    def append(self, pixels: NDArray[Any]) -> None:
        """Begin to write the next frame; `is_on_disk` tells when it is complete.

        ``pixels`` (y, x) must not change until then.
        """
        try:
            if _is_black(pixels):
                self._stream.skip(frames=1)
                self._write_black(self._length)
            else:
                self._stream.append(pixels)
        except (OSError, ValueError, RuntimeError, IndexError) as error:
            raise StoreError(f"frame {self._length} of {self.path}: {error}") from error
        self._length += 1
        self._written += 1
        if self._written % _FORGET_EVERY == 0:
            _forget_written(self._stream)

    def skip_to(self, t_index: int) -> None:
        """Leave frames without pixels until the next one appended has index ``t_index``."""
        missing = t_index - self._length
        if missing <= 0:
            return
        try:
            self._stream.skip(frames=missing)
        except (OSError, ValueError, RuntimeError, IndexError) as error:
            raise StoreError(f"{self.path} cannot grow to {t_index} frames: {error}") from error
        self._length = t_index

    def is_on_disk(self, t_index: int) -> bool:
        """Whether the chunk of frame ``t_index`` lies complete on disk."""
        # as text: every part of a `Path` goes into the interpreter's table of strings, which is
        # some MB and laid out anew, elsewhere, every few thousand frames
        return os.path.exists(f"{self._chunks}/{t_index}/0/0")  # noqa: PTH110

    def set_interval(self, interval_s: float) -> None:
        """Put a measured mean time between frames in place of the nominal one."""
        self._edit_metadata(interval_s=interval_s)

    def mark_as_labels(self) -> None:
        """Say that this image holds labels of the image two folders up (NGFF ``image-label``)."""
        self._edit_metadata(is_label=True)

    def close(self) -> None:
        """Wait for what is being written and close. Safe to call twice.

        Raises
        ------
        StoreError
            With the cause, when some frame could not be written.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._stream.close()
            state = {"state": "complete", "frames_written": self._written}
            self._stream.set_global_metadata(NAMESPACE, state)
        except (OSError, ValueError, RuntimeError) as error:
            raise StoreError(f"{self.path} could not be completed: {error}") from error

    def _edit_metadata(self, *, interval_s: float | None = None, is_label: bool = False) -> None:
        metadata = self._stream.get_metadata()
        ome = metadata["."]["ome"]
        if interval_s is not None:
            for dataset in ome["multiscales"][0]["datasets"]:
                dataset["coordinateTransformations"][0]["scale"][0] = interval_s
        if is_label:
            ome["image-label"] = {"source": {"image": "../../"}}
        self._stream.update_metadata(metadata)

    def _write_black(self, t_index: int) -> None:
        target = chunk_path(self.path, t_index)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name("0.partial")
        with partial.open("wb") as file:
            if self._black_is_zeros:
                file.truncate(len(self._black))  # a file of zeros, without writing them
            else:
                file.write(self._black)
        os.replace(partial, target)  # noqa: PTH105 - atomic on every system, unlike Path.rename


def _forget_written(stream: Any) -> None:
    """Let go of writes that are done: ome-writers 0.3 keeps each, some kB, until the store closes.

    One that failed stays, so that closing tells of it.
    """
    backend = getattr(stream, "_backend", None)
    writes = getattr(backend, "_futures", None)
    if isinstance(writes, list):
        writes[:] = [one for one in writes if not one.done() or one.exception() is not None]


def chunk_path(store: Path, t_index: int) -> Path:
    """File that holds frame ``t_index`` of the image in folder ``store``."""
    return store / "0" / "c" / str(t_index) / "0" / "0"


def frames_on_disk(store: Path) -> set[int]:
    """Indices of the frames whose chunk lies complete in ``store``; empty where there is none."""
    chunks = store / "0" / "c"
    if not chunks.is_dir():
        return set()
    return {
        int(item.name)
        for item in chunks.iterdir()
        if item.name.isdecimal() and (item / "0" / "0").is_file()
    }


def list_labels(raw: Path) -> None:
    """Write the group ``labels`` of image ``raw``, so that readers find its label image."""
    group = raw / "labels"
    group.mkdir(exist_ok=True)
    attributes = {"ome": {"version": "0.5", "labels": [LABELS_NAME]}}
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    (group / "zarr.json").write_text(json.dumps(document), encoding="utf-8")


def _settings(path: Path, layout: ImageLayout) -> AcquisitionSettings:
    scale, unit = (layout.pixel_size_um, "micrometer") if layout.pixel_size_um else (1.0, None)
    return AcquisitionSettings(
        root_path=str(path),
        dimensions=(
            Dimension(
                name="t",
                count=None,
                chunk_size=1,
                type="time",
                unit="second",
                scale=layout.interval_s,
                translation=layout.start_s or None,
            ),
            Dimension(
                name="y",
                count=layout.height,
                chunk_size=layout.height,
                type="space",
                unit=unit,
                scale=scale,
            ),
            Dimension(
                name="x",
                count=layout.width,
                chunk_size=layout.width,
                type="space",
                unit=unit,
                scale=scale,
            ),
        ),
        dtype=layout.dtype,
        compression=layout.compression,
        format=OmeZarrFormat(
            backend="tensorstore",
            # Without this a label image would be called cells.ome.zarr, where no reader looks.
            suffix=".ome.zarr" if path.name.endswith(".ome.zarr") else "",
        ),
    )


def _is_black(pixels: NDArray[Any]) -> bool:
    # A camera has an offset, so nearly every frame is settled by a few hundred pixels.
    return not pixels[::64, ::64].any() and not pixels.any()


def _black_chunk(array: Path, layout: ImageLayout) -> bytes:
    """Bytes of an all-zero chunk under the codecs that ``array`` was made with."""
    metadata = json.loads((array / "zarr.json").read_text(encoding="utf-8"))
    metadata["shape"][0] = 1
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "memory", "path": "black/"},
        "metadata": metadata,
        "create": True,
        "store_data_equal_to_fill_value": True,
    }
    # A context of its own: the memory store of the default one is shared by the whole process.
    black = tensorstore.open(spec, context=tensorstore.Context()).result()
    black[0].write(np.zeros((layout.height, layout.width), layout.dtype)).result()
    files = black.kvstore
    if files is None:
        raise ValueError("the zarr driver names no key-value store")
    return bytes(files.read("c/0/0/0").result().value)
