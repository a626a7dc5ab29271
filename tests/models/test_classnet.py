"""The network that sorts, its training and export; a user's own classes through the CLI."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from taught_kinds import TEXTURES, save_clicks, two_kinds

torch = pytest.importorskip("torch", reason="torch is not installed (extra `train`)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra `train`)")

from live.cli import main  # noqa: E402
from models.catalog import WEIGHTS, read_card  # noqa: E402
from models.engines import engines_installed, open_engine  # noqa: E402
from models.errors import ModelError  # noqa: E402
from models.pipeline import load_pipeline  # noqa: E402
from models.result import ImageContext  # noqa: E402
from models.training.classify.augment import ClassSampler, plain  # noqa: E402
from models.training.classify.command import export_classifier  # noqa: E402
from models.training.classify.examples import Examples, read_examples  # noqa: E402
from models.training.classify.net import (  # noqa: E402
    ClassNet,
    CropsToProbabilities,
    net_from_onnx,
    without_norm,
)
from models.training.classify.train import TrainClassifySettings, train  # noqa: E402
from models.training.segment.checkpoint import load_checkpoint  # noqa: E402
from models.training.segment.net import count_weights  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty crops of each of two kinds."""
    folder = tmp_path_factory.mktemp("taught")
    for seed in range(3):
        save_clicks(folder, seed, most=50)
    return folder


@pytest.fixture(scope="module")
def examples(clicks: Path) -> Examples:
    return read_examples(clicks)


def trained_net() -> ClassNet:
    """A network whose batch normalisation has seen something."""
    torch.manual_seed(3)
    net = ClassNet(3)
    for _ in range(3):
        net(torch.randn(16, 3, 32, 32) + 0.5, torch.randn(16, 3))
    return net.eval()


def inputs(n: int = 40) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(4)
    return torch.rand(n, 3, 32, 32, generator=generator), torch.randn(n, 3, generator=generator)


def test_the_network_is_small() -> None:
    assert count_weights(ClassNet(10)) <= 150_000
    assert (WEIGHTS / "phases.onnx").stat().st_size < 1_000_000


def test_without_normalisation_it_gives_the_same_logits() -> None:
    net = trained_net()
    small = without_norm(net)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in small.modules())
    with torch.no_grad():
        torch.testing.assert_close(small(*inputs()), net(*inputs()), atol=1e-4, rtol=1e-4)


def test_shipped_weights_can_be_trained_on_from() -> None:
    """All but the last layer comes back out of the file: what it feeds the head is the same."""
    path = WEIGHTS / "phases.onnx"
    net = net_from_onnx(path, 3).eval()
    windows, context = inputs()
    with open_engine(path) as engine:
        wanted = engine.run({"windows": windows.numpy(), "context": context.numpy()})
    import onnx
    from onnx import numpy_helper

    held = {one.name: numpy_helper.to_array(one) for one in onnx.load(str(path)).graph.initializer}
    with torch.no_grad():
        net.head.weight.copy_(torch.tensor(held["net.head.weight"]))
        net.head.bias.copy_(torch.tensor(held["net.head.bias"]))
        found = torch.softmax(net(windows, context), dim=1).numpy()
    np.testing.assert_allclose(found, wanted["probability"], atol=1e-4)


def test_training_does_not_start_from_another_network() -> None:
    with pytest.raises(ModelError, match="not made by"):
        net_from_onnx(WEIGHTS / "nuclei.onnx", 2)


def test_batches_are_repeatable_balanced_and_finite(examples: Examples) -> None:
    runs = [ClassSampler(examples, np.random.default_rng(7)).draw(64) for _ in range(2)]
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first, second)
    windows, context, target = runs[0]
    assert windows.shape == (64, 3, 32, 32)
    assert bool(torch.isfinite(windows).all())
    assert bool(torch.isfinite(context).all())
    assert set(windows[:, 1:].unique().tolist()) <= {0.0, 1.0}
    assert bool((windows[:, 1].sum(dim=(1, 2)) > 0).all())
    assert 20 <= int(target.sum()) <= 44
    assert bool((context[context[:, 2] == 0] == 0).all())


def test_nothing_held_out_is_trained_on(examples: Examples) -> None:
    image = examples.image.copy()
    image[examples.held_out] = np.nan
    spoilt = Examples(
        image, examples.masks, examples.context, examples.target, examples.held_out,
        examples.classes,
    )  # fmt: skip
    sampler = ClassSampler(spoilt, np.random.default_rng(1))
    assert all(bool(torch.isfinite(sampler.draw(64)[0]).all()) for _ in range(4))


