"""Training on one noisy image alone, as on the rig: PSNR before and after, beside the best peers.

What learns is the code behind ``parfocal models train denoise`` and the window's button: it reads
a file with the noisy frames and nothing else, and whether its weights are kept it decides itself,
with no clean image. Where they are not, the weights that ship go on, and the row says so. ``ratio``
is how many times smaller the squared error is; 1 dB is 1.26.
"""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.denoise_data import PAIRS, Scene, real_scenes, simulated_scene
from live.denoising.frames import training_frames
from live.denoising.train import Step, Trial, train_and_write, training_missing
from models.catalog import weights_path

TRAIN_S: Final = 180.0
"""What the window's button asks for."""
QUICK_S: Final = 20.0
QUICK_PX: Final = 128
PHOTONS: Final = 5.0
SIDE_PX: Final = 256
FRAMES: Final = 12
MOST_LOST_DB: Final = 0.1
"""By how much weights that were kept may be worse than those that ship, judged afterwards."""
BESIDE: Final = ("Gaussian", "ND-SAFIR")

Row = dict[str, Any]


def run(*, quick: bool = False, seconds: float | None = None) -> list[Row]:
    """Train on each real pair's noisy image, and on one simulated movie; rows for the table."""
    from benchmarks.denoise import MODEL  # it calls this file

    if missing := training_missing():
        return [{"case": "trained on the noisy image alone", "left_out": missing}]
    spent_s = seconds or (QUICK_S if quick else TRAIN_S)
    side, frames = (QUICK_PX, 4) if quick else (SIDE_PX, FRAMES)
    scenes = [simulated_scene(PHOTONS, "slow", side=side, frames=frames)]
    if (PAIRS / "fmd_r1_noisy.tif").is_file():
        real = list(real_scenes())
        scenes = [real[0].cut(QUICK_PX)] if quick else real + scenes
    rows: list[Row] = []
    for scene in scenes:
        rows += rows_of(scene, weights_path(MODEL), spent_s, quick=quick)
    return rows


def rows_of(scene: Scene, start: Path, seconds: float, *, quick: bool = False) -> list[Row]:
    """Before and after, and after beside each peer at its best."""
    from benchmarks.denoise import Peers, alike, compared, denoised

    with tempfile.TemporaryDirectory() as folder:
        trial = trained(scene, start, Path(folder), seconds)
        before = denoised(scene)
        after = before if trial.model is None else denoised(scene, model=str(trial.model))
    what = "kept" if trial.model is not None else "not kept"
    name = f"trained {seconds:g} s on the noisy frames, {what}"
    bar = None if quick else -MOST_LOST_DB
    peers = Peers(scene, quick, BESIDE).beside(name, after, {})
    return [
        compared(scene, name, after, "shipped weights", before, bar),
        alike(scene, name, after, "shipped weights", before),
        *peers,
    ]


def trained(scene: Scene, start: Path, folder: Path, seconds: float) -> Trial:
    """Train on a file that holds the noisy frames of the scene and nothing else."""
    source = folder / "noisy.tif"
    import_module("tifffile").imwrite(source, np.ascontiguousarray(scene.noisy))

    def progress(_: Step) -> None:
        """Nobody watches."""

    return train_and_write(
        training_frames(source), start, folder / "trained.onnx", seconds=seconds, seed=1,
        progress=progress,
    )  # fmt: skip
