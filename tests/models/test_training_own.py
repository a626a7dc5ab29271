"""Training on labelled images of the user's own, from a network that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the extra parfocal[train]")
pytest.importorskip("onnx", reason="needs the extra parfocal[train]")

from drivers.simulated.fields import render_training_field  # noqa: E402
from models.catalog import weights_path  # noqa: E402
from models.engines import open_engine  # noqa: E402
from models.errors import ImageError, ModelError  # noqa: E402
from models.training.segment.checkpoint import load_net  # noqa: E402
from models.training.segment.own import HELD_OUT, has_own, own_pairs  # noqa: E402
from models.training.segment.start import start_from  # noqa: E402
from models.training.segment.train import TrainSegmentSettings, train  # noqa: E402
from models.training.segment.views import normalise, two_views  # noqa: E402

LABELS = np.zeros((32, 48), np.uint16)
LABELS[4:12, 6:14], LABELS[18:28, 30:40] = 1, 2

LAYOUTS = {
    "beside": ("{name}_img.tif", "{name}_lab.tif"),
    "cellpose": ("{name}.tif", "{name}_cp_masks.tif"),
    "folders": ("images/{name}.tif", "masks/{name}.tif"),
    "folders, endings": ("images/{name}_img.tif", "labels/{name}_labels.tif"),
}


def write(folder: Path, layout: str, count: int, labels: NDArray[np.generic] = LABELS) -> Path:
    for k in range(count):
        for place, pixels in zip(LAYOUTS[layout], (LABELS * 100 + k, labels), strict=True):
            path = folder / place.format(name=f"well{k}")
            path.parent.mkdir(exist_ok=True)
            tifffile.imwrite(path, pixels)
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_usual_layouts_are_found(tmp_path: Path, layout: str) -> None:
    pairs = own_pairs(write(tmp_path, layout, 10))
    assert {pair.name for pair in pairs} == {f"well{k}" for k in range(10)}
    assert [pair.split for pair in pairs].count(HELD_OUT) == 2
    for pair in pairs:
        np.testing.assert_array_equal(pair.labels, LABELS)
        assert int(pair.image.min()) == int(pair.name.removeprefix("well"))
    again = {pair.name: pair.split for pair in own_pairs(tmp_path)}
    assert again == {pair.name: pair.split for pair in pairs}


def test_a_folder_without_labels_is_not_of_the_users_own(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "alone.tif", LABELS)
    assert not has_own(tmp_path)
    assert not has_own(tmp_path / "nowhere")
    with pytest.raises(ImageError, match="found 0 labelled images, need 2"):
        own_pairs(tmp_path)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (LABELS.astype(np.float32), "need whole numbers"),
        (LABELS[:16], "must both be the same"),
        (np.zeros_like(LABELS), "all background"),
    ],
)
def test_labels_of_no_use_are_named(tmp_path: Path, labels: NDArray[np.generic], says: str) -> None:
    with pytest.raises(ImageError, match=says):
        own_pairs(write(tmp_path, "beside", 3, labels))


def test_a_started_network_says_what_its_file_says() -> None:
    counts, _ = render_training_field(3, (128, 128), diameter_px=28)
    seen = two_views(torch.from_numpy(normalise(counts.astype(np.float32)))[None, None])
    net = start_from("nuclei", [seen, seen.flip(2)])
    norms = [one for one in net.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    assert not any(bool((norm.running_mean == 0).all()) for norm in norms)
    with torch.inference_mode():
        learned = torch.sigmoid(net.eval()(seen))[0, 0].numpy()
        # in training norms go by what they see, which is what they were shown
        training = torch.sigmoid(net.train()(torch.cat([seen, seen.flip(2)])))[0, 0].numpy()
    with open_engine(weights_path("nuclei")) as engine:
        said = engine.run({"image": counts.astype(np.float32)})["probability"]
    np.testing.assert_allclose(learned, said, atol=2e-3)
    assert np.mean(np.abs(training - said)) < 0.02


def test_only_a_segmenting_network_is_gone_on_from() -> None:
    with pytest.raises(ModelError, match="phases does not segment"):
        start_from("phases", [])


def test_training_goes_on_from_what_ships(tmp_path: Path) -> None:
    data = tmp_path / "labelled"
    data.mkdir()
    for seed in range(3):
        counts, labels = render_training_field(seed, (96, 96), diameter_px=24)
        tifffile.imwrite(data / f"{seed}_img.tif", counts)
        tifffile.imwrite(data / f"{seed}_lab.tif", labels.astype(np.uint16))
    settings = TrainSegmentSettings(
        data=data, out=tmp_path / "mine", start="nuclei", minutes=0.01, crop_px=64, batch=1
    )
    assert settings.model_name == "mine"
    net = load_net(train(settings))
    shipped = start_from("nuclei", [torch.rand(1, 2, 64, 64)])
    assert net.widths == shipped.widths
    moved = net.down[2].second.weight - shipped.down[2].second.weight
    assert 0 < float(moved.detach().abs().max()) < 0.2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_few_labelled_images_teach_a_new_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outlines in place of discs: ten images and two minutes make nearly all of them right."""
    pytest.importorskip("onnxscript", reason="needs the extra parfocal[train]")
    tqdm = pytest.importorskip("tqdm", reason="the exporter draws its progress with it")
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)  # else it leaves a thread behind
    from models.training.segment.command import export_and_score
    from models.training.segment.evaluate import evaluate

    data = tmp_path / "outlined"
    data.mkdir()
    for seed in range(12):
        _, labels = render_training_field(700 + seed, (192, 192), diameter_px=30)
        tifffile.imwrite(data / f"{seed:02d}_img.tif", outlined(labels, seed))
        tifffile.imwrite(data / f"{seed:02d}_lab.tif", labels.astype(np.uint16))
    settings = TrainSegmentSettings(
        data=data, out=tmp_path / "mine", start="nuclei", minutes=2.0, low_precision=True
    )
    train(settings)
    path = export_and_score(settings)
    before, after = (evaluate(name, own_pairs(data))[0] for name in ("nuclei", str(path)))
    assert after.ap50 > before.ap50 + 0.1
    assert after.ap50 > 0.85
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "held_out, nuclei" in card
    assert "nan" not in card


def outlined(labels: NDArray[np.int32], seed: int) -> NDArray[np.uint16]:
    """Objects that are bright where they end, with photon noise."""
    from mahotas import distance, gaussian_filter

    rng = np.random.default_rng(seed)
    bright = np.zeros(labels.shape)
    for label in range(1, int(labels.max()) + 1):
        inside = labels == label
        depth = np.sqrt(distance(inside))
        bright += np.where(inside, np.exp(-(((depth - 2) / 1.5) ** 2)), 0)
    light = 40 * gaussian_filter(bright, 1.0) + 10
    return np.asarray(rng.poisson(light) * 10, np.uint16)
