"""Train a network that sorts objects into classes: ``parfocal models train classify``.

Training goes by wall-clock minutes and can be stopped at any time: it goes on from its last
checkpoint. It starts from the shipped network where that can be read, because a few dozen examples
of each class are enough to change what a network sees in, and far too few to teach it to see.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as nnf

from models.catalog import WEIGHTS
from models.errors import ModelError
from models.training.classify.augment import ClassSampler, plain
from models.training.classify.examples import Examples
from models.training.classify.net import ClassNet, net_from_onnx
from models.training.course import course, note_of
from models.training.curve import save_curve
from models.training.segment.checkpoint import load_checkpoint
from models.training.segment.net import count_weights

START = WEIGHTS / "phases.onnx"
"""Shipped network that training starts from."""
_HELD_OUT_AT_ONCE = 512
_WATCHED = 512
"""Held-out examples that the curve is drawn from: all of them would cost more than the training."""
_DECAY = 0.995
_RATE_ANEW, _RATE_ON = 3e-3, 1e-3


class TrainClassifySettings(BaseModel):
    """Settings of one training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    """Folder of examples, as `models.training.classify.examples` reads it."""
    out: Path
    """Folder for checkpoint, curve and weights; an existing checkpoint is continued."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)] = "classes"
    """Of the files ``NAME.onnx`` and ``NAME.md``."""
    classes: tuple[str, ...] = ()
    """Which classes to take, in this order; none for all, by name."""
    minutes: Annotated[float, Field(gt=0)] = 3.0
    """Wall-clock minutes in all, earlier runs on the same checkpoint counted in."""
    batch: Annotated[int, Field(ge=2)] = 96
    """At most; never more than half of what there is to train on."""
    threads: Annotated[int, Field(ge=1)] = 1
    device: Literal["cpu", "cuda"] = "cpu"
    seed: Annotated[int, Field(ge=0)] = 1
    anew: bool = False
    """Start from chance instead of from the shipped network."""


def train(settings: TrainClassifySettings, examples: Examples) -> Path:
    """Train, or continue, and return the path of the checkpoint.

    Raises
    ------
    ModelError
        When the device asked for is not there, or the checkpoint is of other classes.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("device is cuda and no CUDA device was found; set device to cpu")
    torch.set_num_threads(settings.threads)
    settings.out.mkdir(parents=True, exist_ok=True)
    path = settings.out / "checkpoint.pt"
    torch.manual_seed(settings.seed)
    state = load_checkpoint(path) if path.is_file() else None
    net, rate = _start(settings, examples, state)
    average = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    spent_s, step, history = 0.0, 0, list[list[float]]()
    if state is not None:
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        spent_s, step, history = state["spent_s"], state["step"], state["history"]
    net, average = net.to(settings.device), average.to(settings.device).eval()
    size = min(settings.batch, max(16, int((~examples.held_out).sum()) // 2))
    sampler = ClassSampler(examples, np.random.default_rng([settings.seed, step]))
    recent = list[float]()

    def save(step: int, spent_s: float) -> str:
        if recent:
            loss = _held_out_loss(average, examples)
            history.append([spent_s / 60, float(np.mean(recent)), loss])
            recent.clear()
        fresh = path.with_suffix(".part")
        torch.save(
            {
                "net": net.state_dict(), "average": average.state_dict(), "step": step,
                "optimiser": optimiser.state_dict(), "spent_s": spent_s, "history": history,
                "classes": list(examples.classes), "norm": net.norm, "rate": rate,
            },
            fresh,
        )  # fmt: skip
        fresh.replace(path)
        save_curve(history, settings.out / "curve.png", f"{settings.name}: loss over minutes")
        return note_of(step, history)

    title = f"{settings.name}, {count_weights(net)} weights"
    minutes = settings.minutes
    for done in course(
        title, optimiser, rate=rate, minutes=minutes, spent_s=spent_s, step=step, save=save
    ):
        windows, context, target = (t.to(settings.device) for t in sampler.draw(size))
        net.train()
        loss = nnf.cross_entropy(net(windows, context), target)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        _follow(average, net, min(_DECAY, (done + 1) / (done + 11)))
        recent.append(float(loss.detach()))
    return path


def load_classnet(checkpoint: Path) -> tuple[ClassNet, tuple[str, ...], float]:
    """Averaged network in evaluation mode, its classes, and the minutes it was trained for."""
    state = load_checkpoint(checkpoint)
    net = ClassNet(len(state["classes"]), norm=bool(state["norm"]))
    net.load_state_dict(state["average"])
    return net.cpu().eval(), tuple(state["classes"]), float(state["spent_s"]) / 60


def held_out_logits(
    net: ClassNet, examples: Examples, most: int | None = None
) -> tuple[Tensor, Tensor]:
    """Logits (n, classes) and targets (n,) of the examples not trained on, or of ``most`` a class.

    The order is that of the examples.
    """
    found, wanted = list[Tensor](), list[Tensor]()
    of_class = (np.flatnonzero(examples.held_out & (examples.target == k))
                for k in range(len(examples.classes)))  # fmt: skip
    rows = np.sort(np.concatenate([rows[:most] for rows in of_class]))
    device = next(net.parameters()).device
    with torch.no_grad():
        for start in range(0, len(rows), _HELD_OUT_AT_ONCE):
            some = rows[start : start + _HELD_OUT_AT_ONCE]
            windows, context, target = plain(examples, some)
            found.append(net(windows.to(device), context.to(device)).cpu())
            wanted.append(target)
    return torch.cat(found), torch.cat(wanted)


def _held_out_loss(net: ClassNet, examples: Examples) -> float:
    """Mean loss of some held-out examples, each class with the same weight."""
    logits, target = held_out_logits(net, examples, _WATCHED // len(examples.classes))
    each = nnf.cross_entropy(logits, target, reduction="none")
    return float(np.mean([float(each[target == k].mean()) for k in sorted(set(target.tolist()))]))


def _start(
    settings: TrainClassifySettings, examples: Examples, state: dict[str, Any] | None
) -> tuple[ClassNet, float]:
    count = len(examples.classes)
    if state is not None:
        if tuple(state.get("classes", ())) != examples.classes:
            raise ModelError(
                f"{settings.out} holds a training of {', '.join(state.get('classes', ['none']))}, "
                f"the data are of {', '.join(examples.classes)}; give another --out"
            )
        return ClassNet(count, norm=bool(state["norm"])), float(state["rate"])
    if settings.anew or not START.is_file():
        return ClassNet(count), _RATE_ANEW
    return net_from_onnx(START, count), _RATE_ON


def _follow(average: ClassNet, net: ClassNet, keep: float) -> None:
    """Exponential moving average, which scores better than the last step."""
    mine = average.state_dict()
    for name, value in net.state_dict().items():
        if mine[name].dtype.is_floating_point:
            mine[name].lerp_(value, 1 - keep)
        else:
            mine[name].copy_(value)
