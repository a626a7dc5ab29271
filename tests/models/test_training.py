"""Training code: targets, crops, the exported graph, and a training of seconds that goes on."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="torch is not installed (extra `train`)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra `train`)")

from models.engines import engines_installed, open_engine  # noqa: E402
from models.errors import ModelError  # noqa: E402
from models.training.segment.augment import Augment, make_crop  # noqa: E402
from models.training.segment.blend import blend  # noqa: E402
from models.training.segment.checkpoint import load_checkpoint, load_net  # noqa: E402
from models.training.segment.data import make_pair  # noqa: E402
from models.training.segment.gather import Grouping, gather  # noqa: E402
from models.training.segment.graph import CountsToLabels  # noqa: E402
from models.training.segment.net import HEADS, OFFSET_UNIT_PX, SegmentNet, count_weights  # noqa: E402
from models.training.segment.targets import targets_from_labels  # noqa: E402
from models.training.segment.teacher import taught  # noqa: E402
from models.training.segment.train import TrainSegmentSettings, train  # noqa: E402
from models.training.segment.views import normalise, two_views  # noqa: E402

DISCS = ((20, 24, 9), (20, 44, 10), (60, 30, 12), (70, 70, 6), (75, 106, 14), (40, 100, 8))
SHAPE = (96, 128)


def discs() -> NDArray[np.int32]:
    """Six discs, the first two touching."""
    y, x = np.indices(SHAPE)
    labels = np.zeros(SHAPE, np.int32)
    for number, (cy, cx, radius) in enumerate(DISCS, start=1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = number
    return labels


def perfect_raw(labels: NDArray[np.int32]) -> torch.Tensor:
    """What a network without fault would say of ``labels``."""
    target = torch.from_numpy(targets_from_labels(labels))
    logits = torch.logit(target.clamp(0.001, 0.999))
    return torch.cat([logits[:2], target[2:4], logits[4:]])


def same_partition(a: NDArray[np.int32], b: NDArray[np.int32]) -> bool:
    """Whether two label images differ in their numbers alone."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return len(pairs[0]) == len(np.unique(a)) == len(np.unique(b))


def test_targets_point_to_the_centres() -> None:
    labels = discs()
    target = targets_from_labels(labels)
    assert target.shape == (len(HEADS), *SHAPE)
    np.testing.assert_array_equal(target[0] > 0, labels > 0)
    for number, (cy, cx, _) in enumerate(DISCS, start=1):
        if number <= 2:
            continue  # one overlaps the other, so its centre of mass has moved
        y, x = np.nonzero(labels == number)
        np.testing.assert_allclose(y + target[2, y, x] * OFFSET_UNIT_PX, cy, atol=1)
        np.testing.assert_allclose(x + target[3, y, x] * OFFSET_UNIT_PX, cx, atol=1)
    assert target[4, labels > 2].max() == 0
    assert target[4, labels == 1].max() == 1


def test_grouping_gives_back_the_labels_it_was_told_of() -> None:
    labels = discs()
    found, probability = gather(perfect_raw(labels), Grouping())
    assert found.dtype == torch.int32
    assert same_partition(found.numpy(), labels)
    assert ((probability > 0.5).numpy() == (labels > 0)).all()


def test_a_plateau_of_equal_heat_gives_one_object() -> None:
    labels = discs()
    raw = perfect_raw(labels)
    # as low precision does: the upper part of the hill is level
    raw[1] = torch.where(raw[1] > 1.0, 3.0, raw[1])
    found, _ = gather(raw, Grouping())
    assert len(np.unique(found.numpy())) - 1 == len(DISCS)


def test_an_empty_answer_gives_no_object() -> None:
    raw = torch.full((len(HEADS), 64, 64), -9.0)
    found, _ = gather(raw, Grouping())
    assert int(found.max()) == 0


def test_normalisation_in_the_graph_is_that_of_the_training() -> None:
    counts = np.random.default_rng(3).gamma(2.0, 300.0, (160, 208)).astype(np.float32)
    graph = CountsToLabels(SegmentNet().eval())._normalised(torch.from_numpy(counts)).numpy()
    np.testing.assert_allclose(graph, normalise(counts), atol=2e-3)


def test_views_stay_finite_beside_a_bead() -> None:
    x = torch.tensor([-1e6, 0.0, 0.5, 1e6]).reshape(1, 1, 2, 2)
    assert bool(torch.isfinite(two_views(x)).all())


def test_crops_are_repeatable_and_finite() -> None:
    labels = discs()
    image = (labels > 0) * 500.0 + np.random.default_rng(0).normal(100, 10, SHAPE)
    pair = make_pair("discs", "drawn", image, labels)
    runs = []
    for _ in range(2):
        rng = np.random.default_rng(5)
        runs.append([make_crop(pair, 64, rng, Augment()) for _ in range(12)])
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first.image, second.image)
        assert torch.equal(first.target, second.target)
        assert first.image.shape == (1, 1, 64, 64)
        assert bool(torch.isfinite(first.image).all())


def test_the_network_is_small() -> None:
    assert count_weights(SegmentNet()) <= 1_500_000


