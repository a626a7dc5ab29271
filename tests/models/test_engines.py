"""Engines run what they were asked for, where they were asked to, or say why not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.catalog import weights_path
from models.engines import engines_installed, open_engine
from models.errors import EngineError
from models.scoring.instances import agreement

NUCLEI = Path(__file__).parents[1] / "data" / "nuclei"
INSTALLED = engines_installed()
needs_openvino = pytest.mark.skipif(
    "openvino" not in INSTALLED, reason="needs the extra parfocal[openvino]"
)


@pytest.fixture(scope="module")
def model() -> Path:
    return weights_path("nuclei")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.asarray(Image.open(NUCLEI / "060_img.png"), dtype=np.float32)


@pytest.mark.parametrize("name", INSTALLED)
def test_engine_keeps_its_contract(name: str, model: Path, image: np.ndarray) -> None:
    engine = open_engine(model, name)
    with pytest.raises(EngineError, match="not open"):
        engine.run({"image": image})
    with pytest.raises(EngineError, match="not open"):
        _ = engine.info
    with engine:
        assert engine.info.name == name
        assert engine.info.precision == "fp32"
        assert engine.info.device.startswith("cpu")
        assert engine.info.model.startswith("nuclei@")
        first = engine.run({"image": image})
        kept = {key: value.copy() for key, value in first.items()}
        engine.run({"image": image[::-1].copy()})
        again = engine.run({"image": image})
        for key, value in kept.items():
            np.testing.assert_array_equal(first[key], value, "a later run changed a result")
            np.testing.assert_array_equal(again[key], value, "the same input gave another result")
        assert first["labels"].shape == first["probability"].shape == image.shape
        assert first["labels"].dtype == np.int32
    engine.__exit__(None, None, None)
    with pytest.raises(EngineError, match="not open"):
        engine.run({"image": image})


@pytest.mark.parametrize("name", INSTALLED)
def test_a_wrong_input_is_one_error_of_ours(name: str, model: Path) -> None:
    with open_engine(model, name) as engine, pytest.raises(EngineError, match=r"nuclei\.onnx"):
        engine.run({"no such input": np.zeros((64, 64), np.float32)})


@pytest.mark.parametrize(
    ("precision", "same", "count_tolerance"), [("fp32", 0.995, 0), ("bf16", 0.98, 0)]
)
@needs_openvino
def test_openvino_agrees_with_onnxruntime(
    model: Path, precision: str, same: float, count_tolerance: int
) -> None:
    pairs = []
    with open_engine(model, "onnxruntime") as ours:
        try:
            theirs = open_engine(model, "openvino", precision).__enter__()
        except EngineError as error:
            if "it runs" not in str(error):
                raise
            pytest.skip(f"this CPU has no {precision}: {error}")
        with theirs:
            assert theirs.info.precision == precision
            for path in sorted(NUCLEI.glob("*_img.png")):
                pixels = np.asarray(Image.open(path), dtype=np.float32)
                height, width = (length // 16 * 16 for length in pixels.shape)
                pixels = np.ascontiguousarray(pixels[:height, :width])
                a = ours.run({"image": pixels})["labels"]
                b = theirs.run({"image": pixels})["labels"]
                found = len(np.unique(a)), len(np.unique(b))
                assert abs(found[0] - found[1]) <= count_tolerance, path.name
                pairs.append((a, b))
    assert agreement(pairs, (0.9,))[0].ap >= same


@needs_openvino
def test_openvino_reports_to_nobody(model: Path) -> None:
    program = (
        "import sys, threading; from pathlib import Path; from models.engines import open_engine\n"
        "with open_engine(Path(sys.argv[1]), 'openvino') as engine: pass\n"
        "assert sys.modules['openvino_telemetry'] is None, 'it can report'\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(model)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_threads_change_nothing(model: Path, image: np.ndarray) -> None:
    with open_engine(model, threads=1) as one, open_engine(model, threads=2) as two:
        assert two.info.device == "cpu, 2 threads"
        np.testing.assert_array_equal(
            one.run({"image": image})["labels"], two.run({"image": image})["labels"]
        )


@pytest.mark.parametrize(
    ("engine", "precision", "message"),
    [
        pytest.param("tensorflow", "fp32", "no engine named 'tensorflow'", id="unknown"),
        pytest.param("onnxruntime", "bf16", "onnxruntime runs fp32", id="precision"),
    ],
)
def test_what_cannot_run_is_refused(model: Path, engine: str, precision: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        open_engine(model, engine, precision)


def test_auto_takes_the_first_installed(model: Path) -> None:
    with open_engine(model, "auto") as engine:
        assert engine.info.name == INSTALLED[0]


@pytest.mark.parametrize("name", INSTALLED)
def test_a_missing_or_broken_file_is_named(name: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.onnx"
    with pytest.raises(EngineError, match=r"missing\.onnx"), open_engine(missing, name):
        pass
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises(EngineError, match=r"broken\.onnx"), open_engine(broken, name):
        pass
