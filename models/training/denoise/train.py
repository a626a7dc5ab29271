"""Train the denoiser that ships: drawn movies, a drawn camera, the error in units of the noise.

``python -m models.training.denoise.train --out FOLDER --minutes M`` draws a pool of movies the
first time, trains, goes on from ``checkpoint.pt`` when started again, writes ``denoise.onnx``.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from models.training.denoise.export import export_denoiser
from models.training.denoise.movies import Movie, pictures_in, write_pool
from models.training.denoise.net import STATE_CHANNELS, DenoiseNet
from models.training.denoise.noise import expose

FRAMES = 4
CROP_PX = 96
BATCH = 8
STILL, UNLIKE = 0.22, 0.12
"""Parts of the crops that stand still, and whose frames have nothing in common."""
POOL_SHARE = 0.4
"""Part of the crops from pools that were given, where there are any."""
FLOOR = 1e-3
"""Of the error in units of the noise: what is better by more counts for nothing."""
CHECK_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class DenoiseTraining:
    """How to train.

    Parameters
    ----------
    out
        Folder of the pool, the checkpoint and the network.
    minutes
        Of this training; the step size falls to nothing at its end.
    movies
        How many are drawn for the pool.
    stills
        Folder with images ``*_img.*`` to cut textures from; None for drawn ones alone.
    pools
        Further pools of clean movies, (n, t, y, x) float16 of mean 1, as
        ``benchmarks.denoise_pool`` writes.
    rate
        Largest step size.
    """

    out: Path
    minutes: float
    movies: int = 900
    stills: Path | None = None
    pools: tuple[Path, ...] = ()
    rate: float = 1.5e-3
    seed: int = 0
    low_precision: bool = True


Pool = NDArray[np.float16]
Batch = tuple[Tensor, Tensor, Tensor]
"""Counts (b, t, y, x), the truth, the noise (b, 3)."""


def draw_batch(pools: Sequence[Pool], rng: np.random.Generator, size: int = BATCH) -> Batch:
    """Crops of movies, most of the first pool, through a drawn camera."""
    share = np.full(len(pools), POOL_SHARE / max(len(pools) - 1, 1))
    share[0] = 1 - share[1:].sum()
    chosen = rng.choice(len(pools), size, p=share)
    seen = [expose(_crop(pools[k], rng), rng) for k in chosen.tolist()]
    return (
        torch.from_numpy(np.stack([one.counts for one in seen])),
        torch.from_numpy(np.stack([one.clean for one in seen])),
        torch.from_numpy(np.stack([one.noise for one in seen])),
    )


def _crop(pool: Pool, rng: np.random.Generator) -> Movie:
    movie = pool[int(rng.integers(len(pool)))]
    step = int(rng.choice([1, 1, 1, 2, 3]))
    first = int(rng.integers(0, len(movie) - step * (FRAMES - 1)))
    times = first + step * np.arange(FRAMES)
    corners = np.repeat(rng.integers(0, movie.shape[1] - CROP_PX + 1, (1, 2)), FRAMES, axis=0)
    kind = rng.random()
    if kind < STILL:
        times[:] = first
    elif kind < STILL + UNLIKE:
        times = rng.integers(0, len(movie), FRAMES)
        corners = rng.integers(0, movie.shape[1] - CROP_PX + 1, (FRAMES, 2))
    clean = np.stack(
        [
            np.asarray(movie[t, y : y + CROP_PX, x : x + CROP_PX], np.float32)
            for t, (y, x) in zip(times.tolist(), corners.tolist(), strict=True)
        ]
    )
    for axis in (1, 2):
        if rng.random() < 0.5:
            clean = np.flip(clean, axis)
    if rng.random() < 0.5:
        clean = clean.transpose(0, 2, 1)
    return np.ascontiguousarray(clean)


def denoise_movie(net: DenoiseNet, counts: Tensor, noise: Tensor) -> Tensor:
    """Movies (b, t, y, x) frame after frame, the first one fresh."""
    state = counts.new_zeros(len(counts), STATE_CHANNELS, *counts.shape[2:])
    fresh = counts.new_ones(len(counts), 1)
    answers = []
    for t in range(counts.shape[1]):
        answer, state = net(counts[:, t : t + 1], state, noise, fresh)
        fresh = torch.zeros_like(fresh)
        answers.append(answer)
    return torch.cat(answers, dim=1)


def log_error(answer: Tensor, truth: Tensor, noise: Tensor) -> Tensor:
    """Log of the mean squared error of each frame (b, t), in units of its mean noise.

    A logarithm, so that a decibel counts the same for a dim frame and a bright one.
    """
    gain, offset, read = (noise[:, k, None, None, None] for k in range(3))
    variance = ((truth - offset).clamp(min=0) * gain + read).mean(dim=(2, 3))
    return torch.log(((answer - truth) ** 2).mean(dim=(2, 3)) / variance + FLOOR)


def train(settings: DenoiseTraining) -> Path:
    """Train and export; Ctrl-C keeps what was learned.

    Returns
    -------
    The ONNX file.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng([settings.seed, int(time.time())])
    settings.out.mkdir(parents=True, exist_ok=True)
    drawn, held = _pools(settings)
    pools = [drawn, *(np.load(path, mmap_mode="r") for path in settings.pools)]
    checks = [draw_batch([held], np.random.default_rng([7, n]), 12) for n in range(4)]
    net, checkpoint = DenoiseNet(), settings.out / "checkpoint.pt"
    if checkpoint.is_file():
        net.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    net.low_precision = settings.low_precision
    average = DenoiseNet.like(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, betas=(0.9, 0.99))
    start = checked = time.monotonic()
    columns = (
        *Progress.get_default_columns()[:-1],
        TimeRemainingColumn(),
        TextColumn("{task.fields[held]}"),
    )
    with Progress(*columns) as bar:
        task = bar.add_task("training", total=settings.minutes * 60, held="")
        step = 0
        try:
            while (spent := time.monotonic() - start) < settings.minutes * 60:
                _step(net, optimiser, draw_batch(pools, rng), _rate(settings, spent, step))
                step += 1
                _follow(average, net, min(0.999, (step + 1) / (step + 20)))
                bar.update(task, completed=spent)
                if time.monotonic() - checked > CHECK_EVERY_S:
                    checked = time.monotonic()
                    bar.update(task, held=_in_words(gains(average, checks)))
                    torch.save({"average": average.state_dict()}, checkpoint)
        except KeyboardInterrupt:
            bar.console.print("stopped; what was learned is kept")
    torch.save({"average": average.state_dict()}, checkpoint)
    bar.console.print(_in_words(gains(average, checks)))
    return export_denoiser(average, settings.out / "denoise.onnx")


