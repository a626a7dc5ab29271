"""Train a segmentation network: ``parfocal models train segment``.

Training goes by wall-clock minutes, so that it fits the machine and the evening at hand. It can be
stopped at any time: a checkpoint is written every minute and training goes on from it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from models.errors import ModelError
from models.training.course import course, note_of
from models.training.curve import save_curve
from models.training.segment.augment import Augment, make_crop
from models.training.segment.checkpoint import load_checkpoint, load_net
from models.training.segment.data import Pair
from models.training.segment.loss import segment_loss
from models.training.segment.net import WIDTHS, SegmentNet, count_weights, widths_of
from models.training.segment.own import has_own, own_pairs
from models.training.segment.start import start_from
from models.training.segment.tasks import task_named
from models.training.segment.teacher import taught
from models.training.segment.views import two_views

GENTLER = 3.0
"""Smaller steps where a trained network goes on: it has more to lose than to learn."""
START_BATCHES = 6
"""Looked at by the norms of a network that goes on."""
Width = Annotated[int, Field(ge=1, le=512)]


class TrainSegmentSettings(BaseModel):
    """Settings of one training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = "nuclei"
    """How images are changed while training, and pixels grouped afterwards."""
    data: Path
    """Folder of labelled images, see `models.training.segment.own`; or the development data, which
    hold ``seg/`` and ``track/``."""
    start: str = ""
    """Network to go on from, as of `start_from`; empty for a new one."""
    name: str = ""
    """Of the network and its files; empty for that of the task, or of the folder in ``out`` where
    the images are the user's own."""
    out: Path
    """Folder for checkpoint, log and curve; an existing checkpoint is continued."""
    minutes: Annotated[float, Field(gt=0)] = 30.0
    """Wall-clock minutes in all, earlier runs on the same checkpoint counted in."""
    crop_px: Annotated[int, Field(ge=64, multiple_of=16)] = 160
    batch: Annotated[int, Field(ge=1)] = 8
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    threads: Annotated[int, Field(ge=1)] = 1
    device: Literal["cpu", "cuda"] = "cpu"
    also_train: tuple[str, ...] = ()
    """Held-out parts to train on as well, once the figures on them are known."""
    low_precision: bool = False
    """bfloat16 inside the convolutions while training; the weights stay float32."""
    seed: int = 1
    widths: tuple[Width, Width, Width, Width] = WIDTHS
    """Channels of the four levels of a new network; one that is continued keeps its own."""
    teacher: Path | None = None
    """Checkpoint of a trained network whose answers soften the labels; see `teacher`."""

    @property
    def model_name(self) -> str:
        """What the network and its files are called."""
        own = self.out.resolve().name if has_own(self.data) else self.task
        return self.name or own

    def pairs(self) -> list[Pair]:
        """The images to train on and to judge by."""
        development = any((self.data / part).is_dir() for part in ("seg", "track"))
        if development and not has_own(self.data):
            return task_named(self.task).pairs(self.data)
        return own_pairs(self.data)


class Sampler:
    """Draws pairs balanced over groups: a group's share grows with the root of its size.

    A group of fewer than ``LEAST`` images has the share of one with as many.
    """

    LEAST = 12

    def __init__(self, pairs: list[Pair], rng: np.random.Generator) -> None:
        sizes = Counter(p.group for p in pairs)
        weights = np.array([max(sizes[p.group], self.LEAST) ** 0.5 / sizes[p.group] for p in pairs])
        self._pairs, self._rng = pairs, rng
        self._shares = weights / weights.sum()

    def draw(self) -> Pair:
        """One pair."""
        return self._pairs[int(self._rng.choice(len(self._pairs), p=self._shares))]


