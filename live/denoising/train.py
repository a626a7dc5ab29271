"""Training a denoiser on a user's own noisy frames, and what is written of it.

Torch is loaded only inside `fine_tune_here`; everything else works without.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from live.denoising.frames import TrainingFrames
from live.denoising.picture import save_before_after, save_losses
from live.errors import UsageError
from models.catalog import read_card

NEEDED: Final = ("torch", "onnx", "onnxscript")
NO_TORCH: Final = (
    "training needs torch, onnx and onnxscript, which are not all installed: "
    'pip install "parfocal[train]"'
)


class TrainingStopped(Exception):
    """Raised by a progress callback to end training early; what is best so far is kept."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a training is."""

    elapsed_s: float
    left_s: float
    loss_start: float
    """Held-out self-supervised loss of the weights that it started from; NaN before it is known."""
    loss_now: float
    loss_best: float
    """Of the best weights so far, which are those that will be written."""

    @property
    def done(self) -> float:
        """Share of the time, 0 to 1."""
        whole = self.elapsed_s + self.left_s
        return min(max(self.elapsed_s / whole, 0.0), 1.0) if whole > 0 else 0.0


Progress = Callable[[Step], None]


class Trained(Protocol):
    """What came of a training."""

    @property
    def loss_start(self) -> float:
        """Held-out loss before."""

    @property
    def loss_best(self) -> float:
        """Held-out loss of the best weights."""

    @property
    def history(self) -> Sequence[Sequence[float]]:
        """Rows of (minutes, training loss, held-out loss)."""

    @property
    def pictures(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """One frame (y, x), denoised before training, and after."""

    def write(self, path: Path) -> None:
        """Write the best weights as ONNX."""


class FineTune(Protocol):
    """A way to train on noisy frames alone."""

    def __call__(
        self, frames: NDArray[Any], start: Path, seconds: float, seed: int, progress: Progress
    ) -> Trained:
        """Train on (t, y, x) frames from the weights in ``start``; blocks.

        ``progress`` may raise ``TrainingStopped``, which ends training in order.
        """


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a training, with the files that were written."""

    better: bool
    loss_start: float
    loss_best: float
    model: Path | None
    """The ONNX file; None where it did not come out better."""
    picture: Path
    frames: int

    @property
    def gain(self) -> float:
        """Share by which the held-out loss fell."""
        return 1.0 - self.loss_best / self.loss_start if self.loss_start > 0 else 0.0

    def sentence(self) -> str:
        """In words for people."""
        losses = f"held-out loss {self.loss_start:.4g} to {self.loss_best:.4g}"
        if self.better:
            return f"better on your frames: {losses}, {self.gain:.1%} lower"
        return f"not better on your frames ({losses}); the weights that it started from stay"


def training_missing() -> str:
    """Why nothing can be trained here; empty when it can."""
    return NO_TORCH if any(find_spec(part) is None for part in NEEDED) else ""


def train_and_write(
    frames: TrainingFrames,
    start: Path,
    out: Path,
    *,
    seconds: float,
    seed: int,
    progress: Progress,
    fine_tune: FineTune | None = None,
) -> Trial:
    """Train, and write ``out`` with its card if it came out better; pictures and scores always.

    Parameters
    ----------
    frames
        What to learn from.
    start
        ONNX file with a card beside it.
    out
        ``NAME.onnx`` to write; beside it come ``NAME.md``, ``NAME-before-after.png``,
        ``NAME-loss.png`` and ``NAME-scores.json``.
    seconds
        Wall-clock time in all.
    progress
        Told how it goes.
    fine_tune
        How to train; None takes the way of ``models.training``, which needs torch.

    Raises
    ------
    UsageError
        When torch is missing or nothing can be written.
    """
    if fine_tune is None:
        if missing := training_missing():
            raise UsageError(missing)
        fine_tune = fine_tune_here
    out.parent.mkdir(parents=True, exist_ok=True)
    made = fine_tune(frames.pixels, start, seconds, seed, progress)
    better = bool(math.isfinite(made.loss_best) and made.loss_best < made.loss_start)
    picture = out.with_name(f"{out.stem}-before-after.png")
    save_before_after(made.pictures, picture, f"{out.stem}: {frames.source}")
    save_losses(made.history, out.with_name(f"{out.stem}-loss.png"), out.stem)
    trial = Trial(
        better, float(made.loss_start), float(made.loss_best), out if better else None, picture,
        len(frames.pixels),
    )  # fmt: skip
    if better:
        _write_weights(made, start, out, frames, trial)
    scores = {
        "better": better,
        "held_out_loss": {"before": trial.loss_start, "after": trial.loss_best},
        "gain": trial.gain,
        "frames": trial.frames,
        "source": frames.source,
        "start": start.name,
        "seed": seed,
        "seconds": seconds,
    }
    text = json.dumps(_finite(scores), indent=2) + "\n"
    out.with_name(f"{out.stem}-scores.json").write_text(text, encoding="utf-8")
    return trial


def _write_weights(
    made: Trained, start: Path, out: Path, frames: TrainingFrames, trial: Trial
) -> None:
    """The ONNX file and its card; a reader never sees one without the other, or half of one."""
    part = out.with_name(f"{out.stem}.part.onnx")
    try:
        made.write(part)
        out.with_suffix(".md").write_text(_card(start, out, frames, trial), encoding="utf-8")
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _card(start: Path, out: Path, frames: TrainingFrames, trial: Trial) -> str:
    of = read_card(start)
    return (
        f"---\nname: {out.stem}\ntask: denoise\n"
        f"summary: {of.name}, trained further on one microscope's own frames\n"
        f"pixel_multiple: {of.pixel_multiple}\nlicence: {of.licence or 'unknown'}\n---\n\n"
        f"# {out.stem}\n\n"
        f"{of.name} trained further, with no clean image, on {frames.source}. The held-out "
        f"self-supervised loss fell from {trial.loss_start:.5g} to {trial.loss_best:.5g} "
        f"({trial.gain:.1%}).\n\n"
        "It knows one sample on one microscope at one setting: on others the weights that it "
        "started from are the better choice. Look at the residual before you trust it.\n"
    )


def fine_tune_here(
    frames: NDArray[Any], start: Path, seconds: float, seed: int, progress: Progress
) -> Trained:
    """Train with torch, the way of ``models.training.denoise.onrig``."""
    # by name: in this process torch is loaded now, and in no other
    tuning = import_module("models.training.denoise.onrig")

    def told(
        elapsed_s: float, left_s: float, loss_start: float, loss_now: float, loss_best: float
    ) -> None:
        try:
            progress(Step(elapsed_s, left_s, loss_start, loss_now, loss_best))
        except TrainingStopped as stopped:
            # the sign by which training ends in order, with the best so far
            raise StopIteration from stopped

    made: Trained = tuning.fine_tune(frames, start, seconds, seed, told)
    return made


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
