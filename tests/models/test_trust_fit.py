"""Fitting of limits and of calibration; what is fitted, on made-up observations."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch is not installed (extra `train`)")

from models.catalog import WEIGHTS, read_card
from models.errors import ModelError
from models.tasks.calibration import calibrated
from models.tasks.strangeness import WORDS, judge
from models.training.reliability import reliability
from models.training.segment.calibrate import calibrate, describe
from models.training.segment.data import Pair, make_pair
from models.training.segment.foreign import foreign_images
from models.training.segment.trustfit import Observed, changed, fit_calibration, limits_from

NUCLEI = Path(__file__).parents[1] / "data" / "nuclei"


def observed(rng: np.random.Generator, right: bool = True, n: int = 50) -> Observed:
    """Objects right as often as the square of their mean probability; measures about 0."""
    probability = rng.uniform(0.5, 0.99, n)
    wrong = rng.random(n) > probability**2
    iou = np.where(wrong & right, 0.2, 0.9)
    measures = {name: float(rng.normal()) for name in WORDS}
    return Observed("train", measures, probability, np.full(n, 100.0), iou, np.ones(n))


def test_a_fitted_confidence_says_how_often_objects_are_right() -> None:
    rng = np.random.default_rng(2)
    numbers = fit_calibration([observed(rng) for _ in range(100)])
    fresh = [observed(rng) for _ in range(100)]
    stated = np.concatenate([calibrated(one.probability, one.area, numbers) for one in fresh])
    raw = np.concatenate([one.probability for one in fresh])
    right = np.concatenate([one.iou >= 0.5 for one in fresh])
    assert reliability(raw, right).error > 0.1
    assert reliability(stated, right).error < 0.03


def test_little_to_learn_from_changes_little() -> None:
    rng = np.random.default_rng(3)
    bias, slope, odd = fit_calibration([observed(rng, right=False, n=2)])
    assert abs(bias) < 1
    assert 0.5 < slope < 2
    assert odd == pytest.approx(0, abs=1e-9)
    assert fit_calibration([]) == (0.0, 1.0, 0.0)


def test_a_network_that_is_surer_of_wrong_objects_is_not_turned_round() -> None:
    rng = np.random.default_rng(4)
    probability = rng.uniform(0.5, 0.99, 500)
    iou = np.where(rng.random(500) < probability, 0.1, 0.9)
    one = Observed("train", {}, probability, np.full(500, 9.0), iou, np.ones(500))
    assert fit_calibration([one])[1] == 0.0


def test_limits_hold_nearly_all_that_they_were_fitted_to() -> None:
    rng = np.random.default_rng(5)
    seen = [observed(rng, n=1) for _ in range(200)]
    limits = limits_from(seen, 200)
    flagged = [judge(one.measures, limits).value > 1 for one in seen]
    assert np.mean(flagged) <= 0.05
    assert judge({"size": 12.0}, limits).value > 1
    wide = limits_from(seen, 16)
    assert wide["size"][2] > limits["size"][2]
    with pytest.raises(ModelError, match="need 4"):
        limits_from(seen[:3], 3)


def pair(name: str, split: str) -> Pair:
    image = np.asarray(Image.open(NUCLEI / f"{name}_img.png"))[:96, :96]
    labels = np.asarray(Image.open(NUCLEI / f"{name}_lab.png"))[:96, :96]
    return make_pair(name, "test", image, labels, split)


def test_changed_and_spoilt_images_are_images() -> None:
    one = pair("060", "train")
    for seed in range(5):
        out = changed(one.image, one.diameter_px, np.random.default_rng(seed))
        assert out.dtype == np.float32
        assert np.isfinite(out).all()
        assert all(48 <= length <= 96 for length in out.shape)
    kinds = set()
    for kind, image in foreign_images([one]):
        kinds.add(kind)
        assert np.isfinite(image).all()
        assert image.std() > 0
    assert kinds == {"inverted", "out of focus", "saturated", "noise", "checkerboard"}


@pytest.mark.slow
def test_a_card_is_calibrated_by_one_call(tmp_path: Path) -> None:
    for suffix in (".onnx", ".md"):
        shutil.copyfile(WEIGHTS / f"nuclei{suffix}", tmp_path / f"nuclei{suffix}")
    pairs = [pair(n, "train") for n in ("000", "016", "060", "216")] + [pair("060", "held")]
    figures = calibrate(str(tmp_path / "nuclei.onnx"), pairs)
    card = read_card(tmp_path / "nuclei.onnx")
    assert len(card.calibration) == 3
    assert set(card.limits) == set(WORDS)
    assert figures.flagged["noise"] == (20, 20)
    assert figures.flagged["held"][1] == 1
    assert describe(figures).strip() in (tmp_path / "nuclei.md").read_text(encoding="utf-8")
