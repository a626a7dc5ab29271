"""The sheets of ``parfocal infer --explain``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from live.errors import UsageError
from live.explaining.explainer import Explainer, explainable
from live.explaining.pictures import DOUBT, Explained, ObjectView, coloured, painted, sheet
from live.infer import infer
from models import ImageContext, PipelineSettings
from models.result import PipelineResult, Verdict
from models.tasks.measure import measure

DATA = Path(__file__).parents[1] / "data"
NUCLEI = PipelineSettings.model_validate(
    {"name": "nuclei", "segment": {"kind": "network", "model": "nuclei"}, "track": {}}
)
THRESHOLD = PipelineSettings.model_validate({"name": "plain", "segment": {"kind": "threshold"}})


def two_squares(verdict: Verdict | None = None) -> Explained:
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 5:15], labels[20:35, 30:50] = 1, 2
    pixels = (labels * 100).astype(np.uint8)
    confidence = np.array([0.9, 0.4], np.float32)
    objects = measure(labels, pixels, confidence, ImageContext(seq=0, time_s=0.0))
    objects["uncertainty"] = (0.1, -1)
    result = PipelineResult(0, labels, objects, verdict=verdict)
    return Explained("two", pixels, np.zeros((40, 60), np.float32), result, "none", True)


def view() -> ObjectView:
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    image = mask.astype(np.uint8) * 90
    return ObjectView("one", image, mask, mask.astype(np.float32), "unit")


def test_a_sheet_has_a_row_more_for_classes() -> None:
    of = two_squares(Verdict(0, 2.5, "objects are too long"))
    plain = sheet(of)
    more = sheet(
        Explained(
            of.name, of.pixels, of.probability, of.result, of.engine, False, view(), [view()] * 4
        )
    )
    assert more.width == plain.width
    assert more.height > plain.height
    assert np.asarray(more).std() > 10


def test_objects_that_were_not_checked_stay_grey() -> None:
    of = two_squares()
    grey: NDArray[np.uint8] = np.full((40, 60), 200, np.uint8)
    picture = painted(grey, of.result.labels, of.result.objects["uncertainty"], DOUBT)
    sure, unknown = picture[10, 10], picture[27, 40]
    assert len(set(unknown.tolist())) == 1
    assert len(set(sure.tolist())) > 1


def test_colours_run_from_one_end_to_the_other() -> None:
    ramp = coloured(np.array([-1.0, 0.0, 1.0, 2.0]), DOUBT)
    np.testing.assert_array_equal(ramp[0], ramp[1])
    np.testing.assert_array_equal(ramp[1], DOUBT[0])
    np.testing.assert_array_equal(ramp[3], DOUBT[-1])


def test_sheets_are_written_beside_the_labels(tmp_path: Path) -> None:
    for name in ("060_img", "216_img"):
        image = Image.open(DATA / "nuclei" / f"{name}.png")
        image.crop((0, 0, 128, 128)).save(tmp_path / f"{name}.png")
    infer([tmp_path], NUCLEI, tmp_path / "out", explain=True)
    pictures = sorted((tmp_path / "out" / "explain").iterdir())
    assert [path.name for path in pictures] == ["060_img.png", "216_img.png"]
    for path in pictures:
        with Image.open(path) as sheet_:
            assert sheet_.width > 1000
    table = (tmp_path / "out" / "objects.csv").read_text(encoding="utf-8").splitlines()
    column = table[0].split(",").index("uncertainty")
    assert all(0 <= float(line.split(",")[column]) <= 1 for line in table[1:])


def test_explaining_does_not_change_the_analysis(tmp_path: Path) -> None:
    image = tmp_path / "060_img.png"
    Image.open(DATA / "nuclei" / "060_img.png").crop((0, 120, 96, 216)).save(image)
    infer([image], NUCLEI, tmp_path / "plain")
    infer([image], NUCLEI, tmp_path / "explained", explain=True)
    name = "060_img_labels.tif"
    assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "explained" / name).read_bytes()


def test_only_the_first_images_are_explained(tmp_path: Path) -> None:
    blank = np.zeros((32, 32), np.uint8)
    labels = np.zeros((32, 32), np.int32)
    nothing = measure(labels, blank, np.zeros(0, np.float32), ImageContext(seq=0, time_s=0.0))
    with Explainer(explainable(NUCLEI), tmp_path, most=2) as explainer:
        for k in range(4):
            explainer.add(f"{k:02d}", blank, PipelineResult(k, labels, nothing))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00.png", "01.png"]


def test_a_pipeline_without_a_network_cannot_be_explained(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="segments without one"):
        infer([DATA / "nuclei"], THRESHOLD, tmp_path / "out", explain=True)
    assert not (tmp_path / "out").exists()
