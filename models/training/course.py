"""The course of a training that goes by the clock: size of steps, progress bar, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from rich.progress import Progress, TextColumn, TimeElapsedColumn

CHECKPOINT_S = 60.0
WARM_STEPS = 100
"""A start from nothing needs to warm up, and a new last layer on an old body does too."""
LEAST = 0.01
"""Of the first steps' size, at the end."""


def course(
    title: str,
    optimiser: Any,
    *,
    rate: float,
    minutes: float,
    spent_s: float,
    step: int,
    save: Callable[[int, float], str],
) -> Iterator[int]:
    """Number of each step, as long as there is time; sets the optimiser's rate before it.

    The rate falls as half a cosine over the whole time (Loshchilov and Hutter 2016, arXiv
    1608.03983).

    Parameters
    ----------
    title
        For the progress bar.
    optimiser
        A ``torch.optim.Optimizer``.
    rate
        Of the first steps, once warm.
    minutes
        In all, earlier runs counted in.
    spent_s, step
        Seconds and steps of earlier runs.
    save
        Called with the steps done and the seconds spent, every minute and at the end, to write a
        checkpoint; gives a note for the progress bar.
    """
    budget_s, started = minutes * 60.0, time.monotonic() - spent_s
    saved = time.monotonic()
    columns = (*Progress.get_default_columns(), TimeElapsedColumn(), TextColumn("{task.fields[n]}"))
    with Progress(*columns) as progress:
        bar = progress.add_task(title, total=budget_s, n="")
        while (spent_s := time.monotonic() - started) < budget_s:
            warm = min(1.0, (step + 1) / WARM_STEPS)
            cosine = 0.5 * (1 + np.cos(np.pi * spent_s / budget_s))
            for group in optimiser.param_groups:
                group["lr"] = rate * warm * max(float(cosine), LEAST)
            yield step
            step += 1
            if time.monotonic() - saved > CHECKPOINT_S:
                saved = time.monotonic()
                progress.update(bar, n=save(step, spent_s))
            progress.update(bar, completed=spent_s)
    save(step, spent_s)


def note_of(step: int, history: list[list[float]]) -> str:
    """What the progress bar says of the newest row of minutes, loss and held-out loss."""
    if not history:
        return ""
    return f"step {step}, loss {history[-1][1]:.3f}, held out {history[-1][2]:.3f}"
