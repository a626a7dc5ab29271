"""Networks in other precisions: what is kept, what is refused, and what is written."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="making files of another precision needs the package onnx")

import onnx
from PIL import Image

from drivers.simulated.fields import render_training_field
from models.building.accuracy import Accuracy, WorseThanAllowed, compared, reference_on
from models.building.build import build_model, check_build
from models.building.bundle import write_network
from models.building.frames import parted, runs_on, through
from models.building.precision import precision_of_nodes, rounded_twin, sixteen_bit
from models.building.quantise import quantised
from models.building.region import learned_region
from models.catalog import ModelCard, models_available, read_card, weights_path
from models.engines import open_engine
from models.engines.inside import precision_inside
from models.errors import EngineError, ModelError
from models.scoring import agreement

SAMPLE = Path(__file__).parents[1] / "data" / "nuclei"
SHIPPED = [card.name for card in models_available()]


def need(module: str) -> None:
    """Skip where an optional engine is missing; importing OpenVINO to see would start a thread."""
    if find_spec(module) is None:
        pytest.skip(f"needs the optional engine {module}")


@pytest.fixture(scope="module")
def nuclei() -> ModelCard:
    return read_card(weights_path("nuclei"))


@pytest.fixture(scope="module")
def sample() -> list[np.ndarray]:
    """Real nuclei; of the largest only a corner, which is quicker."""
    images = [np.asarray(Image.open(path)) for path in sorted(SAMPLE.glob("*_img.png"))]
    return [np.ascontiguousarray(image[:256, :256]) for image in images]


@pytest.fixture(scope="module")
def eight_bits(
    nuclei: ModelCard, sample: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> ModelCard:
    content = quantised(nuclei.path.read_bytes(), runs_on(nuclei, sample[1:3]))
    folder = tmp_path_factory.mktemp("eight")
    return write_network(folder, "nuclei-int8", content, nuclei, {"precision": "int8"})


@pytest.mark.parametrize("name", ["nuclei", "denoise", "phases"])
@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_only_the_learned_part_is_of_16_bits(name: str, kind: str) -> None:
    built = onnx.load_model_from_string(sixteen_bit(weights_path(name).read_bytes(), kind))  # type: ignore[arg-type]
    assert precision_of_nodes(built) == kind == precision_inside(built.SerializeToString())
    for value in (*built.graph.input, *built.graph.output):
        assert value.type.tensor_type.elem_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.INT32)
    number = {"fp16": 10, "bf16": 16}[kind]
    typed = onnx.shape_inference.infer_shapes(built)
    small = {v.name for v in typed.graph.value_info if v.type.tensor_type.elem_type == number}
    small |= {one.name for one in typed.graph.initializer if one.data_type == number}
    exact = {"CumSum", "TopK", "GatherElements", "Round", "Sub", "Div", "Sqrt", "Log", "Greater"}
    touched = {n.op_type for n in built.graph.node if small.intersection((*n.input, *n.output))}
    assert "Conv" in touched
    assert not touched & exact


def test_fp16_keeps_the_labels(nuclei: ModelCard, sample: list[np.ndarray], tmp_path: Path) -> None:
    content = sixteen_bit(nuclei.path.read_bytes(), "fp16")
    built = write_network(tmp_path, "nuclei-fp16", content, nuclei, {})
    pairs = zip(through(built, sample[:3]), reference_on(nuclei, sample[:3]), strict=True)
    found = agreement(pairs, (0.9,))[0]
    assert found.true > 50
    assert found.ap >= 0.98


@pytest.mark.slow
def test_bf16_keeps_the_labels_of_the_whole_sample(
    nuclei: ModelCard, sample: list[np.ndarray], tmp_path: Path
) -> None:
    content = rounded_twin(nuclei.path.read_bytes(), "bf16")
    built = write_network(tmp_path, "nuclei-bf16", content, nuclei, {})
    pairs = zip(through(built, sample), reference_on(nuclei, sample), strict=True)
    assert agreement(pairs, (0.9,))[0].ap >= 0.95


def test_int8_passes_and_keeps_biases_as_they_were(
    nuclei: ModelCard, eight_bits: ModelCard, sample: list[np.ndarray]
) -> None:
    # drawn ones beside them: of eighteen objects a single outline is a twentieth
    drawn = [render_training_field(seed, (256, 256), diameter_px=28)[0] for seed in (5, 6)]
    held = [sample[0], sample[3], *drawn]
    found = compared(
        eight_bits, held, reference_on(nuclei, held), engine="onnxruntime", run_as="int8",
        precision="int8",
    )  # fmt: skip
    found.check()
    model = onnx.load(str(eight_bits.path))
    region = learned_region(onnx.load(str(nuclei.path)))
    quantised_ones = sum(node.op_type == "QuantizeLinear" for node in model.graph.node)
    assert quantised_ones >= len(region.convolutions) - 2
    held_types = {one.name: one.data_type for one in model.graph.initializer}
    biases = [n.input[2] for n in model.graph.node if n.op_type == "Conv" and len(n.input) > 2]
    assert biases
    assert all(held_types[name] == onnx.TensorProto.FLOAT for name in biases)


def test_broken_int8_is_refused_with_figures(
    nuclei: ModelCard, sample: list[np.ndarray], tmp_path: Path
) -> None:
    dark = [
        {
            "image": np.zeros((64, 64), np.float32),
            "limits": np.array([0, 1e9], np.float32),
        }
    ]
    names = {one.name for one in onnx.load(str(nuclei.path)).graph.input}
    dark = [{key: value for key, value in one.items() if key in names} for one in dark]
    broken = write_network(
        tmp_path, "nuclei", quantised(nuclei.path.read_bytes(), dark), nuclei, {}
    )
    found = compared(
        broken, sample[1:2], reference_on(nuclei, sample[1:2]), engine="onnxruntime",
        run_as="int8", precision="int8",
    )  # fmt: skip
    with pytest.raises(WorseThanAllowed, match=r"AP@0\.5 .* \(need at least 0\.95\)"):
        found.check()


def test_a_figure_that_is_no_number_is_not_good_enough() -> None:
    found = Accuracy("classify", "int8", "onnxruntime", 3, 9, {"agree": float("nan")})
    assert found.missed == ("agree",)


def test_engines_run_int8_only_where_the_file_holds_it(
    nuclei: ModelCard, eight_bits: ModelCard
) -> None:
    with open_engine(eight_bits.path, "onnxruntime", "int8") as engine:
        assert engine.info.precision == "int8"
    with (
        pytest.raises(EngineError, match="parfocal models build nuclei --engine onnxruntime"),
        open_engine(nuclei.path, "onnxruntime", "int8"),
    ):
        pass
    with (
        pytest.raises(EngineError, match="set precision to int8"),
        open_engine(eight_bits.path, "onnxruntime", "fp32"),
    ):
        pass


@pytest.mark.slow
def test_openvino_computes_convolutions_in_eight_bits(
    nuclei: ModelCard, eight_bits: ModelCard
) -> None:
    need("openvino")
    with open_engine(eight_bits.path, "openvino", "int8") as engine:
        assert engine.info.precision == "int8"
    with (
        pytest.raises(EngineError, match="int8 was asked for"),
        open_engine(nuclei.path, "openvino", "int8"),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "precision"),
    [
        ("onnxruntime", "int8"),
        ("openvino", "int8"),
        ("tensorrt-rtx", "fp32"),
        ("tensorrt-rtx", "fp16"),
        ("tensorrt-rtx", "bf16"),
        ("tensorrt-rtx", "int8"),
    ],
)
def test_build_for_each_engine(
    engine: str, precision: str, nuclei: ModelCard, sample: list[np.ndarray], tmp_path: Path
) -> None:
    need({"tensorrt-rtx": "tensorrt_rtx"}.get(engine, engine))
    told: list[float] = []
    report = build_model(
        nuclei, sample, tmp_path, engine=engine, precision=precision,  # type: ignore[arg-type]
        progress=lambda part, _what: told.append(part),
    )  # fmt: skip
    card = read_card(tmp_path / f"nuclei-{precision}.onnx")
    assert (card.precision, card.built_from) == (precision, nuclei.sha256())
    assert precision_inside(card.path.read_bytes()) == precision
    assert set(card.error) == (set() if precision == "fp32" else {"ap50", "ap90"})
    assert told[-1] == 1.0
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {file.name for file in report.bundle.files}
    if report.bundle.engine is not None:
        about = json.loads((tmp_path / f"nuclei-{precision}.tensorrt-rtx.json").read_text())
        assert about["precision"] == precision
        assert {port["name"] for port in about["outputs"]} == {"labels", "probability"}
    with pytest.raises(ModelError, match="exists; choose another --out"):
        build_model(nuclei, sample, tmp_path, engine=engine, precision=precision)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_every_shipped_network_in_16_bits_is_taken_by_tensorrt(name: str, kind: str) -> None:
    need("tensorrt_rtx")
    from models.engines.trt.build import build_engine

    content = sixteen_bit(weights_path(name).read_bytes(), kind)  # type: ignore[arg-type]
    built = build_engine(content, flavour="tensorrt-rtx", capabilities=("8.6",))
    assert built.precision == kind


def test_nothing_is_written_when_a_build_is_refused(
    nuclei: ModelCard, sample: list[np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="2 or more"):
        build_model(nuclei, sample[:1], tmp_path, engine="onnxruntime", precision="fp16")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("engine", "precision", "words"),
    [
        pytest.param("onnxruntime", "fp32", "as it is; set engine: onnxruntime", id="fp32"),
        pytest.param("onnxruntime", "bf16", "does not compute in bf16", id="bf16"),
        pytest.param("openvino", "bf16", "precision: bf16 in the pipeline", id="openvino-bf16"),
        pytest.param("openvino", "fp16", "does not compute in fp16", id="openvino-fp16"),
    ],
)
def test_builds_that_are_of_no_use_are_refused(
    engine: str, precision: str, words: str, nuclei: ModelCard
) -> None:
    with pytest.raises(ModelError, match=words):
        check_build(nuclei, engine, precision)  # type: ignore[arg-type]


def test_what_is_in_less_than_32_bits_is_not_built_from(eight_bits: ModelCard) -> None:
    with pytest.raises(ModelError, match="build from the float32"):
        check_build(eight_bits, "onnxruntime", "int8")
    with pytest.raises(ModelError, match="in int8 already"):
        sixteen_bit(eight_bits.path.read_bytes(), "fp16")
    with pytest.raises(ModelError, match="no ONNX file"):
        sixteen_bit(b"not a network", "fp16")


def test_frames_held_back_are_never_calibrated_on() -> None:
    frames = [np.full((8, 8), k, np.uint16) for k in range(10)]
    for in_order in (False, True):
        found = parted(frames, in_order=in_order)
        seen = [int(frame[0, 0]) for frame in (*found.calibrate, *found.held_back)]
        assert sorted(seen) == list(range(10))
        assert len(found.held_back) == 3
    with pytest.raises(ModelError, match="need \\(y, x\\) uint8 or uint16"):
        parted([np.zeros((8, 8), np.float32)] * 3)
