"""Labels softened by the answers of a network that was trained before.

A small network learns more from a trained one than from labels alone: the answers say how sure an
outline is, and they are the same wherever laboratories draw theirs (distillation: Hinton et al.
2015, arXiv 1503.02531).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHARE = 0.5
"""Of the teacher in what is learned; the rest are labels."""


def taught(teacher: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    """Mean of labels and answers, weighted by `SHARE`.

    Parameters
    ----------
    teacher
        A `SegmentNet` in evaluation mode.
    image
        (n, c, y, x) as the network takes it.
    target
        (n, 5, y, x) of `targets_from_labels`.

    Returns
    -------
    Tensor
        (n, 5, y, x) float32: probabilities, and offsets in the unit of the network.
    """
    with torch.no_grad():
        raw = teacher(image).float()
    answer = raw.sigmoid()
    answer[:, 2:4] = raw[:, 2:4]
    return torch.lerp(target, answer, SHARE)
