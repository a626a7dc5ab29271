"""The reference engine: the exported network back in torch, the same answers to the last digit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra parfocal[train]")
onnx = pytest.importorskip("onnx", reason="needs the extra parfocal[train]")

import torch  # noqa: E402

from benchmarks.engines_given import Given, apart, given_for  # noqa: E402
from models.catalog import models_available, read_card, weights_path  # noqa: E402
from models.engines import open_engine  # noqa: E402
from models.engines.torch import TorchEngine  # noqa: E402
from models.errors import EngineError, ModelError  # noqa: E402
from models.training.rebuild import module_from_onnx  # noqa: E402
from models.training.segment.gather import Grouping  # noqa: E402
from models.training.segment.tasks import TASKS  # noqa: E402

CARDS = [pytest.param(card, id=card.name) for card in models_available()]
SIDE = 256


def answers(engine: object, given: list[Given]) -> list[dict[str, np.ndarray]]:
    with engine as opened:  # type: ignore[attr-defined]
        return [opened.run(one.inputs) for one in given]


@pytest.mark.parametrize("card", CARDS)
def test_every_shipped_network_gives_what_onnxruntime_gives(card: object) -> None:
    given = given_for(card, SIDE, (1, 2))
    found = answers(open_engine(card.path, "torch"), given)
    wanted = answers(open_engine(card.path, "onnxruntime"), given)
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        for key, value in other.items():
            assert one[key].dtype == value.dtype
            np.testing.assert_allclose(one[key], value, rtol=2e-4, atol=2e-3, err_msg=key)


@pytest.mark.parametrize(
    # CPUs without fp16 take seconds for it
    "precision",
    ["bf16", pytest.param("fp16", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("name", ["nuclei", "denoise", "phases"])
def test_lower_precision_is_near_and_said(name: str, precision: str) -> None:
    card = read_card(weights_path(name))
    given = given_for(card, SIDE, (1, 2))
    wanted = answers(open_engine(card.path, "torch"), given)
    with open_engine(card.path, "torch", precision) as engine:
        assert (engine.info.name, engine.info.precision) == ("torch", precision)
        found = [engine.run(one.inputs) for one in given]
    error = apart(card, given, found, wanted).value
    limit = {"segment": error >= 0.95, "denoise": 0 < error < 0.03, "classify": error >= 0.97}
    assert limit[card.task], error


@pytest.mark.parametrize("name", TASKS)
def test_how_pixels_are_grouped_is_read_off_the_file(name: str) -> None:
    how: Grouping = module_from_onnx(weights_path(name)).module.how
    wanted = TASKS[name].grouping
    assert (how.window_px, how.reach_px, how.hops) == (
        wanted.window_px, wanted.reach_px, wanted.hops,
    )  # fmt: skip
    assert how.foreground == pytest.approx(wanted.foreground, abs=1e-6)
    assert how.centre == pytest.approx(wanted.centre, abs=1e-6)


def test_threads_of_torch_are_given_back() -> None:
    before = torch.get_num_threads()
    with open_engine(weights_path("phases"), "torch", threads=before + 1) as engine:
        assert engine.info.device == f"cpu, {before + 1} threads"
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_inputs_are_not_written_to_and_may_be_locked() -> None:
    image = np.random.default_rng(0).random((64, 96)).astype(np.float32)[::-1]
    image.flags.writeable = False
    with open_engine(weights_path("nuclei"), "torch") as engine:
        assert engine.run({"image": image})["labels"].shape == (64, 96)
        assert engine.shapes == {"image": (None, None), "limits": (2,), "centre": (1,)}


def test_a_quantised_or_foreign_file_is_refused_by_name(tmp_path: Path) -> None:
    model = onnx.load(str(weights_path("nuclei")))
    held = {one.name: one for one in model.graph.initializer}
    model.graph.initializer.remove(held["net.net.up.1.second.weight"])
    onnx.save(model, str(tmp_path / "lacking.onnx"))
    with pytest.raises(ModelError, match=r"lacking\.onnx .* net\.net\.up\.1\.second\.weight"):
        module_from_onnx(tmp_path / "lacking.onnx")
    model.graph.node.append(onnx.helper.make_node("DequantizeLinear", ["a", "b"], ["c"]))
    onnx.save(model, str(tmp_path / "eight.onnx"))
    engine = open_engine(tmp_path / "eight.onnx", "torch")
    with pytest.raises(EngineError, match=r"eight\.onnx.*quantised.*onnxruntime"), engine:
        pass


@pytest.mark.slow  # the exporter takes 10 s, on a busy machine minutes
@pytest.mark.timeout(500)
def test_a_file_written_anew_gives_the_same_and_sorts_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra parfocal[train]")
    from models.training.segment.reexport import reexport

    tqdm = pytest.importorskip("tqdm", reason="the exporter draws its progress with it")
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)  # else it leaves a thread behind
    card = read_card(weights_path("cells"))
    new = reexport(card.path, tmp_path / "cells.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.onnx"]
    given = given_for(card, SIDE, (1, 2))
    found, wanted = (answers(open_engine(path), given) for path in (new, card.path))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one["labels"], other["labels"])
    assert module_from_onnx(new).module.how == module_from_onnx(card.path).module.how
    sorts = [node for node in onnx.load(str(new)).graph.node if node.op_type == "TopK"]
    assert len(sorts) == 2, "a low and a high rank are selected, nothing is sorted whole"


def test_a_gpu_that_is_not_there_is_not_replaced() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(EngineError, match="no NVIDIA GPU"):
        TorchEngine(weights_path("phases"), device="cuda").__enter__()
    with pytest.raises(EngineError, match="not 'tpu'"):
        TorchEngine(weights_path("phases"), device="tpu")


@pytest.mark.gpu
@pytest.mark.parametrize("card", CARDS)
def test_replayed_on_a_gpu_it_gives_the_same(card: object) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    given = given_for(card, SIDE, (1, 2, 3))
    wanted = answers(open_engine(card.path, "onnxruntime"), given)
    with TorchEngine(card.path, device="cuda") as engine:
        found = [engine.run(one.inputs) for one in given]
        assert engine.info.device.endswith("CUDA graph"), engine.info
    error = apart(card, given, found, wanted).value
    assert error < 1e-3 if card.task == "denoise" else error >= 0.99
