"""Pictures of nuclei with their true outlines, for training: far more varied than the sample.

``python -m drivers.simulated.fields --out DIR --count N --seed S`` writes ``NNNN_img.tif`` (uint16)
and ``NNNN_lab.tif`` (uint16, 0 is background, each nucleus its own number). With ``--states`` the
pictures are those of `drivers.simulated.states`, and ``NNNN_cells.csv`` tells how each nucleus is.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.bodies import Bodies, draw_labels, draw_light
from drivers.simulated.sensor import Sensor
from drivers.simulated.texture import CHROMATIN, CLUMPED, CYTOPLASM, SIDE, clouds, smooth, textures

F32 = NDArray[np.float32]
Reals = NDArray[np.floating[Any]]
_LEAST_AREA_PX = 8


def render_training_field(
    seed: int,
    shape: tuple[int, int] = (256, 256),
    *,
    diameter_px: float | None = None,
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """One picture of fluorescent nuclei and its truth; the same arguments give the same pixels.

    Number, size, crowding, brightness, blur, texture, haze, background and noise are drawn anew for
    each picture. Some nuclei are dividing or dying; debris is bright but bears no label.

    Parameters
    ----------
    seed
        Of everything that is random.
    shape
        (height, width), px.
    diameter_px
        Usual diameter; None draws one between 10 and 60.

    Returns
    -------
    (y, x) uint16 camera counts and (y, x) int32 labels, 0 is background. Labels run from 1 without
    a gap.
    """
    rng = np.random.default_rng([seed, 0xF1])
    usual = diameter_px or float(np.exp(rng.uniform(np.log(10), np.log(60))))
    nuclei = _nuclei(rng, shape, usual / 2)
    table = textures()
    light = np.zeros(shape, np.float32)
    if rng.random() < 0.35:
        draw_light(light, cell_bodies(rng, nuclei), table)
    draw_light(light, nuclei, table)
    draw_light(light, _debris(rng, shape, usual / 2), table)
    light += uneven_background(rng, shape, light)
    peak = float(np.exp(rng.uniform(np.log(15), np.log(3000))))
    gain = float(rng.choice([0.5, 2.0, 8.0])) if peak < 1000 else 1.0
    sensor = Sensor(shape, seed, offset=rng.uniform(0, 300), read_noise_e=1.4, gain=gain)
    counts = sensor.expose(light * np.float32(peak), rng)
    return counts, renumbered(draw_labels(shape, nuclei))


def write_fields(out: Path, count: int, seed: int, size_px: int = 256) -> None:
    """Write ``count`` pairs of pictures and labels into ``out``, which is made if need be."""
    import tifffile

    out.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        image, labels = render_training_field(seed + i, (size_px, size_px))
        tifffile.imwrite(out / f"{i:04d}_img.tif", image)
        tifffile.imwrite(out / f"{i:04d}_lab.tif", labels.astype(np.uint16), compression="zlib")


def _nuclei(rng: np.random.Generator, shape: tuple[int, int], radius: float) -> Bodies:
    room = (shape[0] + 2 * radius) * (shape[1] + 2 * radius) / (np.pi * radius**2)
    wanted = int(np.clip(room * rng.uniform(0.04, 0.5), 1, 900))
    nearest = rng.uniform(0.8, 1.15)
    clumps = random_places(rng, shape, radius, max(1, wanted // 12))
    scatter = rng.choice([0.0, 0.5, 0.9])
    spread_radius = rng.uniform(0.06, 0.22)
    at: list[tuple[float, float, float]] = []
    for _ in range(wanted * 4):
        if len(at) >= wanted:
            break
        r = radius * float(np.exp(rng.normal(0, spread_radius)))
        if rng.random() < scatter:
            y, x = clumps[rng.integers(len(clumps))] + rng.normal(0, 4 * radius, 2)
        else:
            y, x = random_places(rng, shape, radius, 1)[0]
        known = np.asarray(at, np.float64).reshape(-1, 3)
        apart = np.hypot(known[:, 0] - y, known[:, 1] - x)
        if (apart > nearest * (known[:, 2] + r)).all():
            at.append((float(y), float(x), r))
    return _shaped(rng, np.asarray(at, np.float32).reshape(-1, 3), radius)


def _shaped(rng: np.random.Generator, at: F32, radius: float) -> Bodies:
    n = len(at)
    aspect = 1 + np.abs(rng.normal(0, rng.uniform(0.15, 0.5), n))
    waves = rng.normal(0, 1, (n, 6)) * rng.uniform(0.01, 0.06) * [1, 1, 0.8, 0.8, 0.5, 0.5]
    light = np.exp(rng.normal(0, rng.uniform(0.1, 0.45), n))
    blur = rng.uniform(0.5, 1.2 + 0.05 * radius) * np.exp(rng.normal(0, 0.1, n))
    blur *= np.where(rng.random(n) < 0.06, rng.uniform(1.5, 3.0, n), 1.0)
    kind = CLUMPED if rng.random() < 0.35 else CHROMATIN
    grain = rng.uniform(0.2, 1.3) * np.exp(rng.normal(0, 0.2, n))
    sizes = at[:, 2].astype(np.float64)
    mitotic = rng.random(n) < rng.choice([0.0, 0.04, 0.15])
    plate = mitotic & (rng.random(n) < 0.6)
    sizes[mitotic] *= 0.7
    light[mitotic] *= rng.uniform(1.6, 3.5, int(mitotic.sum()))
    aspect[plate] = rng.uniform(1.6, 3.0, int(plate.sum()))
    aspect[mitotic & ~plate] = 1.05
    pyknotic = ~mitotic & (rng.random(n) < rng.choice([0.0, 0.05]))
    sizes[pyknotic] *= rng.uniform(0.4, 0.65, int(pyknotic.sum()))
    light[pyknotic] *= rng.uniform(1.5, 4.0, int(pyknotic.sum()))
    aspect = np.minimum(aspect, 3.2)
    angle = rng.uniform(0, np.pi, n)
    parted = plate & (rng.random(n) < 0.5)
    if parted.any():
        # Two plates side by side, along the short axis of the one that they were.
        across = 0.62 * sizes[parted] * rng.uniform(0.9, 1.6, int(parted.sum()))
        step = np.c_[np.cos(angle[parted]), -np.sin(angle[parted])] * across[:, None]
        sizes[parted] *= 0.68
        moved, at = at[parted].copy(), at.copy()
        at[parted, :2] += step
        moved[:, :2] -= step
        at = np.concatenate([at, moved])
        sizes, light, aspect, angle, waves, blur, grain = (
            np.concatenate([a, a[parted]])
            for a in (sizes, light, aspect, angle, waves, blur, grain)
        )
    # Grain is a property of the cell, not of the objective: texels follow the nucleus.
    texels = (30 / radius) * rng.uniform(0.8, 1.3)
    return make_bodies(
        rng,
        np.c_[at[:, :2], sizes],
        aspect,
        waves,
        light,
        blur,
        grain,
        texels=texels,
        kind=kind,
        angle=angle,
    )


def cell_bodies(rng: np.random.Generator, nuclei: Bodies) -> Bodies:
    """Dim cytoplasm round the nuclei, as a dye that is not quite specific shows it."""
    n = len(nuclei)
    at = np.c_[nuclei.y, nuclei.x, nuclei.radius * rng.uniform(1.8, 3.0)]
    at[:, :2] += rng.normal(0, 0.4, (n, 2)) * nuclei.radius[:, None]
    light = nuclei.light * rng.uniform(0.02, 0.18)
    waves = rng.normal(0, 0.1, (n, 6))
    blur = nuclei.blur + 0.15 * nuclei.radius
    aspect = rng.uniform(1, 2.2, n)
    texels = float(nuclei.texels.mean()) if n else 1.0
    grain = np.full(n, 0.8)
    return make_bodies(rng, at, aspect, waves, light, blur, grain, texels=texels, kind=CYTOPLASM)


def _debris(rng: np.random.Generator, shape: tuple[int, int], radius: float) -> Bodies:
    n = int(rng.integers(0, 12)) if rng.random() < 0.5 else 0
    sizes = radius * rng.uniform(0.05, 0.22, n)
    at = np.c_[random_places(rng, shape, radius, n), sizes]
    light = rng.uniform(0.15, 1.5, n)
    blur = rng.uniform(0.5, 2.0, n)
    waves = rng.normal(0, 0.1, (n, 6))
    aspect = rng.uniform(1, 2, n)
    return make_bodies(rng, at, aspect, waves, light, blur, np.zeros(n), texels=1.0, kind=CHROMATIN)


def uneven_background(rng: np.random.Generator, shape: tuple[int, int], light: F32) -> F32:
    """Medium, uneven lighting, and the haze of what lies out of focus."""
    level = float(np.exp(rng.uniform(np.log(0.01), np.log(0.4))))
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    slope = rng.normal(0, 0.25, 2)
    uneven = 1 + slope[0] * y + slope[1] * x - rng.uniform(0, 0.3) * (y**2 + x**2)
    cloudy = rng.uniform(0, 0.3) * clouds(rng, min(shape) * rng.uniform(0.05, 0.2), shape)
    haze = rng.uniform(0.02, 0.25) * smooth(light.astype(np.float64), min(shape) * 0.05)
    total: F32 = np.maximum(level * np.maximum(uneven + cloudy, 0.2) + haze, 0).astype(np.float32)
    return total


def random_places(rng: np.random.Generator, shape: tuple[int, int], margin: float, n: int) -> F32:
    """(n, 2) places (y, x), px, anywhere in the picture or up to ``margin`` outside it."""
    low = np.array([-margin, -margin])
    high = np.array([shape[0] + margin, shape[1] + margin])
    return rng.uniform(low, high, (n, 2)).astype(np.float32)


def make_bodies(
    rng: np.random.Generator,
    at: Reals,
    aspect: Reals,
    waves: Reals,
    light: Reals,
    blur: Reals,
    grain: Reals,
    *,
    texels: float,
    kind: int,
    angle: Reals | None = None,
) -> Bodies:
    """Bodies of one texture, from (n, 3) centre and radius in px and (n,) or (n, 6) of the rest."""
    n = len(at)
    angle = rng.uniform(0, np.pi, n) if angle is None else angle
    at, waves = at.astype(np.float32), waves.astype(np.float32)
    return Bodies(
        ids=np.arange(1, n + 1, dtype=np.int32),
        y=at[:, 0],
        x=at[:, 1],
        radius=at[:, 2],
        aspect=aspect.astype(np.float32),
        angle=angle.astype(np.float32),
        waves=waves,
        light=light.astype(np.float32),
        blur=blur.astype(np.float32),
        grain=grain.astype(np.float32),
        texels=np.full(n, texels, np.float32),
        origin=rng.uniform(0, SIDE, (n, 2)).astype(np.float32),
        kind=np.full(n, kind, np.int32),
    )


def renumbered(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Labels in the same order without gaps; what has too few pixels becomes background."""
    area = np.bincount(labels.ravel())
    # What the border of the picture leaves of a nucleus may be too little to tell what it is.
    kept = area >= _LEAST_AREA_PX
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    renumbered: NDArray[np.int32] = number[labels]
    return renumbered


def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the pairs")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first picture")
    parser.add_argument("--size", type=int, default=256, help="height and width, px")
    parser.add_argument(
        "--states", action="store_true", help="with dividing and dying nuclei, and a table of them"
    )
    parser.add_argument(
        "--photons", type=float, help="per pixel of a usual nucleus; with --states only"
    )
    given = parser.parse_args()
    if given.states:
        from drivers.simulated.states import write_state_fields

        write_state_fields(given.out, given.count, given.seed, given.size, given.photons)
    elif given.photons is not None:
        parser.error("--photons needs --states")
    else:
        write_fields(given.out, given.count, given.seed, given.size)


if __name__ == "__main__":
    _main()
