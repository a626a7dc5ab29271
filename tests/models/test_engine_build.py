"""Every shipped network becomes a TensorRT engine here, on a machine with no GPU."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime as ort
import pytest

from models.catalog import weights_path
from models.engines.ranks import shorten_sorts
from models.engines.trt.build import Built, Layer, build_engine, precision_of
from models.engines.trt.flavours import CLASSIC, RTX, flavour_for, flavour_named, version_of
from models.engines.trt.plan import load_plan
from models.engines.trt.sizes import Range, Sizes
from models.errors import EngineError, EngineFileError

pytest.importorskip("tensorrt_rtx", reason="needs the extra parfocal[gpu]")
onnx = pytest.importorskip("onnx", reason="needs the extra parfocal[gpu]")

from models.engines.trt.suited import suited  # noqa: E402

SEGMENTING = ("nuclei", "cells", "bacteria")
SHIPPED = (*SEGMENTING, "denoise", "phases")


@cache
def built(name: str) -> Built:
    path = weights_path(name)
    return build_engine(path, flavour="tensorrt-rtx", shapes="256x256", capabilities=("8.6",))


def session(content: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", SHIPPED)
def test_an_engine_is_built_for_each_shipped_network(name: str) -> None:
    made = built(name)
    assert len(made.engine) > 500_000
    assert made.flavour_version == version_of(RTX)
    assert made.capabilities == ("8.6",)
    assert made.precision == "fp32"
    # what goes in and out is what the ONNX file says
    reference = session(weights_path(name).read_bytes())
    kinds = {"tensor(float)": "float32", "tensor(int32)": "int32"}
    for ports, expected in (
        (made.inputs, reference.get_inputs()),
        (made.outputs, reference.get_outputs()),
    ):
        assert [(one.name, one.type) for one in ports] == [
            (one.name, kinds[one.type]) for one in expected
        ]
        for port, one in zip(ports, expected, strict=True):
            assert port.shape == tuple(k if isinstance(k, int) else None for k in one.shape)
    graph = onnx.load(weights_path(name)).graph
    convolutions = sum(node.op_type == "Conv" for node in graph.node)
    found = [layer for layer in made.layers if layer.kind == "convolution"]
    assert len(found) == convolutions
    assert {layer.type for layer in found} == {"float32"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("shapes", [None, "2048x2048"])
def test_an_engine_for_all_gpus_is_built(name: str, shapes: str | None) -> None:
    made = build_engine(weights_path(name), flavour="tensorrt-rtx", shapes=shapes)
    assert made.capabilities == RTX.capabilities


@pytest.mark.parametrize("name", SEGMENTING)
def test_what_ships_selects_two_percentiles_and_sorts_nothing(name: str) -> None:
    content = weights_path(name).read_bytes()
    assert suited(content, ("8.6",)) == content


def sorting() -> onnx.ModelProto:
    """A graph that sorts a whole image to read two percentiles, as networks of others do."""
    node, whole = onnx.helper.make_node, onnx.numpy_helper.from_array
    constants = {"flat": [-1], "one": [1], "low": [10], "high": [998], "half": [500], "all": [1000]}
    nodes = [
        node("Reshape", ["image", "flat"], ["values"], "reshape"),
        node("Shape", ["values"], ["count"], "shape"),
        node("Sub", ["count", "one"], ["last"], "sub"),
        node("TopK", ["values", "count"], ["sorted", "where"], "topk", largest=0, sorted=1),
    ]
    for part in ("low", "high"):
        nodes += [
            node("Mul", ["last", part], [f"{part}_1"], f"{part}_mul"),
            node("Add", [f"{part}_1", "half"], [f"{part}_2"], f"{part}_add"),
            node("Div", [f"{part}_2", "all"], [f"{part}_3"], f"{part}_div"),
            node("Gather", ["sorted", f"{part}_3"], [f"{part}_value"], f"{part}_gather"),
        ]
    kind, value = onnx.TensorProto.FLOAT, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "sorting", [value("image", kind, ["rows", "columns"])],
        [value(f"{part}_value", kind, [1]) for part in ("low", "high")],
        [whole(np.array(values, np.int64), name) for name, values in constants.items()],
    )  # fmt: skip
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)


def test_a_sort_becomes_two_short_selections_of_the_same_values() -> None:
    model = sorting()
    before = session(model.SerializeToString())
    assert shorten_sorts(model)
    after = session(model.SerializeToString())
    assert [node.op_type for node in model.graph.node].count("TopK") == 2
    for shape in ((16, 16), (48, 81), (160, 96)):
        image = np.random.default_rng(0).gamma(2.0, 300.0, shape).astype(np.float32)
        wanted, found = (one.run(None, {"image": image}) for one in (before, after))
        ordered = np.sort(image, axis=None)
        ranks = [((image.size - 1) * k + 500) // 1000 for k in (10, 998)]
        assert [float(one[0]) for one in wanted] == ordered[ranks].tolist()
        assert [float(one[0]) for one in found] == ordered[ranks].tolist()


def test_a_file_that_selects_already_stays_right() -> None:
    name = "cells"
    model = onnx.load(weights_path(name))
    shorten_sorts(model)  # as an export does
    once = model.SerializeToString()
    assert not shorten_sorts(model), "a selection is no sort"
    image = np.random.default_rng(0).gamma(2.0, 300.0, (96, 64)).astype(np.float32)
    pair = session(weights_path(name).read_bytes()), session(suited(once, ("8.6",)))
    feeds = {"image": image}
    for one in pair[0].get_inputs()[1:]:
        feeds[one.name] = np.zeros(one.shape, np.float32)
    for a, b in zip(*(one.run(None, feeds) for one in pair), strict=True):
        np.testing.assert_array_equal(a, b)


def test_dense_layers_as_convolutions_give_the_same() -> None:
    content = weights_path("phases").read_bytes()
    assert suited(content, ("8.6",)) == content, "only where the GPU needs it"
    changed = suited(content, ("7.5",))
    draw = np.random.default_rng(0)
    feeds = {
        "windows": draw.random((9, 3, 32, 32), np.float32),
        "context": draw.random((9, 3), np.float32),
    }
    (a,), (b,) = session(content).run(None, feeds), session(changed).run(None, feeds)
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert "Gemm" not in {node.op_type for node in onnx.load_model_from_string(changed).graph.node}


def test_sizes_and_gpus_are_those_asked_for() -> None:
    steps: list[float] = []
    one = build_engine(
        weights_path("nuclei"),
        flavour="tensorrt-rtx",
        shapes="64x64,256x512,1024x1024",
        capabilities=("8.6", "12.0"),
        progress=lambda done, _: steps.append(done),
    )
    assert one.capabilities == ("8.6", "12.0")
    assert one.sizes == Sizes((64, 64), (256, 512), (1024, 1024))
    assert steps[-1] == 1.0
    assert len(steps) > 20
    assert all(0 <= step <= 1 for step in steps)
    assert sorted(steps) == steps, "progress never goes back"


@pytest.mark.parametrize(
    ("content", "how", "message"),
    [
        (b"no network", {}, "cannot read the ONNX file"),
        (b"", {}, "cannot read the ONNX file"),
        (None, {"shapes": "4096x4096"}, r"nuclei\.onnx for 4096x4096.*in tiles"),
        (None, {"shapes": "large"}, "got sizes 'large'; need 512x512"),
        (None, {"capabilities": ("9.0",)}, "not '9.0'; for others use engine tensorrt"),
        (None, {"flavour": "tensorflow"}, "need tensorrt or tensorrt-rtx"),
    ],
    ids=["text", "empty", "too large", "sizes", "gpu", "flavour"],
)
def test_what_cannot_be_built_says_why(
    content: bytes | None, how: dict[str, object], message: str
) -> None:
    source = weights_path("nuclei") if content is None else content
    with pytest.raises(EngineError, match=message):
        build_engine(source, **{"flavour": "tensorrt-rtx", **how})  # type: ignore[arg-type]


def test_what_is_no_engine_does_not_load() -> None:
    with pytest.raises(EngineFileError, match="damaged"):
        load_plan(RTX, b"no engine at all" * 100)


def test_the_missing_flavour_names_its_install_line() -> None:
    if CLASSIC.installed:
        pytest.skip("TensorRT is installed here")
    with pytest.raises(EngineError, match="pip install tensorrt-cu13"):
        build_engine(weights_path("nuclei"), flavour="tensorrt")


@pytest.mark.parametrize(
    ("kinds", "precision"),
    [
        (("float32", "float32"), "fp32"),
        (("float16", "float16", "float32"), "fp16"),
        (("bfloat16",), "bf16"),
        ((), "fp32"),
    ],
)
def test_the_precision_is_that_of_the_convolutions(kinds: tuple[str, ...], precision: str) -> None:
    layers = tuple(Layer("c", "convolution", kind) for kind in kinds)
    assert precision_of((*layers, Layer("t", "topk", "float32"))) == precision
    assert precision_of((*layers, Layer("q", "quantize", "int8"))) == "int8"


@pytest.mark.parametrize(
    ("capability", "accepted"),
    [("7.5", True), ("8.6", True), ("8.9", True), ("9.0", False), ("12.0", True), ("7.0", False)],
)
def test_a_gpu_gets_the_flavour_that_runs_on_it(capability: str, accepted: bool) -> None:
    assert RTX.accepts(capability) is accepted
    assert flavour_for(capability) is (RTX if accepted else CLASSIC)
    assert CLASSIC.accepts(capability) is (capability != "7.0")
    assert flavour_named("tensorrt") is CLASSIC


def test_sizes_become_shapes() -> None:
    sizes = Sizes.parse("20x30, 512x512 ,1000x2048")
    assert Sizes.parse("64X48") == Sizes.only(64, 48)
    assert sizes.ranges({"image": ("16*rows", "16*columns"), "limits": (2,)}) == {
        "image": Range((32, 32), (512, 512), (1008, 2048))
    }
    assert sizes.ranges({"windows": ("n", 3, 32, 32)})["windows"].most == (256, 3, 32, 32)
    assert sizes.ranges({"state": (1, 3, "8*rows", "8*columns")})["state"].least == (1, 3, 24, 32)
    with pytest.raises(EngineError, match=r"'volume' has the free axes \[0, 2\]"):
        sizes.ranges({"volume": ("n", 3, "rows", 4)})
    with pytest.raises(EngineError, match="least <= usual"):
        Sizes((64, 64), (32, 32), (128, 128))
