"""``benchmarks/gpu.py`` goes through all its sections as far as a CPU allows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="needs the extra parfocal[gpu]")

from benchmarks.gpu import main
from benchmarks.gpu_peaks import bounds_of, counted
from models.catalog import weights_path


def test_operations_are_counted_by_hand() -> None:
    one, four = (counted(weights_path("nuclei"), size) for size in (256, 512))
    # each layer has a quarter of the pixels, and the same weights
    assert four["gigaoperations"] == pytest.approx(4 * one["gigaoperations"])
    assert 1 < four["megabytes_fp32"] / one["megabytes_fp32"] < 4
    # the first convolution alone, 2 to 20 channels, 3 x 3, at half the size
    first = 2 * 20 * 2 * 9 * 256 * 256 / 1e9
    assert four["gigaoperations"] > 10 * first


def test_the_bound_is_the_larger_of_both() -> None:
    needs = {"net": {"gigaoperations": 10.0, "megabytes_fp32": 400.0}}
    found = bounds_of(needs, {"teraoperations_fp32": 5.0, "gigabytes_per_s_within": 100.0})
    assert found["net fp32"] == {"ms_compute": 2.0, "ms_memory": 4.0, "ms_bound": 4.0}
    assert found["net fp16"] == {"ms_compute": None, "ms_memory": 2.0, "ms_bound": 2.0}


@pytest.mark.slow
def test_every_section_on_a_cpu(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra parfocal[train]")
    pytest.importorskip("tensorrt_rtx", reason="needs the extra parfocal[gpu]")
    out = tmp_path / "gpu.json"
    assert main(["--device", "cpu", "--sizes", "64,128", "--rounds", "1", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert "error" not in json.dumps(report).replace("relative_error", "").replace(
        "probability_error", ""
    )
    assert set(report["correctness"]) == {
        f"{engine} {model} fp32" for engine in ("onnxruntime", "torch") for model in
        ("nuclei", "denoise")
    }  # fmt: skip
    assert report["correctness"]["torch nuclei fp32"]["ap_0.9"] >= 0.98
    assert len(report["builds"]) == 6
    assert report["end_to_end"]["merged"]["engine_bytes"]["tensorrt-rtx"] > 1_000_000
    assert len(report["table"]) == 8
    assert all({"ms_batch_1", "ms_batch_4"} <= set(row) for row in report["table"])
    assert report["targets"] == {"all": "not measured: needs an NVIDIA GPU and size 2048"}


@pytest.mark.slow
def test_a_section_that_fails_does_not_take_the_others_along(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from models.engines.trt.cuda import driver_present

    if driver_present():
        pytest.skip("this machine has a GPU's driver")
    out = tmp_path / "gpu.json"
    assert main(["--sizes", "64", "--rounds", "1", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert "no NVIDIA GPU driver" in report["machine"]["error"]
    assert report["roofline"]["nuclei 64"]["gigaoperations"] > 0
    assert "not measured" in capsys.readouterr().out
