"""``parfocal models train denoise``: learn from your own noisy frames, with no clean image."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from live.commands.options import console
from live.denoising.frames import training_frames
from live.denoising.train import Step, TrainingStopped, train_and_write, training_missing
from live.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def train_denoiser(
    source: Path, out: Path, name: str, *, start: str, minutes: float, seed: int, channel: str
) -> None:
    """Train and write; Ctrl-C ends training early and keeps the best so far.

    Raises
    ------
    UsageError, SettingsError, ModelError
        In one sentence.
    """
    from models.catalog import read_card, weights_path

    if missing := training_missing():
        raise UsageError(missing)
    if not (math.isfinite(minutes) and minutes > 0):
        raise UsageError(f"--minutes {minutes:g}: need more than 0")
    if Path(name).name != name or not name.strip(". "):
        raise UsageError(f"--name {name}: need the name of a file, without folders")
    begin = weights_path(start)
    if (task := read_card(begin).task) != "denoise":
        raise UsageError(f"--start {start}: this is a network to {task}, need one to denoise")
    target = out / f"{name}.onnx"
    if target.exists():
        raise UsageError(f"{target} exists; choose another --name or --out, nothing is overwritten")
    screen = console()
    frames = training_frames(source, channel=channel)
    screen.print(f"Training on {frames.source}", markup=False, soft_wrap=True)
    with _bar(minutes) as (bar, task_id), _interruptible() as stopped:

        def show(step: Step) -> None:
            bar.update(
                task_id, completed=step.elapsed_s, total=step.elapsed_s + step.left_s,
                loss=_losses(step),
            )  # fmt: skip
            if stopped:
                raise TrainingStopped

        trial = train_and_write(
            frames, begin, target, seconds=60 * minutes, seed=seed, progress=show
        )
    screen.print(trial.sentence(), markup=False, soft_wrap=True)
    if trial.model is None:
        screen.print("No weights were written: those that exist do better.")
    else:
        use = f"denoise: {{kind: network, model: {trial.model}}}"
        screen.print(f"Weights: {trial.model}", markup=False, soft_wrap=True)
        screen.print(f"Use them in a pipeline: {use}", markup=False, soft_wrap=True)
    screen.print(f"Before and after: {trial.picture}", markup=False, soft_wrap=True)


@contextmanager
def _bar(minutes: float) -> Iterator[tuple[Progress, TaskID]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    loss = TextColumn("{task.fields[loss]}")
    parts = (TextColumn("training"), BarColumn(), TimeRemainingColumn(), loss)
    with Progress(*parts, console=console()) as bar:
        yield bar, bar.add_task("training", total=60 * minutes, loss="")


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """A list that Ctrl-C puts something in, instead of ending the program; the second one does."""
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _losses(step: Step) -> str:
    if not (math.isfinite(step.loss_start) and math.isfinite(step.loss_best)):
        return ""
    change = 100 * (step.loss_best / step.loss_start - 1) if step.loss_start else 0.0
    return f"held-out loss {step.loss_best:.4g} ({change:+.1f} %)"