@pytest.mark.slow  # the export alone takes some ten seconds
@pytest.mark.parametrize("engine", engines_installed())
def test_exported_graph_equals_torch(exported: tuple[SegmentNet, Path], engine: str) -> None:
    net, path = exported
    graph = CountsToLabels(net, Grouping(centre=0.0))
    counts = np.random.default_rng(4).poisson(80, (112, 176)).astype(np.float32)
    with torch.no_grad():
        labels, probability = graph(torch.from_numpy(counts))
    with open_engine(path, engine) as opened:
        found = opened.run({"image": counts})
    assert found["labels"].dtype == np.int32
    np.testing.assert_allclose(found["probability"], probability.numpy(), atol=1e-4)
    assert (found["labels"] == labels.numpy()).mean() > 0.999


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[SegmentNet, Path]:
    """A network of random weights, narrow so that it exports fast, and its file."""
    from models.training.segment.export import export_onnx

    torch.manual_seed(2)
    net = SegmentNet((4, 8, 16, 32)).eval()
    for module in net.modules():  # alike, they would share one constant in the file
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias, 0.0, 0.1)
    path = tmp_path_factory.mktemp("onnx") / "random.onnx"
    return net, export_onnx(net, path, Grouping(centre=0.0))


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen frames in the layout of the bacteria movie."""
    import tifffile

    root = tmp_path_factory.mktemp("data")
    folder = root / "track" / "ecoli_early"
    (folder / "01").mkdir(parents=True)
    (folder / "01_GT" / "TRA").mkdir(parents=True)
    labels = discs()
    for frame in range(18):
        noise = np.random.default_rng(frame).normal(1000, 20, SHAPE)
        counts = (noise - 400.0 * (labels > 0)).astype(np.uint16)
        tifffile.imwrite(folder / "01" / f"t{frame:03d}.tif", counts)
        tifffile.imwrite(
            folder / "01_GT" / "TRA" / f"man_track{frame:03d}.tif", labels.astype(np.uint16)
        )
    return root


def test_training_lowers_the_loss_and_goes_on(movie: Path, tmp_path: Path) -> None:
    def settings(minutes: float, teacher: Path | None = None) -> TrainSegmentSettings:
        return TrainSegmentSettings(
            task="bacteria",
            data=movie,
            out=tmp_path / "out",
            minutes=minutes,
            crop_px=64,
            batch=2,
            widths=(8, 16, 24, 32),
            teacher=teacher,
        )

    first = load_checkpoint(train(settings(0.05)))
    second = load_checkpoint(train(settings(0.12)))
    assert second["step"] > first["step"] > 0
    minutes = [row[0] for row in second["history"]]
    assert all(a < b for a, b in pairwise(minutes))
    assert second["history"][-1][1] < first["history"][0][1]
    assert (tmp_path / "out" / "curve.png").stat().st_size > 500
    before = shutil.copy(tmp_path / "out" / "checkpoint.pt", tmp_path / "before.pt")
    assert load_net(before).widths == (8, 16, 24, 32)
    assert load_checkpoint(train(settings(0.13, before)))["step"] > second["step"]


def test_a_teacher_softens_labels() -> None:
    teacher, image = SegmentNet((4, 8, 16, 32)).eval(), torch.rand(2, 2, 32, 48)
    labels = torch.zeros(2, 5, 32, 48)
    labels[:, 0, 8:20], labels[:, 2:4] = 1.0, 0.75
    soft = taught(teacher, image, labels)
    raw = teacher(image).detach()
    torch.testing.assert_close(soft[:, 0], (labels[:, 0] + raw[:, 0].sigmoid()) / 2)
    torch.testing.assert_close(soft[:, 2:4], (labels[:, 2:4] + raw[:, 2:4]) / 2)


def test_two_networks_are_blended(tmp_path: Path) -> None:
    one, other = SegmentNet((4, 8, 16, 32)), SegmentNet((4, 8, 16, 32))
    for name, net in (("one", one), ("other", other)):
        torch.save({"average": net.state_dict(), "step": 7}, tmp_path / f"{name}.pt")
    path = blend(tmp_path / "one.pt", tmp_path / "other.pt", 0.25, tmp_path / "out")
    found = load_net(path).state_dict()
    for name in ("head.weight", "up.1.second.weight"):
        mean = 0.75 * one.state_dict()[name] + 0.25 * other.state_dict()[name]
        torch.testing.assert_close(found[name], mean)
    torch.save({"average": SegmentNet((4, 8, 16, 24)).state_dict()}, tmp_path / "wide.pt")
    with pytest.raises(ModelError, match="different networks"):
        blend(tmp_path / "wide.pt", tmp_path / "one.pt", 0.5, tmp_path / "out")


def test_missing_data_are_named(tmp_path: Path) -> None:
    settings = TrainSegmentSettings(task="bacteria", data=tmp_path, out=tmp_path / "out")
    with pytest.raises(ModelError, match="found 0 labelled images"):
        train(settings)
    (tmp_path / "track").mkdir()
    with pytest.raises(ModelError, match="ecoli_early"):
        train(settings)


DEVELOPMENT_DATA = Path(__file__).parents[3] / "shared" / "data"
BARS = {
    ("bacteria", "later"): (0.92, 0.88),
    ("nuclei", "plate"): (0.85, 0.66),
    ("nuclei", "image"): (0.87, 0.70),
    ("nuclei", "depth16"): (0.86, 0.72),
}
"""AP@0.5 and AP@0.75 that shipped weights must hold on images never trained on."""


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted({task for task, _ in BARS}))
def test_shipped_weights_hold_on_images_never_trained_on(task: str) -> None:
    from models.training.segment.evaluate import evaluate
    from models.training.segment.tasks import task_named

    if not DEVELOPMENT_DATA.is_dir():
        pytest.skip(f"no development data at {DEVELOPMENT_DATA}")
    for score in evaluate(task, task_named(task).pairs(DEVELOPMENT_DATA)):
        half, strict = BARS.get((task, score.part), (0.0, 0.0))
        assert score.ap50 >= half, score
        assert score.ap75 >= strict, score
        assert score.ap50 > score.classical_ap50, score
