"""The shipped pipeline `cells`: on drawn fields that were not trained on, and on real frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from models import load_pipeline
from models.result import ImageContext
from models.scoring.instances import agreement
from models.training.phase.fields import draw_counts

CONFIG = Path(__file__).parents[2] / "config" / "pipelines" / "cells.yaml"
DEVELOPMENT_DATA = Path(__file__).parents[3] / "shared" / "data"


def segment_only() -> dict[str, object]:
    """Settings of the pipeline without tracking, so that each image stands for itself."""
    settings: dict[str, object] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    return {key: value for key, value in settings.items() if key != "track"}


def test_most_cells_of_drawn_fields_are_found() -> None:
    pairs = []
    with load_pipeline(segment_only()) as pipeline:
        for seed in range(8):
            counts, labels = draw_counts(192, 20.0, np.random.default_rng([77, seed]))
            pipeline.reset()
            result = pipeline.run(counts.astype(np.uint8), ImageContext(seq=seed, time_s=0.0))
            assert len(result.objects) == result.labels.max()
            pairs.append((result.labels, labels))
    assert agreement(pairs, (0.5,))[0].ap >= 0.3


def test_an_empty_dish_has_no_cells() -> None:
    noise = np.random.default_rng(3).normal(100, 4, (160, 160)).astype(np.uint8)
    with load_pipeline(segment_only()) as pipeline:
        result = pipeline.run(noise, ImageContext(seq=0, time_s=0.0))
    assert len(result.objects) <= 2


@pytest.mark.slow
def test_real_cells_never_trained_on_are_found() -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra `train`)")
    if not DEVELOPMENT_DATA.is_dir():
        pytest.skip(f"no development data at {DEVELOPMENT_DATA}")
    from models.training.phase.pairs import c2c12_pairs
    from models.training.segment.evaluate import evaluate

    scores = {score.part: score for score in evaluate("cells", c2c12_pairs(DEVELOPMENT_DATA))}
    assert scores["c2c12"].ap50 >= 0.45
    assert scores["c2c12"].ap50 > scores["c2c12"].classical_ap50
