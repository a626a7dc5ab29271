"""Which sizes an engine is built for: a range of image sizes, or one alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from models.errors import EngineError

Given = tuple[int | str, ...]
"""Axes of an input as an ONNX file states them: a number, or what a free length is called."""


class Range(NamedTuple):
    """Shapes of one input."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Images that an engine will be given, all (y, x) in pixels. Equal ones: this size alone."""

    least: tuple[int, int] = (16, 16)
    usual: tuple[int, int] = (512, 512)
    most: tuple[int, int] = (4096, 4096)
    batch: tuple[int, int, int] = (1, 32, 256)
    """Fewest, usual and most rows of an input whose first axis alone is free, as in sorting."""

    def __post_init__(self) -> None:
        for low, mid, high in (*zip(self.least, self.usual, self.most, strict=True), self.batch):
            if not 1 <= low <= mid <= high:
                raise EngineError(
                    f"sizes from {self.least} by {self.usual} to {self.most} px and batch "
                    f"{self.batch}: need 1 <= least <= usual <= most on every axis"
                )

    def __str__(self) -> str:
        images = ",".join(f"{y}x{x}" for y, x in (self.least, self.usual, self.most))
        return f"{images};{','.join(str(n) for n in self.batch)}"

    @classmethod
    def only(cls, height: int, width: int) -> Sizes:
        """One size and no other, which TensorRT can make the most of."""
        return cls((height, width), (height, width), (height, width))

    @classmethod
    def parse(cls, text: str) -> Sizes:
        """Sizes as people write them.

        Parameters
        ----------
        text
            ``512x512``, that size alone (y by x); or ``64x64,512x512,2048x2048``: least, usual
            and most.

        Raises
        ------
        EngineError
            When it is neither.
        """
        found = [re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*", part) for part in text.split(",")]
        pairs = [(int(one[1]), int(one[2])) for one in found if one is not None]
        if len(pairs) != len(found) or len(pairs) not in (1, 3):
            raise EngineError(
                f"got sizes {text!r}; need 512x512 (that alone) or 64x64,512x512,2048x2048 "
                "(least, usual, most), height by width in pixels"
            )
        return cls.only(*pairs[0]) if len(pairs) == 1 else cls(pairs[0], pairs[1], pairs[2])

    def ranges(self, inputs: Mapping[str, Given]) -> dict[str, Range]:
        """Shapes of each input that has free axes.

        Parameters
        ----------
        inputs
            Axes of each input. Where the last two are free they are rows and columns, which a
            name such as ``16*rows`` makes multiples of 16; where the first alone is free it
            counts what is to be sorted.

        Raises
        ------
        EngineError
            When other axes are free.
        """
        return {
            name: Range(*self._shapes(name, axes))
            for name, axes in inputs.items()
            if any(isinstance(axis, str) for axis in axes)
        }

    def _shapes(self, name: str, axes: Given) -> list[tuple[int, ...]]:
        free = [index for index, axis in enumerate(axes) if isinstance(axis, str)]
        last = len(axes) - 1
        shapes = []
        for image, count in zip((self.least, self.usual, self.most), self.batch, strict=True):
            if free == [0] and last > 0:
                lengths = {0: count}
            elif free == [last - 1, last]:
                lengths = {axis: _up(image[k], axes[axis]) for k, axis in enumerate(free)}
            else:
                raise EngineError(
                    f"input {name!r} has the free axes {free} of {list(axes)}; an engine can be "
                    "built where the first, or the last two, are free"
                )
            shapes.append(tuple(lengths.get(k, axis) for k, axis in enumerate(axes)))
        return shapes  # type: ignore[return-value]  # what was not free is a number


def _up(length: int, axis: int | str) -> int:
    """The length, or the next one that an axis named as ``16*rows`` can have."""
    found = re.match(r"(\d+)\s*\*", str(axis))
    step = int(found[1]) if found else 1
    return -(-length // step) * step
