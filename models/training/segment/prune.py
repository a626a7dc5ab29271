"""A narrower network from a trained one, to be trained on: the channels that matter least go.

``python -m models.training.segment.prune CHECKPOINT --widths 16 32 64 192 --out FOLDER`` writes
``FOLDER/checkpoint.pt``, which ``parfocal models train segment --out FOLDER`` goes on from. A
channel matters as much as the weights that read it times what its norm lets through (after filter
pruning, Li et al. 2017, arXiv 1608.08710, and network slimming, Liu et al. 2017, arXiv 1708.06519).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.errors import ModelError
from models.training.segment.checkpoint import load_checkpoint, load_net
from models.training.segment.net import SegmentNet


@torch.no_grad()
def prune(net: SegmentNet, widths: Sequence[int]) -> SegmentNet:
    """The network with fewer channels, in evaluation mode; `net` is not changed.

    Parameters
    ----------
    net
        Trained network.
    widths
        Channels of its four levels to keep, none more than it has.

    Raises
    ------
    ModelError
        When there are not four, or one is larger than that of ``net``, or below one.
    """
    if len(widths) != len(net.widths) or not all(
        1 <= new <= old for new, old in zip(widths, net.widths, strict=True)
    ):
        raise ModelError(
            f"got widths {', '.join(map(str, widths))}, need four of 1 to "
            f"{', '.join(map(str, net.widths))}"
        )
    small = SegmentNet(widths, net.inputs).eval()
    levels = range(len(widths))
    # what a level hands on is added to what comes back up, so both keep the same channels
    handed = [_kept(net.down[k].second_norm, _readers(net, k), widths[k]) for k in levels]
    for k in levels:
        old, new = net.down[k], small.down[k]
        given = handed[k - 1] if k else None
        _narrow_block(old, new, given, handed[k])
        if k < len(widths) - 1:
            back = net.lift[k - 1] if k else net.head
            risen = _kept(net.up[k].second_norm, [back], widths[k])
            _narrow_block(net.up[k], small.up[k], handed[k], risen)
            if k:
                _narrow(net.lift[k - 1], small.lift[k - 1], risen, handed[k - 1])
            else:
                _narrow(net.head, small.head, risen, None)
        else:
            _narrow(net.lift[k - 1], small.lift[k - 1], handed[k], handed[k - 1])
    return small


def _readers(net: SegmentNet, level: int) -> list[Any]:
    """Layers that read what a level hands on."""
    if level == len(net.widths) - 1:
        return [net.lift[level - 1]]
    return [net.down[level + 1].first, net.up[level].first]


def _kept(norm: Any, readers: Sequence[Any], count: int) -> Tensor:
    """Indices of the channels of a norm that matter most, in order."""
    read = torch.stack([one.weight.abs().sum((0, 2, 3)) for one in readers]).sum(0)
    let_through = norm.weight.abs() + norm.bias.clamp(min=0)
    return torch.sort(torch.topk(read * let_through, count).indices).values


def _narrow_block(old: Any, new: Any, given: Tensor | None, handed: Tensor) -> None:
    count = new.first.out_channels
    inner = _kept(old.first_norm, [old.second], count)
    _narrow(old.first, new.first, given, inner)
    _narrow_norm(old.first_norm, new.first_norm, inner)
    _narrow(old.second, new.second, inner, handed)
    _narrow_norm(old.second_norm, new.second_norm, handed)


def _narrow(old: Any, new: Any, given: Tensor | None, handed: Tensor | None) -> None:
    """Copy the weights of some inputs and outputs; None is all."""
    weight = old.weight if handed is None else old.weight[handed]
    new.weight.copy_(weight if given is None else weight[:, given])
    if old.bias is not None and new.bias is not None:
        new.bias.copy_(old.bias if handed is None else old.bias[handed])


def _narrow_norm(old: Any, new: Any, kept: Tensor) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(new, name).copy_(getattr(old, name)[kept])


def write_pruned(checkpoint: Path, widths: Sequence[int], out: Path) -> Path:
    """Write ``out/checkpoint.pt``, a training of the narrower network that is about to begin.

    Raises
    ------
    ModelError
        When there is no checkpoint, or the widths do not fit.
    """
    small = prune(load_net(checkpoint), widths)
    state = load_checkpoint(checkpoint)
    fresh = torch.optim.AdamW(small.parameters()).state_dict()
    weights = small.state_dict()
    out.mkdir(parents=True, exist_ok=True)
    begun = {"net": weights, "average": weights, "optimiser": fresh, "spent_s": 0.0, "history": []}
    torch.save({**state, **begun}, out / "checkpoint.pt")
    return out / "checkpoint.pt"


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of a training")
    parser.add_argument("--widths", type=int, nargs=4, required=True, help="of the four levels")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    given = parser.parse_args()
    write_pruned(given.checkpoint, given.widths, given.out)


if __name__ == "__main__":
    main()
