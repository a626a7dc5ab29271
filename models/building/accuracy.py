"""How a network of another precision differs from the float32 one, on frames that were held back.

Both go through the whole stage as in a live run, and what comes out is compared: label images by
average precision, denoised counts by the size of the difference beside that of the noise, classes
by how often they agree. What is worse than the tolerance of its precision is refused with figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.building.frames import Frames, through
from models.catalog import ModelCard
from models.errors import ModelError
from models.scoring import agreement

LIMITS = (0.5, 0.9)
"""Overlaps at which label images are compared."""

AP50, AP90 = "ap50", "ap90"
PSNR = "psnr_db"
OF_NOISE = "of_noise"
AGREE = "agree"

WHAT = {
    AP50: "AP@0.5 with the float32 labels",
    AP90: "AP@0.9 with the float32 labels",
    PSNR: "PSNR in dB beside the float32 result",
    OF_NOISE: "difference as a part of the noise removed",
    AGREE: "objects with the same class",
}
"""What each figure says."""

LARGER_IS_BETTER = frozenset({AP50, AP90, PSNR, AGREE})


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a task must keep: least or, of `OF_NOISE`, most."""

    limits: Mapping[str, float]


_SIXTEEN = {
    "segment": Tolerance({AP50: 0.98, AP90: 0.98}),
    "denoise": Tolerance({OF_NOISE: 0.05}),
    "classify": Tolerance({AGREE: 0.98}),
}
TOLERANCES: Mapping[str, Mapping[str, Tolerance]] = {
    "fp32": _SIXTEEN,
    "fp16": _SIXTEEN,
    # bf16 keeps 8 bits of each value: outlines of the smallest objects shift by a pixel
    "bf16": {**_SIXTEEN, "segment": Tolerance({AP50: 0.97, AP90: 0.75})},
    "int8": {
        # On nuclei of many laboratories 0.96 and 0.76 with the float32 labels went with a change
        # of 0.000 in AP@0.5 with the truth: what differs there are objects that are in doubt.
        "segment": Tolerance({AP50: 0.95, AP90: 0.75}),
        # a tenth of the noise in amplitude is a hundredth of it in power
        "denoise": Tolerance({OF_NOISE: 0.10}),
        "classify": Tolerance({AGREE: 0.95}),
    },
}
"""By precision and task."""


class WorseThanAllowed(ModelError):
    """What was built differs more from the float32 network than is allowed."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How two networks compare on held-back frames."""

    task: str
    precision: str
    engine: str
    """What ran the network that was built."""
    frames: int
    objects: int
    """Objects, of both label images or classified; 0 of a network to denoise."""
    figures: Mapping[str, float]
    """By the names in `WHAT`."""

    @property
    def limits(self) -> Mapping[str, float]:
        """What each figure must reach, or must not exceed."""
        return TOLERANCES[self.precision][self.task].limits

    @property
    def missed(self) -> tuple[str, ...]:
        """Names of the figures that are worse than allowed; one that is no number is."""
        return tuple(name for name, limit in self.limits.items() if not self._kept(name, limit))

    def _kept(self, name: str, limit: float) -> bool:
        value = self.figures.get(name, math.nan)
        return value >= limit if name in LARGER_IS_BETTER else value <= limit

    def sentence(self) -> str:
        """The figures with their limits, for people."""
        parts = []
        for name, value in self.figures.items():
            limit = self.limits.get(name)
            need = "at least" if name in LARGER_IS_BETTER else "at most"
            allowed = "" if limit is None else f" (need {need} {limit:g})"
            parts.append(f"{WHAT[name]} {value:.4g}{allowed}")
        on = f"on {self.frames} held-back frames"
        if self.objects:
            on += f" with {self.objects} objects"
        return f"{'; '.join(parts)}; {on}, {self.engine}"

    def check(self) -> None:
        """Raise `WorseThanAllowed` with the figures unless every limit is kept."""
        if self.missed:
            raise WorseThanAllowed(
                f"refused, {self.precision} costs too much: {self.sentence()}; calibrate on more "
                "frames like those of your experiment, or build with a precision of more bits"
            )

    def to_json(self) -> dict[str, Any]:
        """As the build report and the model card give it."""
        return {
            "task": self.task, "precision": self.precision, "engine": self.engine,
            "frames": self.frames, "objects": self.objects, "figures": dict(self.figures),
            "limits": dict(self.limits), "passed": not self.missed,
        }  # fmt: skip


def reference_on(card: ModelCard, frames: Frames) -> list[NDArray[Any]]:
    """What the float32 network gives, in ONNX Runtime."""
    return through(card, frames)


def compared(
    card: ModelCard,
    frames: Frames,
    reference: Sequence[NDArray[Any]],
    *,
    engine: str,
    run_as: str,
    precision: str,
) -> Accuracy:
    """Compare a built network with the reference on the same frames.

    Parameters
    ----------
    card
        Of what was built.
    frames
        Held-back frames.
    reference
        What `reference_on` gave for them.
    engine, run_as
        Engine, and the precision that it is opened with.
    precision
        What the network was built in; its tolerance holds.
    """
    found = through(card, frames, engine=engine, precision=run_as)
    objects = 0
    figures: dict[str, float]
    if card.task == "segment":
        figures = _of_labels(found, reference)
        objects = sum(len(np.unique(labels[labels > 0])) for labels in reference)
    elif card.task == "denoise":
        figures = _of_counts(found, reference, frames)
    else:
        figures = _of_classes(found, reference)
        objects = sum(len(table) for table in reference)
    if card.task != "denoise" and not objects:
        raise ModelError(
            f"{card.name} finds no object on the {len(frames)} held-back frames, so nothing can be "
            "compared; give frames with objects"
        )
    return Accuracy(card.task, precision, engine, len(frames), objects, figures)


def _of_labels(
    found: Sequence[NDArray[Any]], reference: Sequence[NDArray[Any]]
) -> dict[str, float]:
    at = agreement(zip(found, reference, strict=True), LIMITS)
    return {AP50: at[0].ap, AP90: at[1].ap}


def _of_counts(
    found: Sequence[NDArray[Any]], reference: Sequence[NDArray[Any]], frames: Frames
) -> dict[str, float]:
    """Root mean square of the difference, beside the span of the image and the noise removed."""
    error = np.mean([np.mean((a - b) ** 2) for a, b in zip(found, reference, strict=True)])
    noise = np.mean([np.mean((frame - b) ** 2) for frame, b in zip(frames, reference, strict=True)])
    span = max(float(np.percentile(b, 99.9) - b.min()) for b in reference)
    error = max(float(error), 1e-12)
    return {
        OF_NOISE: math.sqrt(error / max(float(noise), 1e-12)),
        PSNR: 10 * math.log10(max(span, 1e-6) ** 2 / error),
    }


def _of_classes(
    found: Sequence[NDArray[Any]], reference: Sequence[NDArray[Any]]
) -> dict[str, float]:
    same = [a.argmax(axis=1) == b.argmax(axis=1) for a, b in zip(found, reference, strict=True)]
    every = np.concatenate(same)
    return {AGREE: float(every.mean()) if len(every) else math.nan}
