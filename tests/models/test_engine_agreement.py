"""The same image gives the same objects, whatever runs the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from drivers.simulated.fields import render_training_field
from models.catalog import weights_path
from models.engines import engines_installed, open_engine
from models.errors import EngineError
from models.scoring.instances import agreement
from models.tasks.network import SMALLEST
from models.tasks.sizes import SMALLEST_PX

NUCLEI = Path(__file__).parents[1] / "data" / "nuclei"
MODEL = weights_path("nuclei")
Labels = NDArray[np.int32]


def images() -> list[NDArray[np.float32]]:
    """Real and drawn images of nuclei, cropped to what the network takes."""
    found = [np.asarray(Image.open(path)) for path in sorted(NUCLEI.glob("*_img.png"))]
    found += [render_training_field(seed, (256, 256), diameter_px=24)[0] for seed in range(4)]
    sides = [[length // 16 * 16 for length in image.shape] for image in found]
    return [
        np.ascontiguousarray(image[:height, :width], np.float32)
        for image, (height, width) in zip(found, sides, strict=True)
    ]


@pytest.fixture(scope="module")
def reference() -> list[Labels]:
    return labelled("onnxruntime", "fp32")


def labelled(
    engine: str,
    precision: str,
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]] = np.asarray,
) -> list[Labels]:
    if engine not in engines_installed():
        pytest.skip(f"needs the extra parfocal[{engine}]")
    try:
        opened = open_engine(MODEL, engine, precision).__enter__()
    except EngineError as error:
        if "it runs" not in str(error):
            raise
        pytest.skip(f"this CPU has no {precision}: {error}")
    with opened:
        first = [opened.run({"image": change(image)})["labels"] for image in images()]
        again = [opened.run({"image": change(image)})["labels"] for image in images()]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other, "the same image gave other labels")
    return first


def without_dark(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Image with the camera's offset taken off: low precision has no digits to spare for it."""
    return image - np.percentile(image, 1.0, method="nearest").astype(np.float32)


def check_same(found: list[Labels], reference: list[Labels], limit: float) -> None:
    assert sum(labels.max(initial=0) for labels in reference) > 150
    assert [objects(labels) for labels in found] == [objects(labels) for labels in reference]
    assert agreement(list(zip(found, reference, strict=True)), (0.9,))[0].ap >= limit


def objects(labels: Labels) -> int:
    """How many the program would keep: specks at the limit of what is an object, it drops."""
    area = np.bincount(labels.ravel())[1:]
    area = area[area > 0]
    return int(np.count_nonzero(area >= max(SMALLEST_PX, SMALLEST * np.median(area))))


def test_openvino_in_float32(reference: list[Labels]) -> None:
    check_same(labelled("openvino", "fp32"), reference, 0.995)


def test_openvino_in_bfloat16(reference: list[Labels]) -> None:
    check_same(labelled("openvino", "bf16", without_dark), reference, 0.98)


def test_torch(reference: list[Labels]) -> None:
    """The weights of the file in the modules that they were trained in."""
    check_same(labelled("torch", "fp32"), reference, 0.995)


def test_layout_for_export_changes_rounding_alone() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra parfocal[train]")
    from models.training.segment.lean import LeanNet
    from models.training.segment.net import SegmentNet

    torch.manual_seed(3)
    net = SegmentNet((8, 16, 32, 64)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 1.0, 0.2)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
            torch.nn.init.normal_(module.running_mean, 0.0, 0.2)
    image = torch.randn(2, 2, 48, 80)
    with torch.inference_mode():
        wanted, found = net(image)[:, :4], LeanNet(net, 4)(image)
    assert wanted.std() > 0.01
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow  # the exporter takes 10 s, on a busy machine minutes
@pytest.mark.timeout(500)
def test_grouping_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same heads every engine comes to the same labels, pixel for pixel."""
    torch = pytest.importorskip("torch", reason="needs the extra parfocal[train]")
    pytest.importorskip("onnxscript", reason="needs the extra parfocal[train]")
    from benchmarks.grouping import drawn_heads
    from models.training.segment.gather import Grouping, export_grouping, gather
    from models.training.segment.net import OFFSET_UNIT_PX

    tqdm = pytest.importorskip("tqdm", reason="the exporter draws its progress with it")
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)  # else it leaves a thread behind
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1.5, (4, 112, 208)).astype(np.float32)
    halves = noise.round(1)  # many ties, and offsets that end half way between two pixels
    halves[2:] = (halves[2:] * 16).round() / 32
    path = export_grouping(tmp_path / "grouping.onnx")
    for raw in (noise, halves, drawn_heads(256, 60, OFFSET_UNIT_PX)):
        wanted = gather(torch.from_numpy(raw), Grouping())[0].numpy()
        assert wanted.max() > 20
        for engine in engines_installed():
            with open_engine(path, engine) as opened:
                np.testing.assert_array_equal(opened.run({"raw": raw})["labels"], wanted, engine)