def test_training_goes_on_and_refuses_other_classes(examples: Examples, tmp_path: Path) -> None:
    def settings(minutes: float) -> TrainClassifySettings:
        return TrainClassifySettings(
            data=tmp_path, out=tmp_path, minutes=minutes, batch=16, anew=True
        )

    first = load_checkpoint(train(settings(0.03), examples))
    second = load_checkpoint(train(settings(0.07), examples))
    assert second["step"] > first["step"] > 0
    assert all(a[0] < b[0] for a, b in pairwise(second["history"]))
    assert (tmp_path / "curve.png").stat().st_size > 500
    other = Examples(
        examples.image, examples.masks, examples.context, examples.target, examples.held_out,
        ("a", "b"),
    )  # fmt: skip
    with pytest.raises(ModelError, match="holds a training of even, speckled"):
        train(settings(0.1), other)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClassNet, Path]:
    """A network and its file; the exporter leaves a thread, which is no test's own."""
    net = trained_net()
    return net, export_classifier(net, tmp_path_factory.mktemp("onnx") / "random.onnx", 1.7)


@pytest.mark.slow  # the export alone takes some ten seconds
@pytest.mark.parametrize("engine", engines_installed())
def test_exported_graph_equals_torch(exported: tuple[ClassNet, Path], engine: str) -> None:
    net, path = exported
    with torch.no_grad():
        wanted = CropsToProbabilities(net, 1.7)(*inputs()).numpy()
        direct = torch.softmax(net(*inputs()) / 1.7, dim=1).numpy()
    np.testing.assert_allclose(wanted, direct, atol=1e-5)
    windows, context = (each.numpy() for each in inputs())
    with open_engine(path, engine) as opened:
        for n in (1, 5, 40):
            found = opened.run({"windows": windows[:n], "context": context[:n]})["probability"]
            np.testing.assert_allclose(found, wanted[:n], atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_classes_of_ones_own_from_fifty_crops_each(clicks: Path, tmp_path: Path) -> None:
    """Clicks in, a network out, and a pipeline that sorts pictures never seen."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "live.cli", "models", "train", "classify", str(clicks)]
    wanted = ["--out", str(out), "--name", "mine", "--minutes", "1.5"]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "even: 40 to train on, 10 held out" in done.stdout
    for name in ("mine.onnx", "mine.md", "confusion.png", "reliability.png", "curve.png"):
        assert (out / name).is_file(), name
    assert read_card(out / "mine.onnx").classes == tuple(TEXTURES)
    text = (out / "mine.md").read_text(encoding="utf-8")
    assert "Balanced accuracy" in text
    assert "expected calibration error" in text
    right = list[bool]()
    settings = {
        "name": "own",
        "segment": {"kind": "threshold", "polarity": "bright"},
        "classify": {"model": str(out / "mine.onnx")},
    }
    with load_pipeline(settings) as pipeline:
        for seed in range(100, 104):
            image, labels, kinds = two_kinds(seed)
            result = pipeline.run(image, ImageContext(seq=0, time_s=0.0))
            for row in result.objects:
                under = labels[round(float(row["y_px"])), round(float(row["x_px"]))]
                if under:
                    right.append(result.classes[row["class_id"]] == kinds[under - 1])
    assert len(right) > 120
    assert np.mean(right) >= 0.9, np.mean(right)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere", "--out", "{out}"), "no folder nowhere"),
        (("{clicks}", "--out", "{out}", "--name", "a/b"), "--name"),
        (("{clicks}", "--out", "{out}", "--minutes", "0"), "--minutes"),
        (("{clicks}", "--out", "{out}", "--export-only"), "train first"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...],
    says: str,
    clicks: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(
            ["models", "train", "classify"]
            + [part.format(clicks=clicks, out=tmp_path / "out") for part in arguments]
        )
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert says in " ".join(err.split())
    assert "Traceback" not in err


def test_plain_crops_are_the_middle(examples: Examples) -> None:
    windows, context, target = plain(examples, np.array([0, 3]))
    np.testing.assert_array_equal(
        windows[:, 0].numpy(), examples.image[[0, 3], 8:-8, 8:-8].astype(np.float32)
    )
    assert context.shape == (2, 3)
    assert target.tolist() == examples.target[[0, 3]].tolist()
