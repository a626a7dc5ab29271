"""Training a denoiser further on the frames of one microscope, with no clean image.

It starts from weights that ship. Where most of the sample stands still from one frame to the next,
the next frame is the lesson, in the places that stand still (Noise2Noise, Lehtinen et al., ICML
2018); elsewhere, and of a single image, pairs of recorrupted frames are (see
`models.training.denoise.recorrupt`). It is judged on a strip of the frames that it never learns
from, place by place: what does not get better by more than chance would have it is not kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.errors import ModelError
from models.training.denoise.export import denoiser_from_onnx, export_denoiser
from models.training.denoise.net import MULTIPLE, DenoiseNet
from models.training.denoise.recorrupt import (
    STRENGTH,
    Recorruption,
    noise_of_frames,
    recorruption_for,
)
from models.training.denoise.train import denoise_movie

CROP_PX = 96
SMALLEST_PX = 96
"""Frames narrower than this leave nothing to hold out."""
BATCH = 6
STRETCH = 3
"""Frames in a row that are learned from together."""
HELD_OUT = 0.2
"""Part of the width that is held out, at the right."""
MOST_FRAMES = 32
MOST_PX = 24_000_000
"""Pixels of all frames that are learned from: about 0.5 GB in work."""
RATE = 3e-4
CHECKS = 12
STILL = 0.5
"""Change of a neighbourhood between frames, in standard deviations of a pixel, that is none."""
STILL_SHARE = 0.7
"""Part of the pixels that must stand still for the next frame to be the lesson."""
SMALLEST_GAIN = 0.01
"""Least fall of the held-out error, as a part of it, for which weights are worth changing."""
SURE = 2.0
"""Standard errors, over places of the held-out strip, by which it must fall to be no chance."""
PLACE_PX = 32
DRAWS = 4
"""Times that a single frame is recorrupted to be judged."""
LEAST_ERROR = 0.01
"""What the error at the start is at least said to be. Where it comes out lower, the noise is not
known well enough to judge recorrupted frames by, and the start's weights stay."""
MOST_CHANGED = 0.03
"""Part by which the residual of recorrupted frames may grow or shrink. The held-out error rests on
how strong the noise is thought to be; where that is wrong it falls while noise is left in, and the
residual shrinks, or while the sample is smeared, and it grows. Trainings that ended 0.4 dB and more
below the start on real scans had changed it by 0.04 and more. It is a sieve, no proof."""

Progress = Callable[[float, float, float, float, float], None]
"""Told of elapsed and remaining seconds and of the held-out error at the start, now and at best."""


@dataclass(frozen=True, slots=True, eq=False)
class FineTuned:
    """What came of a training."""

    net: DenoiseNet
    """The best; that of the start where none was better."""
    loss_start: float
    """Held-out squared error in units of the noise's variance, estimated without a clean image."""
    loss_best: float
    history: list[tuple[float, float, float]]
    """Minutes, error while training, held-out error."""
    pictures: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
    """A frame (y, x), denoised by the start's weights, and by the best."""

    def write(self, path: Path) -> None:
        """Write the best weights as an ONNX file."""
        export_denoiser(self.net, path)


def fine_tune(
    frames: NDArray[Any],
    start: Path,
    seconds: float,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    threads: int = 1,
) -> FineTuned:
    """Train; blocks for ``seconds`` and a little more.

    Parameters
    ----------
    frames
        (t, y, x) camera counts, uint8 or uint16, of one camera at one setting; in order of time
        where they are of one place, of which short stretches are learned from together.
    start
        ONNX file of a denoiser of this program.
    seconds
        Wall-clock time.
    progress
        May raise, which ends the training: whatever is raised passes through, unless it is raised
        after the first check and is a ``StopIteration``, which keeps the best so far.
    threads
        Of the CPU.

    Raises
    ------
    ModelError
        When the frames are too small, or the start is another network.
    """
    torch.set_num_threads(threads)
    taken = _taken(frames)
    net = denoiser_from_onnx(start)
    model = noise_of_frames(taken)
    first = _denoised_alone(net, taken, model_noise(model))
    how = recorruption_for(
        taken, first, model, lambda moved: _denoised_alone(net, moved, model_noise(model))
    )
    trainer = _Trainer(net, how, taken, first, seed)
    began = time.monotonic()
    places_start = trainer.held_out(net)
    beside = max(0.0, LEAST_ERROR - float(places_start.mean()))
    error_start = float(places_start.mean()) + beside
    best, error_best, history = net, error_start, [(0.0, math.nan, error_start)]
    checked = began
    try:
        while (spent := time.monotonic() - began) < seconds:
            recent = trainer.step(spent / seconds)
            due = seconds * len(history) / CHECKS
            if spent >= due or spent - (checked - began) > 30:
                checked = time.monotonic()
                places = trainer.held_out(trainer.average)
                error = float(places.mean()) + beside
                history.append((spent / 60, recent, error))
                if (
                    error < error_best
                    and (best is not net or _better(places, places_start))
                    and (trainer.by_neighbours or (not beside and trainer.sound(trainer.average)))
                ):
                    best, error_best = DenoiseNet.like(trainer.average), error
            if progress is not None:
                progress(spent, max(seconds - spent, 0), error_start, history[-1][2], error_best)
    except StopIteration:
        pass
    middle = len(taken) // 2
    shown = taken[middle : middle + 1]
    after = _denoised_alone(best, shown, model_noise(model))[0]
    return FineTuned(best, error_start, error_best, history, (shown[0], first[middle], after))


