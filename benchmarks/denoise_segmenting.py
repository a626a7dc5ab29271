"""Does denoising help to find cells? ``nuclei-denoised`` on noisy frames, ``nuclei`` on clean ones.

Movies of the simulated sample with its true outlines; the last frame is judged, AP@0.5 = TP / (TP +
FP + FN) pooled over samples.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.optics import View, label_image, nuclei_in_view, photons_in_view
from drivers.simulated.sample import Sample
from live.experiment.loading import load_pipeline_settings
from models import ImageContext, load_pipeline
from models.scoring.instances import agreement

PHOTONS: Final = 5.0
SIDE_PX: Final = 384
FRAMES: Final = 6
SEEDS: Final = (31, 32, 33)
STEP_S: Final = 0.25
MOST_LOST: Final = 0.03
GAIN, OFFSET, READ_E = 2.2, 100.0, 1.4

Row = dict[str, Any]
Labels = NDArray[np.int32]


def run(*, quick: bool = False) -> list[Row]:
    """One row for the noisy frames as they are, one for the denoised ones."""
    scenes = [_scene(seed) for seed in SEEDS[: 1 if quick else None]]
    clean = _ap("nuclei", [(light[-1:], truth) for light, _, truth in scenes])
    rows: list[Row] = []
    for pipeline in ("nuclei", "nuclei-denoised"):
        found = _ap(pipeline, [(noisy, truth) for _, noisy, truth in scenes])
        row: Row = {
            "case": f"segmenting at {PHOTONS:g} photons a pixel", "ours": f"{pipeline}, noisy",
            "value_ours": found, "peer": "nuclei, without noise", "value_peer": clean,
            "unit": "AP@0.5", "ratio": found / clean,
        }  # fmt: skip
        if pipeline == "nuclei-denoised":
            row["bar"] = round((clean - MOST_LOST) / clean, 3)
        rows.append(row)
    return rows


def _ap(pipeline: str, movies: list[tuple[NDArray[Any], Labels]]) -> float:
    settings = load_pipeline_settings(pipeline).model_copy(update={"track": None, "trust": None})
    pairs = []
    with load_pipeline(settings) as opened:
        for movie, truth in movies:
            opened.reset()
            for k, frame in enumerate(movie):
                found = opened.run(frame, ImageContext(seq=k, time_s=k * STEP_S)).labels
            pairs.append((found, truth))
    return float(agreement(pairs, (0.5,))[0].ap)


def _scene(seed: int) -> tuple[NDArray[Any], NDArray[Any], Labels]:
    """Frames without noise and with it (t, y, x), and the outlines in the last."""
    sample = Sample(seed, side_um=500.0, spacing_um=36.0, cycle_s=90.0)
    view = View(0.0, 0.0, 0.0, 0.5, (SIDE_PX, SIDE_PX), "DAPI", 20.0)
    light = []
    for k in range(FRAMES):
        sample.advance(k * STEP_S)
        nuclei = nuclei_in_view(sample.cells(), view)
        light.append(photons_in_view(nuclei, view, peak_photons=100, background_photons=5))
    truth = label_image(sample.cells(), view)
    photons = np.asarray(light, np.float64)
    photons *= PHOTONS / photons.mean()
    rng = np.random.default_rng(seed)
    seen = rng.poisson(photons) * GAIN + OFFSET + rng.normal(0, READ_E * GAIN, photons.shape)
    # the same light a hundred times brighter, in counts that hold it
    return _counts(photons * 100 + OFFSET), _counts(seen), truth


def _counts(values: NDArray[Any]) -> NDArray[np.uint16]:
    counts: NDArray[np.uint16] = np.clip(np.rint(values), 0, 65535).astype(np.uint16)
    return counts
