"""``parfocal score --denoise``: files, stacks, folders, table, JSON and picture."""

from __future__ import annotations

import json
from pathlib import Path

import mahotas
import numpy as np
import pytest
import tifffile
from PIL import Image

from live.cli import main as command


def main(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        command(arguments)
    return int(ended.value.code or 0)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray, np.ndarray]:
    """(folder, clean, noisy, denoised) stacks of three images, 8 bit."""
    rng = np.random.default_rng(0)
    clean = np.stack([mahotas.gaussian_filter(rng.random((96, 128)), 2.0) for _ in range(3)])
    clean = (clean - clean.min()) / np.ptp(clean) * 180 + 30
    noisy = rng.poisson(clean / 4) * 4
    soft = np.stack([mahotas.gaussian_filter(image.astype(float), 1.2) for image in noisy])
    stacks = [np.clip(stack, 0, 255).astype(np.uint8) for stack in (clean, noisy, soft)]
    for name, stack in zip(("clean", "noisy", "denoised"), stacks, strict=True):
        tifffile.imwrite(tmp_path / f"cells_{name}.tif", stack, photometric="minisblack")
        (tmp_path / name).mkdir()
        for number, image in enumerate(stack):
            tifffile.imwrite(tmp_path / name / f"im{number}_{name}.tif", image)
    return tmp_path, stacks[0], stacks[1], stacks[2]


def test_stacks_with_raw_picture_and_json(
    made: tuple[Path, np.ndarray, np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, clean, _, soft = made
    code = main(
        ["score", "--denoise", str(folder / "cells_denoised.tif"), str(folder / "cells_clean.tif"),
         "--raw", str(folder / "cells_noisy.tif"), "--json", str(folder / "s.json"),
         "--picture", str(folder / "s.png")]
    )  # fmt: skip
    assert code == 0
    screen = capsys.readouterr().out
    assert "mean of 3" in screen
    assert "data range 255 counts" in screen
    found = json.loads((folder / "s.json").read_text())
    assert found["images"] == 3
    error = ((clean[1].astype(float) - soft[1]) ** 2).mean()
    assert found["per_image"][1]["pred"]["psnr_db"] == pytest.approx(
        10 * np.log10(255**2 / error), abs=1e-6
    )
    assert found["mean"]["psnr_db"] > found["mean_raw"]["psnr_db"] + 3
    assert len(found["per_image"][0]["frc"]["correlation"]) == 49
    with Image.open(folder / "s.png") as picture:
        assert picture.width > 4 * 400


def test_folders_are_matched_by_name(
    made: tuple[Path, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    folder = made[0]
    arguments = ["score", "--denoise", str(folder / "denoised"), str(folder / "clean"), "--json",
                 str(folder / "s.json")]  # fmt: skip
    assert main(arguments) == 0
    names = [row["image"] for row in json.loads((folder / "s.json").read_text())["per_image"]]
    assert names == ["im0", "im1", "im2"]


def test_dyes_of_a_file_are_all_compared(
    made: tuple[Path, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    folder, clean, _, soft = made
    for name, stack in (("a", soft), ("b", clean)):
        tifffile.imwrite(folder / f"{name}.tif", stack, imagej=True, metadata={"axes": "CYX"})
    arguments = ["score", "--denoise", str(folder / "a.tif"), str(folder / "b.tif"), "--json",
                 str(folder / "s.json")]  # fmt: skip
    assert main(arguments) == 0
    assert json.loads((folder / "s.json").read_text())["images"] == 3


def test_gain_and_offset_are_fitted_when_asked(
    made: tuple[Path, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    folder, _, _, soft = made
    tifffile.imwrite(folder / "far.tif", soft[0].astype(np.uint16) * 9 + 400)
    tifffile.imwrite(folder / "near.tif", soft[0])
    values = []
    for name in ("far", "near"):
        arguments = ["score", "--denoise", str(folder / f"{name}.tif"),
                     str(folder / "clean" / "im0_clean.tif"), "--fit", "--json",
                     str(folder / "s.json")]  # fmt: skip
        assert main(arguments) == 0
        values.append(json.loads((folder / "s.json").read_text())["mean"]["psnr_db"])
    assert values[0] == pytest.approx(values[1], abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--denoise", "cells_denoised.tif", "clean"], "is a folder of files and"),
        (["--denoise", "cells_denoised.tif", "two.tif"], "need one true image for each"),
        (["--denoise", "small.tif", "clean/im0_clean.tif"], "need one size"),
        (["--denoise", "none.tif", "cells_clean.tif"], "does not exist"),
        (["--denoise", "two", "clean"], "nothing for im2_clean.tif"),
        (["--denoise", "cells_denoised.tif", "cells_clean.tif", "--picture", "x"], ".png"),
        (["cells_denoised.tif", "cells_clean.tif", "--fit"], "add --denoise"),
    ],
)
def test_mistakes_are_named(
    made: tuple[Path, np.ndarray, np.ndarray, np.ndarray],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    folder, clean = made[0], made[1]
    tifffile.imwrite(folder / "two.tif", clean[:2], photometric="minisblack")
    tifffile.imwrite(folder / "small.tif", clean[0, :64, :64])
    (folder / "two").mkdir()
    for number in range(2):
        tifffile.imwrite(folder / "two" / f"im{number}.tif", clean[number])
    monkeypatch.chdir(folder)
    assert main(["score", *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
