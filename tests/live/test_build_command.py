"""``parfocal models build | import | export`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from live.cli import main

pytest.importorskip("onnx", reason="making files of another precision needs the package onnx")


def parfocal(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one call in this process."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Folder of three pictures of a few nuclei."""
    from drivers.simulated.fields import render_training_field

    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        counts, _ = render_training_field(seed, (160, 160), diameter_px=28)
        Image.fromarray(counts.astype(np.uint16)).save(folder / f"{seed}.png")
    return folder


@pytest.mark.parametrize("command", ["build", "import", "export"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = parfocal(capsys, "models", command, "--help")
    assert code == 0
    assert f"Example: parfocal models {command}" in out


def test_build_from_a_folder_of_pictures(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    code, out, err = parfocal(
        capsys, "models", "build", "nuclei", "--engine", "onnxruntime", "--precision", "fp16",
        "--calibrate", str(pictures), "--out", str(tmp_path / "out"), "--json", str(report),
    )  # fmt: skip
    assert code == 0, err
    assert "Warning: ONNX Runtime has no fp16" in out
    assert "Passed: AP@0.5 with the float32 labels" in out
    found = json.loads(report.read_text())
    assert found["accuracy"]["passed"]
    assert {Path(file).name for file in found["files"]} == {"nuclei-fp16.onnx", "nuclei-fp16.md"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nuclei", "phases", "denoise"])
def test_build_without_frames_draws_some(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = parfocal(
        capsys, "models", "build", name, "--engine", "onnxruntime", "--precision", "int8",
        "--out", str(tmp_path),
    )  # fmt: skip
    assert code == 0, err
    assert "12 drawn frames of nuclei" in out
    assert (tmp_path / f"{name}-int8.onnx").is_file()


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("models", "build", "--engine", "onnxruntime", "--out", str(tmp_path / "out"))
    for arguments, words in (
        ((*common, "nucleii", "--precision", "int8"), "did you mean 'nuclei'"),
        ((*common, "cells", "--precision", "int8"), "give --calibrate"),
        ((*common, "nuclei", "--precision", "fp32"), "as it is"),
        ((*common, "nuclei", "--calibrate", str(tmp_path / "none")), "does not exist"),
        (("models", "import", "none.onnx", "--name", "x", "--task", "segment"), "no model file"),
        (("models", "import", "x.onnx", "--name", "nuclei", "--task", "segment"), "ships"),
        (("models", "import", "x.onnx", "--name", "x", "--task", "classify"), "--classes"),
    ):
        code, _, err = parfocal(capsys, *arguments)
        assert code != 0
        assert words in " ".join(err.split()), err
        assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