def _batch(
    sampler: Sampler, settings: TrainSegmentSettings, how: Augment, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    crops = [make_crop(sampler.draw(), settings.crop_px, rng, how) for _ in range(settings.batch)]
    images = two_views(torch.cat([c.image for c in crops]))
    return (
        images.contiguous(memory_format=torch.channels_last),
        torch.stack([c.target for c in crops]),
        torch.stack([c.valid for c in crops]),
    )


class Averaged:
    """Exponential moving average of a network, which scores better than its last step."""

    def __init__(self, net: SegmentNet, decay: float = 0.998) -> None:
        self.net = SegmentNet(net.widths, net.inputs)
        self.net.load_state_dict(net.state_dict())
        self.net.eval().requires_grad_(False)
        self._decay, self._steps = decay, 0

    def update(self, net: SegmentNet) -> None:
        """Take one step of ``net`` in."""
        self._steps += 1
        keep = min(self._decay, (1 + self._steps) / (10 + self._steps))
        mine = self.net.state_dict()
        for name, value in net.state_dict().items():
            here = value.to(mine[name].device)
            if mine[name].dtype.is_floating_point:
                mine[name].lerp_(here, 1 - keep)
            else:
                mine[name].copy_(here)


def _started(settings: TrainSegmentSettings, pairs: list[Pair], how: Augment) -> SegmentNet:
    """The network that training starts from, with norms that know these images."""
    rng = np.random.default_rng([settings.seed, 0x57A7])
    sampler = Sampler(pairs, rng)
    return start_from(
        settings.start, [_batch(sampler, settings, how, rng)[0] for _ in range(START_BATCHES)]
    )


def held_out_loss(net: SegmentNet, batches: list[tuple[Tensor, Tensor, Tensor]]) -> float:
    """Mean loss over fixed batches."""
    with torch.no_grad():
        return float(np.mean([float(segment_loss(net(x), y, v)) for x, y, v in batches]))


def train(settings: TrainSegmentSettings) -> Path:
    """Train, or continue, and return the path of the checkpoint.

    Raises
    ------
    ModelError
        When data or the teacher are missing, or the device asked for is not there.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("device is cuda and no CUDA device was found; set device to cpu")
    torch.set_num_threads(settings.threads)
    path = settings.out / "checkpoint.pt"
    task = task_named(settings.task)
    pairs, how = settings.pairs(), task.augment
    teacher = None if settings.teacher is None else load_net(settings.teacher)
    settings.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    state = load_checkpoint(path) if path.is_file() else None
    known = {"train", *settings.also_train}
    if state is None and settings.start:
        net = _started(settings, [p for p in pairs if p.split in known], how)
    else:
        net = SegmentNet(settings.widths if state is None else widths_of(state["net"]))
    top = settings.learning_rate / (GENTLER if settings.start else 1.0)
    optimiser = torch.optim.AdamW(net.parameters(), lr=top, weight_decay=1e-3)
    spent_s, step, history = 0.0, 0, list[list[float]]()
    average = Averaged(net)
    if state is not None:
        net.load_state_dict(state["net"])
        average.net.load_state_dict(state["average"])
        average._steps = int(state["step"])
        optimiser.load_state_dict(state["optimiser"])
        spent_s, step, history = state["spent_s"], state["step"], state["history"]
    if teacher is not None:
        teacher = teacher.to(settings.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    net = net.to(settings.device)
    # channels last is twice as fast on a CPU
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rng = np.random.default_rng([settings.seed, step])
    sampler = Sampler([p for p in pairs if p.split in known], rng)
    check_rng = np.random.default_rng(99)
    check_sampler = Sampler([p for p in pairs if p.split not in known], check_rng)
    checks = [_batch(check_sampler, settings, how, check_rng) for _ in range(4)]
    recent = list[float]()

    def save(step: int, spent_s: float) -> str:
        history.append(
            [spent_s / 60, float(np.mean(recent or [np.nan])), held_out_loss(average.net, checks)]
        )
        recent.clear()
        state = {
            "net": net.state_dict(), "average": average.net.state_dict(), "step": step,
            "optimiser": optimiser.state_dict(), "spent_s": spent_s, "history": history,
            "task": task.name, "diameter_px": how.diameter_px,
        }  # fmt: skip
        fresh = path.with_suffix(".part")
        torch.save(state, fresh)
        fresh.replace(path)
        save_curve(history, settings.out / "curve.png", f"{settings.task}: loss over minutes")
        return note_of(step, history)

    title = f"{settings.task}, {count_weights(net)} weights"
    minutes = settings.minutes
    for _ in course(
        title, optimiser, rate=top, minutes=minutes, spent_s=spent_s, step=step, save=save
    ):
        x, y, valid = (t.to(settings.device) for t in _batch(sampler, settings, how, rng))
        net.train()
        with torch.autocast(settings.device, torch.bfloat16, enabled=settings.low_precision):
            raw = net(x)
            y = y if teacher is None else taught(teacher, x, y)
        loss = segment_loss(raw.float(), y, valid)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        average.update(net)
        recent.append(float(loss.detach()))
    return path
