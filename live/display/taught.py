"""The folder of objects that someone named by clicks, one sub-folder for each class.

::

    taught/mitotic/120_7.tif         raw counts, 3 diameters wide
    taught/mitotic/120_7_mask.png    0 and 255: the object's own pixels
    taught/mitotic/120_7.json        sizes and counts, see `live.display.teach.TaughtFacts`

The image is written last and taken away first, so that each image has its mask and its facts.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from live.display.errors import TeachError
from live.display.files import write_whole
from live.display.teach import TaughtCrop

STEPS_KEPT = 1000
MOST_TAUGHT = 50_000
_SUFFIXES = ("_mask.png", ".json", ".tif")

Key = tuple[int, int]
"""(seq, label): one object in one frame."""


@dataclass(frozen=True, slots=True)
class _Step:
    key: Key
    before: str | None
    after: str


class TaughtFolder:
    """Writes, moves and takes back crops. One thread uses it.

    Parameters
    ----------
    path
        The folder; made with the first crop. What an earlier process put there is counted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._class_of: dict[Key, str] = {}
        self._steps: deque[_Step] = deque(maxlen=STEPS_KEPT)
        for image in sorted(path.glob("*/*.tif")):
            match = re.fullmatch(r"(\d+)_(\d+)", image.stem)
            if match:
                self._class_of[int(match[1]), int(match[2])] = image.parent.name

    def classes(self) -> dict[str, int]:
        """Class -> crops, in the order in which classes came."""
        return dict(Counter(self._class_of.values()))

    def class_of(self, seq: int, label: int) -> str | None:
        """What an object was taught as; None when it was not."""
        return self._class_of.get((seq, label))

    def put(self, crop: TaughtCrop, name: str) -> bool:
        """Keep a crop as an example of a class, or move it there when it is of another.

        Returns
        -------
        bool
            False when it is of that class already, and nothing was done.

        Raises
        ------
        TeachError
            When it cannot be written; nothing of it is then left.
        """
        key = (crop.facts.seq, crop.facts.label)
        before = self._class_of.get(key)
        if before == name:
            return False
        if before is not None:
            self._move(key, before, name)
        elif len(self._class_of) >= MOST_TAUGHT:
            raise TeachError(
                f"{MOST_TAUGHT} objects are taught, the most of one run; start another"
            )
        else:
            self._write(key, crop, name)
        self._class_of[key] = name
        self._steps.append(_Step(key, before, name))
        return True

    def undo(self) -> str:
        """Take the last click back; what was done, in words.

        Raises
        ------
        TeachError
            When there is none, or its files cannot be moved.
        """
        if not self._steps:
            raise TeachError("nothing to take back")
        step = self._steps[-1]
        if step.before is None:
            self._take_away(step.key, step.after)
            del self._class_of[step.key]
            told = f"taken back: {step.after}"
        else:
            self._move(step.key, step.after, step.before)
            self._class_of[step.key] = step.before
            told = f"taken back: {step.before} again, not {step.after}"
        self._steps.pop()
        return told

    def _write(self, key: Key, crop: TaughtCrop, name: str) -> None:
        image, mask = io.BytesIO(), io.BytesIO()
        tifffile.imwrite(image, crop.pixels, photometric="minisblack", metadata=None)
        Image.fromarray(crop.mask.astype(np.uint8) * 255).save(mask, "PNG")
        facts = json.dumps(crop.facts.to_json(), indent=1).encode()
        contents = (mask.getvalue(), facts, image.getvalue())
        try:
            for suffix, content in zip(_SUFFIXES, contents, strict=True):
                write_whole(content, self._file(key, name, suffix))
        except OSError as error:
            if (self.path / name).is_dir():
                self._take_away(key, name)
            raise TeachError(f"cannot be kept in {self.path}: {error.strerror or error}") from error

    def _move(self, key: Key, old: str, new: str) -> None:
        try:
            (self.path / new).mkdir(parents=True, exist_ok=True)
            for suffix in _SUFFIXES:
                self._file(key, old, suffix).replace(self._file(key, new, suffix))
        except OSError as error:
            raise TeachError(f"cannot be moved to {new}: {error.strerror or error}") from error
        self._tidy(old)

    def _take_away(self, key: Key, name: str) -> None:
        try:
            for suffix in reversed(_SUFFIXES):
                self._file(key, name, suffix).unlink(missing_ok=True)
        except OSError as error:
            raise TeachError(f"cannot be taken back: {error.strerror or error}") from error
        self._tidy(name)

    def _tidy(self, name: str) -> None:
        """A class without an example leaves no folder that training would stumble over."""
        folder = self.path / name
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _file(self, key: Key, name: str, suffix: str) -> Path:
        return self.path / name / f"{key[0]}_{key[1]}{suffix}"
