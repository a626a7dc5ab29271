"""How good exported weights are on images that were not trained on, and their model card."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.scoring.instances import FORMULA, agreement
from models.settings import ThresholdSettings
from models.tasks.network import NetworkSegmenter
from models.tasks.threshold import segment
from models.training.segment.data import Pair

Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PartScore:
    """Agreement on one held-out part."""

    part: str
    images: int
    objects: int
    ap50: float
    ap75: float
    classical_ap50: float
    """Of the classical threshold with splitting, on the same images."""
    classical_ap75: float


def evaluate(model: str, pairs: Iterable[Pair], polarity: str = "auto") -> list[PartScore]:
    """Scores of a model, each image by itself, for each held-out part of ``pairs``.

    ``model`` is a name or a path as `NetworkSegmenter` takes it; scale is estimated from the image.
    """
    ours: dict[str, list[tuple[Labels, Labels]]] = defaultdict(list)
    classical: dict[str, list[tuple[Labels, Labels]]] = defaultdict(list)
    rule = ThresholdSettings.model_validate({"polarity": polarity})
    with NetworkSegmenter(model) as segmenter:
        for pair in pairs:
            if pair.split == "train":
                continue
            counts = pair.image.astype(np.uint16)
            segmenter.reset()
            ours[pair.split].append((segmenter.segment(counts)[0], pair.labels))
            classical[pair.split].append((segment(counts, rule)[0], pair.labels))
    scores = []
    for part in sorted(ours):
        half, strict = agreement(ours[part], (0.5, 0.75))
        rough, rough_strict = agreement(classical[part], (0.5, 0.75))
        scores.append(
            PartScore(
                part, len(ours[part]), half.true + half.missed,
                half.ap, strict.ap, rough.ap, rough_strict.ap,
            )
        )  # fmt: skip
    return scores


def table(scores: Iterable[PartScore]) -> str:
    """Scores as a Markdown table."""
    rows = [
        "| part | images | objects | AP@0.5 | AP@0.75 | threshold AP@0.5 | AP@0.75 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows += [
        f"| {s.part} | {s.images} | {s.objects} | **{s.ap50:.3f}** | **{s.ap75:.3f}** "
        f"| {s.classical_ap50:.3f} | {s.classical_ap75:.3f} |"
        for s in scores
    ]
    return "\n".join(rows)


def write_card(
    path: Path, front: dict[str, str | float | int], text: str, scores: Iterable[PartScore]
) -> Path:
    """Write the model card ``path``: front matter, text, and the table of held-out figures."""
    lines = ["---", *(f"{key}: {value}" for key, value in front.items()), "---", "", text.strip()]
    lines += ["", "## Figures on held-out images", "", f"{FORMULA}.", "", table(scores), ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
