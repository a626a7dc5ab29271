"""What can be trained: where the pictures come from, how they are changed, what the card says.

To add a task, write its entry here and its text in ``cards.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.errors import ModelError
from models.training.phase.pairs import cells_pairs
from models.training.segment.augment import Augment
from models.training.segment.colony import draw_colony
from models.training.segment.data import Pair, nuclei_pairs, pairs_from_tracking
from models.training.segment.gather import Grouping

EARLY_FRAMES = 16
"""Frames of the bacteria movie that are trained on; later ones are held out."""


@dataclass(frozen=True, slots=True)
class SegmentTask:
    """One kind of picture to train a segmentation network for."""

    name: str
    summary: str
    """One line on what it is for, as ``parfocal models list`` shows it."""
    pairs: Callable[[Path], list[Pair]]
    """Folder of data to images with their truth, each with the part that it belongs to."""
    augment: Augment
    grouping: Grouping
    diameter_px: float
    """What the program brings objects to; a little above the trained size can be of help."""
    polarity: str
    """Of the classical threshold that it is compared with."""
    sure_centre: float = 0.0
    least_confidence: float = 0.0
    """Both as of `models.catalog.ModelCard`."""


def _bacteria_pairs(root: Path) -> list[Pair]:
    folder = root / "track" / "ecoli_early"
    early, late = range(EARLY_FRAMES), range(EARLY_FRAMES, 1000)
    return pairs_from_tracking(folder, early) + pairs_from_tracking(folder, late, "later")


TASKS = {
    task.name: task
    for task in (
        SegmentTask(
            "nuclei",
            "fluorescent nuclei, crowded or sparse, 8 to 16 bit",
            nuclei_pairs,
            Augment(overlap_share=0.35),
            Grouping(window_px=11),
            28.0,
            "bright",
        ),
        SegmentTask(
            "bacteria",
            "rods in phase contrast, single or packed",
            _bacteria_pairs,
            Augment(
                near=(0.6, 1.8),
                far_share=0.1,
                crowd_share=0.5,
                drawn_share=0.4,
                draw=draw_colony,
                dust_share=0.5,
            ),
            # long rods need more steps: the first from a pole lands well short of the middle
            Grouping(hops=4),
            24.0,
            "dark",
        ),
        SegmentTask(
            "cells",
            "adherent cells in phase contrast, alone or in sheets",
            cells_pairs,
            # small dark specks are dirt: cells are not shown as small as those
            Augment(near=(0.7, 1.5), far=(0.42, 1.9), far_share=0.25),
            # dust draws weak centres; annotators' outlines are wide
            Grouping(foreground=0.3, centre=0.4, hops=4),
            32.0,
            "auto",
            sure_centre=0.65,
            # most of what is more likely wrong than right is dust
            least_confidence=0.5,
        ),
    )
}


def task_named(name: str) -> SegmentTask:
    """The task of this name; raises ``ModelError`` when there is none."""
    if name not in TASKS:
        raise ModelError(f"no task {name!r} to train; there are: {', '.join(TASKS)}")
    return TASKS[name]
