"""Clean movies to learn denoising from: textures that stay, creep, rush, warp, blink and fade.

``python -m models.training.denoise.movies --out FILE.npy --count N`` writes a pool of them, so that
training does not wait for drawing. A movie is (t, y, x) float16 in photons, mean about 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.training.denoise.textures import Picture, Rng, blurred, random_texture, scaled

FRAMES = 16
SIDE_PX = 144
_MARGIN_PX = 24
FINE_SHARE = 0.4
"""Of the layers, those whose detail is finer than pixels resolve."""

Movie = NDArray[np.float32]


def draw_movie(
    rng: Rng, frames: int = FRAMES, side: int = SIDE_PX, stills: list[Picture] | None = None
) -> Movie:
    """One clean movie (frames, side, side), mean 1.

    Parameters
    ----------
    stills
        Real pictures to cut textures from now and then; none for drawn ones alone.
    """
    canvas = side + 2 * _MARGIN_PX
    ground = _still(rng, canvas, stills)
    movie = _moved(rng, ground, frames, side)
    if rng.random() < 0.5:
        layer = _moved(rng, _still(rng, canvas, stills), frames, side)
        movie = movie * rng.uniform(0.2, 1) + layer
    if rng.random() < 0.4:
        movie = movie * rng.uniform(0.1, 1.0) + _swarm(rng, frames, side)
    if rng.random() < 0.15:
        movie *= np.exp(-np.arange(frames) * rng.uniform(0.002, 0.08))[:, None, None]
    if rng.random() < 0.3:
        movie = np.asarray(np.maximum(movie, 0) ** rng.uniform(0.6, 1.8), np.float32)
    movie = movie / max(float(movie.mean()), 1e-6)
    level = float(np.exp(rng.uniform(np.log(0.02), np.log(1.5))))
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    slope = rng.normal(0, 0.25, 2)
    shading = np.maximum(
        1 + slope[0] * y + slope[1] * x - rng.uniform(0, 0.3) * (y * y + x * x), 0.2
    )
    haze = rng.choice([0.0, 0.5]) * blurred(movie[0], 0.08 * side)
    out = np.maximum(movie + level * shading + haze, 0)
    if rng.random() < 0.06:  # the stage jumps and nobody tells
        where = int(rng.integers(2, frames))
        out[where:] = np.roll(out[where:], tuple(rng.integers(10, side - 10, 2)), axis=(1, 2))
    return np.asarray(out / max(float(out.mean()), 1e-6), np.float32)


def _still(rng: Rng, side: int, stills: list[Picture] | None) -> Picture:
    """A layer; one in ``1 / FINE_SHARE`` is drawn at twice the size and halved, so that its detail
    is as fine as an undersampling microscope shows it.
    """
    if rng.random() < FINE_SHARE:
        twice = _drawn(rng, 2 * side, stills)
        halved = twice.reshape(side, 2, side, 2).mean(axis=(1, 3))
        return scaled(blurred(halved, rng.uniform(0.2, 0.7)))
    return _drawn(rng, side, stills)


def _drawn(rng: Rng, side: int, stills: list[Picture] | None) -> Picture:
    if stills and rng.random() < 0.2:
        picture = stills[int(rng.integers(len(stills)))]
        zoom = rng.uniform(0.35, 0.7)  # smaller, so that its own noise is gone
        small = ndimage.zoom(blurred(picture, 0.5 / zoom), zoom, order=1)
        grow = [(0, max(side - length, 0)) for length in small.shape]
        small = np.pad(small, grow, mode="symmetric")
        top, left = (int(rng.integers(0, length - side + 1)) for length in small.shape)
        return scaled(small[top : top + side, left : left + side])
    return random_texture(rng, side)


def _moved(rng: Rng, still: Picture, frames: int, side: int) -> Movie:
    """One layer through time."""
    m = _MARGIN_PX
    kind = rng.choice(["none", "drift", "shift", "warp", "wobble"], p=[0.35, 0.3, 0.1, 0.15, 0.1])
    light = np.ones(frames)
    if rng.random() < 0.15:
        light = 1 + rng.uniform(0.1, 0.9) * np.sin(np.arange(frames) * rng.uniform(0.1, 2) + 1)
    if kind == "none":
        return np.asarray(
            still[m : m + side, m : m + side][None] * light[:, None, None], np.float32
        )
    heading = rng.uniform(0, 2 * np.pi)
    fast = {"drift": rng.uniform(0.01, 0.5), "shift": rng.uniform(0.5, 4)}.get(str(kind), 0.1)
    path = fast * np.arange(frames)[:, None] * np.array([np.sin(heading), np.cos(heading)])
    if kind == "wobble":
        path = rng.normal(0, rng.uniform(0.1, 2.0), (frames, 2))
    path -= path.mean(axis=0)
    path = np.clip(path, -m + 2, m - 2)
    grid = np.mgrid[m : m + side, m : m + side].astype(np.float64)
    bend = np.zeros((2, side, side))
    if kind == "warp":
        width = rng.uniform(0.06, 0.25) * side
        field = ndimage.gaussian_filter(rng.standard_normal((2, side, side)), (0, width, width))
        bend = field / (np.abs(field).max() + 1e-9) * rng.uniform(0.05, 0.8)
    spline = ndimage.spline_filter(still, order=3)
    out = np.empty((frames, side, side), np.float32)
    for t in range(frames):
        at = grid + path[t][:, None, None] + bend * (t - frames / 2)
        out[t] = ndimage.map_coordinates(spline, at, order=3, prefilter=False, mode="mirror")
    return np.maximum(out, 0) * light[:, None, None].astype(np.float32)


def _swarm(rng: Rng, frames: int, side: int) -> Movie:
    """Bodies that go each their own way over what lies still."""
    out = np.zeros((frames, side, side), np.float32)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    small = rng.random() < 0.4
    count = int(rng.integers(5, 60)) if small else int(rng.integers(2, 14))
    usual = rng.uniform(0.8, 2.5) if small else rng.uniform(4, 16)
    speed = np.exp(rng.uniform(np.log(0.1), np.log(6)))
    grain = random_texture(rng, 64)
    depth = 0.0 if small else rng.uniform(0, 0.8)
    for _ in range(count):
        radius = usual * np.exp(rng.normal(0, 0.2))
        angle, aspect = rng.uniform(0, np.pi), rng.uniform(1, 2)
        step = speed * rng.uniform(0.3, 1.5)
        way = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.3, frames))
        cy = rng.uniform(0, side) + np.cumsum(step * np.sin(way))
        cx = rng.uniform(0, side) + np.cumsum(step * np.cos(way))
        light = np.full(frames, np.exp(rng.normal(0, 0.5)))
        if rng.random() < 0.2:
            light *= rng.random(frames) < 0.6
        soft = rng.uniform(0.5, 1.5)
        reach = aspect * radius + 4 * soft
        for t in range(frames):
            box = np.s_[
                max(int(cy[t] - reach), 0) : max(int(cy[t] + reach) + 1, 0),
                max(int(cx[t] - reach), 0) : max(int(cx[t] + reach) + 1, 0),
            ]
            dy, dx = y[box] - cy[t], x[box] - cx[t]
            if not dy.size:
                continue
            u = (dy * np.cos(angle) + dx * np.sin(angle)) / aspect
            v = dx * np.cos(angle) - dy * np.sin(angle)
            rho = np.hypot(u, v)
            if small:
                body = np.exp(-0.5 * (rho / radius) ** 2)
            else:
                body = 1 / (1 + np.exp(-np.clip(1.7 * (radius - rho) / soft, -30, 30)))
                at = np.stack([u, v]) * (28 / (2 * radius)) + 32
                inside = ndimage.map_coordinates(grain, at, order=1, mode="mirror")
                body = body * (1 - depth + depth * 2 * inside)
            out[t][box] += light[t] * body
    return out


def write_pool(out: Path, count: int, seed: int, stills: list[Picture]) -> None:
    """Write ``count`` movies (count, t, y, x) float16 as one array that can be memory-mapped."""
    pool = np.lib.format.open_memmap(
        out, mode="w+", dtype=np.float16, shape=(count, FRAMES, SIDE_PX, SIDE_PX)
    )
    for n in range(count):
        movie = draw_movie(np.random.default_rng([seed, n]), stills=stills)
        pool[n] = np.minimum(movie, 6e4)
    pool.flush()


def pictures_in(folder: Path) -> list[Picture]:
    """Images ``*_img.*`` of a folder and those below it, one channel each."""
    import tifffile
    from PIL import Image

    found: list[Picture] = []
    for path in sorted(folder.rglob("*_img.*")):
        raw: NDArray[Any] = (
            tifffile.imread(path) if path.suffix == ".tif" else np.asarray(Image.open(path))
        )
        found.append(np.asarray(raw if raw.ndim == 2 else raw.mean(axis=-1), np.float32))
    return found


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="file of the pool (.npy)")
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stills", type=Path, help="folder of real pictures to cut from")
    given = parser.parse_args()
    stills = pictures_in(given.stills) if given.stills else []
    write_pool(given.out, given.count, given.seed, stills)


if __name__ == "__main__":
    main()