def _better(places: NDArray[np.float64], before: NDArray[np.float64]) -> bool:
    """Whether errors, place by place, fell by more than chance would have it."""
    fall = before - places
    chance = float(fall.std()) / math.sqrt(len(fall))
    return float(fall.mean()) > max(SMALLEST_GAIN * float(before.mean()), SURE * chance)


def model_noise(model: Any) -> Tensor:
    """(1, 3) gain, offset, read variance as the network takes them."""
    return torch.tensor([[model.gain, model.offset, model.read_variance]], dtype=torch.float32)


class _Trainer:
    """Draws, steps and judges."""

    def __init__(
        self,
        net: DenoiseNet,
        how: Recorruption,
        frames: NDArray[Any],
        clean: NDArray[np.float32],
        seed: int,
    ) -> None:
        self._how = how
        width = frames.shape[2]
        held = max(round(width * HELD_OUT), 48) // MULTIPLE * MULTIPLE
        counts = torch.from_numpy(np.asarray(frames, np.float32))
        guess = torch.from_numpy(clean)
        self._frames, self._clean = counts[:, :, : width - held], guess[:, :, : width - held]
        rows = frames.shape[1] // MULTIPLE * MULTIPLE
        self._held = counts[:, :rows, width - held :], guess[:, :rows, width - held :]
        self._rng = np.random.default_rng(seed)
        self._draw = torch.Generator().manual_seed(seed)
        self._net = DenoiseNet.like(net)
        self._net.train()
        self._net.low_precision = _fast_in_low_precision()
        self.average = DenoiseNet.like(net)
        self._optimiser = torch.optim.Adam(self._net.parameters(), lr=RATE, betas=(0.9, 0.99))
        self._steps = 0
        middle = len(frames) // 2
        self._whole, self._usual = frames[middle : middle + 1], clean[middle : middle + 1]
        self.by_neighbours = len(frames) > 1 and float(self._still(guess).mean()) >= STILL_SHARE

    def step(self, done: float) -> float:
        """Learn from one batch, ``done`` of the time being over; the error in units of noise."""
        for group in self._optimiser.param_groups:
            group["lr"] = (
                RATE
                * min(1, (self._steps + 1) / 20)
                * (0.5 + 0.5 * math.cos(math.pi * min(done, 1)))
            )
        frames, clean = self._batch()
        loss = self._errors(self._net, frames, clean, self._draw).mean()
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(self._net.parameters(), 0.5)):
            self._optimiser.step()
        self._steps += 1
        keep = min(0.98, (self._steps + 1) / (self._steps + 10))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self._net.parameters(), strict=True)
            for slow, fast in pairs:
                slow.lerp_(fast, 1 - keep)
        return float(loss.detach())

    @torch.no_grad()
    def held_out(self, net: DenoiseNet) -> NDArray[np.float64]:
        """Error in places (n,) of the strip that is never learned from, with the same draws each
        time.
        """
        draw = torch.Generator().manual_seed(1)
        frames, clean = self._held
        found, length = [], self._length
        firsts = range(0, max(len(frames) - length, 0) + 1, length)
        for first in [*firsts] * (1 if self.by_neighbours else max(1, DRAWS // len(firsts))):
            part = slice(first, first + length)
            found.append(
                self._errors(net, frames[None, part], clean[None, part], draw).mean((0, 1))
            )
        over = torch.stack(found).mean(0)[None, None]
        size = min(PLACE_PX, *over.shape[2:])
        places = functional.avg_pool2d(over, size)
        return np.asarray(places.flatten().numpy(), np.float64)

    def sound(self, net: DenoiseNet) -> bool:
        """Whether it takes as much out of a frame as the start does."""
        answer = _denoised_alone(net, self._whole, self._how.noise())
        now, before = self._residual(answer), self._residual(self._usual)
        return abs(now / max(before, 1e-9) - 1) <= MOST_CHANGED

    def _residual(self, answer: NDArray[np.float32]) -> float:
        """Mean square of what was taken out, in units of the noise; of specks, no more than 25."""
        left = (np.asarray(self._whole, np.float32) - answer) ** 2
        return float(np.minimum(left / self._how.model.variance(answer), 25.0).mean())

    def _errors(
        self, net: DenoiseNet, frames: Tensor, clean: Tensor, draw: torch.Generator
    ) -> Tensor:
        """(b, t, y, x) squared error in units of the noise; its mean is 0 without error."""
        if self.by_neighbours:
            seen, other = frames[:, :-1], frames[:, 1:]
            still, clean = self._still(clean), clean[:, :-1]
            answer = denoise_movie(net, seen, self._how.noise().expand(len(frames), 3))
            squared = (answer - other) ** 2 * still
        else:
            seen, drawn = self._how.copies(frames, clean, draw)
            still = torch.ones_like(frames)
            answer = denoise_movie(
                net, seen, self._how.noise(1 + STRENGTH**2).expand(len(frames), 3)
            )
            # the error from the second copy, less what is in it whatever the answer
            squared = (answer - frames) ** 2 + 2 / STRENGTH * (answer - clean) * drawn
        variance = self._how.variance(clean) * still
        usual = variance.mean(dim=(2, 3), keepdim=True).clamp(min=1e-6)
        return (squared - variance) / usual

    def _still(self, clean: Tensor) -> Tensor:
        """1 where a neighbourhood of (..., t, y, x) is in the next frame as it was, else 0."""
        change = clean[..., 1:, :, :] - clean[..., :-1, :, :]
        around = functional.avg_pool2d(change, 5, stride=1, padding=2, count_include_pad=False)
        limit = STILL * self._how.variance(clean[..., :-1, :, :]).sqrt()
        return (around.abs() < limit).float()

    @property
    def _length(self) -> int:
        return min(STRETCH + self.by_neighbours, len(self._frames))

    def _batch(self) -> tuple[Tensor, Tensor]:
        count, height, width = self._frames.shape
        alone = not self.by_neighbours and self._rng.random() < 0.5
        stretch = 1 if alone else self._length
        size = min(CROP_PX, height // MULTIPLE * MULTIPLE, width // MULTIPLE * MULTIPLE)
        frames: list[Tensor] = []
        clean: list[Tensor] = []
        for _ in range(BATCH):
            t = int(self._rng.integers(0, count - stretch + 1))
            y = int(self._rng.integers(0, height - size + 1))
            x = int(self._rng.integers(0, width - size + 1))
            cut = np.s_[t : t + stretch, y : y + size, x : x + size]
            turn, flip = int(self._rng.integers(4)), bool(self._rng.integers(2))
            for source, made in ((self._frames, frames), (self._clean, clean)):
                part = torch.rot90(source[cut], turn, (1, 2))
                made.append(part.flip(2) if flip else part)
        return torch.stack(frames), torch.stack(clean)


def _taken(frames: NDArray[Any]) -> NDArray[Any]:
    """A stretch of the frames that fits memory."""
    if frames.ndim != 3 or len(frames) == 0 or min(frames.shape[1:]) < SMALLEST_PX:
        raise ModelError(
            f"frames of {frames.shape} (t, y, x): need at least one of {SMALLEST_PX} pixels each "
            "way to learn from"
        )
    most = max(1, min(MOST_FRAMES, MOST_PX // (frames.shape[1] * frames.shape[2])))
    first = max(0, (len(frames) - most) // 2)
    return np.ascontiguousarray(frames[first : first + most])


@torch.no_grad()
def _denoised_alone(net: DenoiseNet, frames: NDArray[Any], noise: Tensor) -> NDArray[np.float32]:
    """Each of (t, y, x) frames by itself."""
    height, width = frames.shape[1:]
    grow = [(0, 0), (0, -height % MULTIPLE), (0, -width % MULTIPLE)]
    out = np.empty(frames.shape, np.float32)
    for t, frame in enumerate(np.pad(frames, grow, mode="reflect")):
        counts = torch.from_numpy(np.asarray(frame, np.float32))[None, None]
        out[t] = denoise_movie(net, counts, noise)[0, 0, :height, :width].numpy()
    return out


def _fast_in_low_precision() -> bool:
    """Whether the CPU has bfloat16; without, it is far slower than full precision."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
