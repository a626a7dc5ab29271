"""Denoising by a network over files, and what the inference process says of it."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from drivers import FrameMeta, FrameRing
from live.infer import infer
from live.processes.enginewatch import EngineWatch
from live.processes.inference import Analyst, context_of
from live.processes.messages import DenoiserSwapped, Result, SwapDenoiser, decode, encode
from models import DenoiseReport, PipelineSettings, load_pipeline

NETS = Path(__file__).parents[1] / "data" / "denoise"


def settings_of(model: str, **more: Any) -> PipelineSettings:
    denoise = {"kind": "network", "model": str(NETS / f"{model}.onnx"), "check_every_frames": 1}
    return PipelineSettings.model_validate({"name": "denoise", "denoise": {**denoise, **more}})


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Five frames (t, y, x) uint16 of still, grainy discs: 2.2 counts per photon over 100."""
    rng = np.random.default_rng(1)
    y, x = np.indices((192, 192))
    photons = np.full(y.shape, 3.0)
    for row, column, light in rng.uniform((0, 0, 10), (192, 192, 60), (40, 3)):
        disc = (y - row) ** 2 + (x - column) ** 2 < 80
        photons += disc * light * (1 + 0.5 * np.sin(x) * np.sin(y))
    shape = (5, *y.shape)
    noisy = 2.2 * (rng.poisson(photons, shape) + rng.normal(0, 1.4, shape)) + 100
    return np.asarray(np.rint(noisy), np.uint16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_single_images_are_denoised_one_by_one(
    frames: np.ndarray, tmp_path: Path, dtype: type
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for k, pixels in enumerate(frames):
        tifffile.imwrite(folder / f"f{k}.tif", np.minimum(pixels, 255).astype(dtype))
    report = infer([folder], settings_of("average"), tmp_path / "out")
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == [*(f"f{k}_denoised.tif" for k in range(5)), "objects.csv"]
    for k, pixels in enumerate(frames):
        denoised = tifffile.imread(tmp_path / "out" / f"f{k}_denoised.tif")
        assert denoised.dtype == dtype
        # alone, this network leaves a frame as it is
        np.testing.assert_array_equal(denoised, np.minimum(pixels, 255))
    assert report.denoise.fresh == report.frames == 5


def test_a_movie_is_denoised_in_order(frames: np.ndarray, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack")
    out = tmp_path / "out"
    report = infer([tmp_path / "movie.tif"], settings_of("average"), out, movie=True)
    denoised = tifffile.imread(out / "denoised.tif")
    assert (denoised.shape, denoised.dtype) == (frames.shape, frames.dtype)
    with load_pipeline(settings_of("average")) as pipeline:
        from models import ImageContext

        for k, pixels in enumerate(frames):
            alone = pipeline.run(pixels, ImageContext(seq=k, time_s=float(k))).denoised
            assert alone is not None
            np.testing.assert_array_equal(denoised[k], alone)
    told = json.loads(json.dumps(report.to_json()))["denoise"]
    assert (told["frames"], told["fresh"], told["checked"], told["alarms"]) == (5, 1, 5, 1)
    assert told["reason"].startswith("most noise is left"), "of the first frame, left as it is"
    assert told["gain"] == pytest.approx(2.2, rel=0.15)
    assert told["model"].startswith("average@")
    assert any("counts per photon" in line for line in report.lines())


def test_removed_detail_is_told(frames: np.ndarray, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack")
    report = infer([tmp_path / "movie.tif"], settings_of("blur"), tmp_path / "out", movie=True)
    assert report.denoise.alarms == 5
    assert any(line.startswith("look twice: ") for line in report.lines())


def test_a_gaussian_says_nothing_of_trust(frames: np.ndarray, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "one.tif", frames[0])
    settings = PipelineSettings.model_validate({"name": "denoise", "denoise": {}})
    report = infer([tmp_path / "one.tif"], settings, tmp_path / "out")
    assert report.to_json()["denoise"] == {}
    assert not any("noise:" in line for line in report.lines())


def meta(seq: int = 3, **more: Any) -> FrameMeta:
    given: dict[str, Any] = {
        "seq": seq, "captured_ns": 5_000_000_000, "popped_ns": 0, "exposure_ms": 20.0,
        "x_um": 1.0, "y_um": 2.0, "z_um": 3.0, "channel": "DAPI", "pixel_size_um": 0.5,
        "epoch": 2,
    }  # fmt: skip
    return FrameMeta(**{**given, **more})


def test_all_that_tells_a_place_reaches_the_pipeline() -> None:
    found = context_of(meta(index={"t": 4, "p": 1, "c": 0, "z": 2}, pos_name="well A"), (8, 8))
    assert (found.x_um, found.y_um, found.z_um) == (1.0, 2.0, 3.0)
    assert (found.seq, found.time_s, found.epoch) == (3, 5.0, 2)
    assert (found.channel, found.exposure_ms) == ("DAPI", 20.0)
    assert found.position == "well A p1 z2"
    later = context_of(meta(4, index={"t": 5, "p": 1, "c": 1, "z": 2}, pos_name="well A"), (8, 8))
    assert later.position == found.position


def test_the_report_travels() -> None:
    report = DenoiseReport(
        seq=3, checked_seq=0, alarm=2.0, reason="blurred", strangeness=0.1, unlike_because="",
        gain=math.nan, offset=1.0, read_variance=2.0, read_noise_e=math.nan, fresh=True,
        fresh_because="stage moved", model="m",
    )  # fmt: skip
    result = Result(
        meta=meta(), ref=None, objects=b"", stage_ms={}, ring_ns=0, received_ns=0, start_ns=0,
        end_ns=0, denoise=report,
    )  # fmt: skip
    back = decode(encode(result))
    assert isinstance(back, Result)
    assert back.denoise is not None
    assert math.isnan(back.denoise.gain)
    assert (back.denoise.alarmed, back.denoise.unlike) == (True, False)
    assert back.denoise.fresh_because == "stage moved"


def test_weights_are_swapped_only_when_they_are_those_that_were_meant(tmp_path: Path) -> None:
    new = NETS / "steady.onnx"
    right = hashlib.sha256(new.read_bytes()).hexdigest()
    ring = FrameRing(1.0)
    try:
        with load_pipeline(settings_of("average")) as pipeline:
            watch = EngineWatch(pipeline, ((64, 64), "uint16"), lambda _: None)
            analyst = Analyst(pipeline, ring, watch, send_denoised=True)

            def swap(path: Path, sha256: str) -> DenoiserSwapped:
                return analyst.swap(SwapDenoiser(path=str(path), sha256=sha256))

            assert "has changed since it was written" in swap(new, "0" * 64).failed
            assert "none.onnx" in swap(tmp_path / "none.onnx", right).failed
            assert pipeline.info.model.startswith("average@")
            done = swap(new, right)
            assert done.failed == ""
            assert done.model == pipeline.info.model == f"steady@{right[:12]}"
    finally:
        ring.close()
