"""Pictures of two kinds of nuclei, and what clicks on them leave behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from drivers.simulated.bodies import Bodies, draw_labels, draw_light
from drivers.simulated.fields import make_bodies
from drivers.simulated.sensor import Sensor
from drivers.simulated.texture import CHROMATIN, CLUMPED, textures
from models.result import ImageContext
from models.tasks.crops import typical_of
from models.tasks.measure import measure

SPACING_PX, RADIUS_PX = 60, 11.0
TEXTURES = {"even": CHROMATIN, "speckled": CLUMPED}


def two_kinds(seed: int) -> tuple[NDArray[np.uint16], NDArray[np.int32], list[str]]:
    """Picture and labels of 36 nuclei, alike in size, form and light, and their kinds."""
    rng = np.random.default_rng(seed)
    side = 6
    n = side * side
    at = (np.indices((side, side)).reshape(2, -1).T + 0.5) * SPACING_PX + rng.normal(0, 2, (n, 2))
    kinds = rng.permutation(np.repeat(list(TEXTURES), n // 2))
    bodies: Bodies = make_bodies(
        rng, np.c_[at, RADIUS_PX * rng.uniform(0.85, 1.15, n)], rng.uniform(1, 1.4, n),
        rng.normal(0, 0.02, (n, 6)), rng.uniform(0.8, 1.2, n), np.full(n, 0.8), np.full(n, 0.4),
        texels=3.5, kind=0,
    )  # fmt: skip
    bodies.kind[:] = [TEXTURES[kind] for kind in kinds]
    bodies.grain[kinds == "speckled"] = 2.0
    shape = (side * SPACING_PX, side * SPACING_PX)
    light = np.full(shape, 0.05, np.float32)
    draw_light(light, bodies, textures())
    image = Sensor(shape, seed).expose(light * np.float32(200), rng)
    return image, draw_labels(shape, bodies), kinds.tolist()


def save_clicks(folder: Path, seed: int, most: int) -> None:
    """What clicks on the nuclei of one picture leave behind."""
    image, labels, kinds = two_kinds(seed)
    objects = measure(labels, image, np.ones(len(kinds), np.float32), ImageContext(0, 0.0))
    typical = typical_of(objects)
    assert typical is not None
    for row, kind in zip(objects, kinds, strict=True):
        place = folder / kind
        place.mkdir(parents=True, exist_ok=True)
        if len(list(place.glob("*.tif"))) >= most:
            continue
        half = round(1.5 * float(np.sqrt(4 / np.pi * row["area_px"])))
        y, x = round(float(row["y_px"])) + half, round(float(row["x_px"])) + half
        window = np.s_[y - half : y + half + 1, x - half : x + half + 1]
        stem = f"{seed}_{row['label']}"
        tifffile.imwrite(place / f"{stem}.tif", np.pad(image, half, mode="edge")[window])
        mask = (np.pad(labels, half) == row["label"])[window]
        Image.fromarray(mask.astype(np.uint8) * 255).save(place / f"{stem}_mask.png")
        facts = {
            "median_diameter_px": typical.diameter_px,
            "median_mean_intensity": typical.mean_intensity,
        }
        (place / f"{stem}.json").write_text(json.dumps(facts))
