"""Training of classifiers: examples from folders, figures, and the whole way through the CLI."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from taught_kinds import save_clicks, two_kinds

pytest.importorskip("torch", reason="torch is not installed (extra `train`)")

from drivers.simulated.states import STATES, write_state_fields
from live.cli import main
from models.errors import ImageError, ModelError
from models.result import ImageContext
from models.tasks.crops import CROP_PX, cut_crops, typical_of
from models.tasks.measure import measure
from models.training.classify.confusion import save_confusion, save_reliability
from models.training.classify.examples import FEWEST_CROPS, MARGIN, crop_from_file, read_examples
from models.training.classify.figures import (
    BINS,
    class_figures,
    crossfitted,
    fit_temperature,
    softmax,
)


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    for seed in range(2):
        save_clicks(folder, seed, most=20)
    return folder


def test_a_saved_click_is_what_the_pipeline_would_see(tmp_path: Path) -> None:
    save_clicks(tmp_path, 5, most=100)
    image, labels, kinds = two_kinds(5)
    objects = measure(labels, image, np.ones(len(kinds), np.float32), ImageContext(0, 0.0))
    live = cut_crops(image, labels, objects, typical_of(objects))
    for k in (7, 14, 28):  # away from the border
        saved = crop_from_file(tmp_path / kinds[k] / f"5_{k + 1}.tif")
        inner = saved.windows[0, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
        assert inner.shape[1:] == (CROP_PX, CROP_PX)
        np.testing.assert_allclose(inner[:2], live.windows[k, :2], atol=1e-4)
        np.testing.assert_allclose(saved.context[0], live.context[k], atol=1e-4)


def test_examples_of_clicks_are_split_in_each_class_and_always_alike(clicks: Path) -> None:
    first, again = read_examples(clicks), read_examples(clicks)
    assert first.classes == ("even", "speckled")
    assert first.counts() == [("even", 16, 4), ("speckled", 16, 4)]
    np.testing.assert_array_equal(first.held_out, again.held_out)
    np.testing.assert_array_equal(first.image, again.image)
    assert read_examples(clicks, ("speckled", "even")).classes == ("speckled", "even")


def test_examples_of_fields_hold_whole_fields_out(tmp_path: Path) -> None:
    write_state_fields(tmp_path, 10, 40, 192)
    examples = read_examples(tmp_path, STATES)
    assert examples.classes == STATES
    assert set(np.unique(examples.masks)) <= {0, 1, 2}
    assert (examples.masks == 1).any(axis=(1, 2)).all()
    assert 0 < examples.held_out.sum() < len(examples.target) / 2
    assert sum(used + held for _, used, held in examples.counts()) == len(examples.target)


def test_an_image_without_mask_is_searched_for_its_object(tmp_path: Path) -> None:
    save_clicks(tmp_path, 5, most=100)
    path = next((tmp_path / "even").glob("5_*.tif"))
    with_mask = crop_from_file(path).windows[0, 1]
    path.with_name(f"{path.stem}_mask.png").unlink()
    found = crop_from_file(path).windows[0, 1]
    assert (with_mask * found).sum() / np.maximum(with_mask, found).sum() > 0.7
    flat = tmp_path / "flat.png"
    Image.fromarray(np.full((60, 60), 7, np.uint8)).save(flat)
    disc = crop_from_file(flat).windows[0, 1]
    assert disc[24, 24] == 1
    colour = tmp_path / "colour.png"
    Image.fromarray(np.full((60, 60, 3), 7, np.uint8)).save(colour)
    np.testing.assert_array_equal(crop_from_file(colour).windows, crop_from_file(flat).windows)


def test_too_few_classes_or_crops_are_refused_by_name(clicks: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder"):
        read_examples(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"two classes or more.*none"):
        read_examples(tmp_path)
    with pytest.raises(ModelError, match="found: even 20"):
        read_examples(clicks, ("even",))
    save_clicks(tmp_path, 9, most=FEWEST_CROPS - 1)
    with pytest.raises(ModelError, match="too few of even, speckled; found: even 9, speckled 9"):
        read_examples(tmp_path)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    save_clicks(tmp_path, 9, most=12)
    path = next((tmp_path / "even").glob("9_*.tif"))
    path.with_suffix(".json").write_text('{"median_diameter_px": "wide"}')
    with pytest.raises(ModelError, match=path.with_suffix(".json").name):
        read_examples(tmp_path)
    path.with_suffix(".json").unlink()
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(path.with_name(f"{path.stem}_mask.png"))
    with pytest.raises(ImageError, match="got a mask of"):
        read_examples(tmp_path)
    path.write_bytes(b"no image")
    with pytest.raises(ImageError, match="cannot read"):
        read_examples(tmp_path)


@pytest.mark.parametrize("kind", ["segment", "classify"])
def test_help_has_an_example(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["models", "train", kind, "--help"])
    assert not ended.value.code
    assert f"Example: parfocal models train {kind}" in capsys.readouterr().out


def test_figures_of_a_known_case() -> None:
    probability = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    figures = class_figures(probability, np.array([0, 0, 0, 1]), ("a", "b"))
    np.testing.assert_array_equal(figures.confusion, [[2, 1], [0, 1]])
    assert figures.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
    # three of the first class share a half of the weight: bins 0.9, 0.6 and 0.8
    expected = 2 / 6 * 0.1 + 1 / 6 * 0.6 + 1 / 2 * 0.2
    assert figures.calibration_error == pytest.approx(expected)
    assert figures.bins.shape == (BINS, 3)


def overconfident(n: int = 4000) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits three times too large, and classes drawn with the true probabilities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.2, (n, 3))
    target = (softmax(logits).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return 3 * logits, target


def test_the_temperature_mends_overconfidence() -> None:
    logits, target = overconfident()
    assert fit_temperature(logits, target) == pytest.approx(3, rel=0.1)
    before = class_figures(softmax(logits), target, "abc").calibration_error
    after = class_figures(crossfitted(logits, target), target, "abc").calibration_error
    assert before > 0.15
    assert after < 0.04


def test_a_few_examples_without_error_do_not_make_certain() -> None:
    target = np.arange(20) % 2
    logits = np.where(target[:, None] == np.arange(2), 2.0, -2.0)
    assert 0.5 < fit_temperature(logits, target) <= 1


def test_pictures_are_drawn(tmp_path: Path) -> None:
    logits, target = overconfident(300)
    figures = class_figures(softmax(logits), target, ("one", "two", "a name that is far too long"))
    save_confusion(figures, tmp_path / "c.png", "title")
    save_reliability(figures, tmp_path / "r.png", "title")
    for name in ("c.png", "r.png"):
        with Image.open(tmp_path / name) as picture:
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 5