def gains(net: DenoiseNet, checks: Sequence[Batch]) -> list[float]:
    """Mean gain over the noisy frame in dB, for each frame of a movie in turn."""
    with torch.no_grad():
        left = [log_error(denoise_movie(net, x, n), c, n).mean(0) for x, c, n in checks]
        noisy = [log_error(x, c, n).mean() for x, c, n in checks]
    decibel = 10 / math.log(10)
    return [decibel * (float(torch.stack(noisy).mean()) - float(k))
            for k in torch.stack(left).mean(0)]  # fmt: skip


def _in_words(gain: Sequence[float]) -> str:
    return "gain by frame, dB: " + " ".join(f"{value:.2f}" for value in gain)


def _pools(settings: DenoiseTraining) -> tuple[Pool, Pool]:
    paths = settings.out / "movies.npy", settings.out / "held_out.npy"
    stills = pictures_in(settings.stills) if settings.stills else []
    for path, count, seed in (
        (paths[0], settings.movies, settings.seed),
        (paths[1], 48, 1_000_000),
    ):
        if not path.is_file():
            write_pool(path.with_suffix(".part.npy"), count, seed, stills if seed == 0 else [])
            path.with_suffix(".part.npy").replace(path)
    return np.load(paths[0], mmap_mode="r"), np.load(paths[1], mmap_mode="r")


def _rate(settings: DenoiseTraining, spent: float, step: int) -> float:
    done = min(spent / (settings.minutes * 60), 1.0)
    return settings.rate * min(1, (step + 1) / 150) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-6


def _step(net: DenoiseNet, optimiser: torch.optim.Optimizer, batch: Batch, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
    counts, truth, noise = batch
    loss = log_error(denoise_movie(net, counts, noise), truth, noise).mean()
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    length = torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
    if torch.isfinite(length):
        optimiser.step()


@torch.no_grad()
def _follow(average: DenoiseNet, net: DenoiseNet, keep: float) -> None:
    for slow, fast in zip(average.parameters(), net.parameters(), strict=True):
        slow.lerp_(fast, 1 - keep)


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--movies", type=int, default=900)
    parser.add_argument("--stills", type=Path)
    parser.add_argument("--pools", type=Path, nargs="*", default=[], metavar="FILE.npy")
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.pools = tuple(given.pools)
    sys.stdout.write(f"{train(DenoiseTraining(**vars(given)))}\n")


if __name__ == "__main__":
    main()
