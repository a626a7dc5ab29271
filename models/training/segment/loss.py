"""What the segmentation network is punished for."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def segment_loss(raw: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Foreground cross entropy and overlap, centre cross entropy, offset distance.

    Parameters
    ----------
    raw
        (n, 5, y, x) of the network.
    target
        (n, 5, y, x) of `targets_from_labels`.
    valid
        (n, y, x), 0 where pixels do not count.
    """
    total = valid.sum().clamp(min=1.0)
    inside = target[:, 0] * valid
    entropy = functional.binary_cross_entropy_with_logits(raw[:, 0], target[:, 0], reduction="none")
    foreground = (entropy * valid).sum() / total
    probable = raw[:, 0].sigmoid() * valid
    shared = (probable * inside).sum((1, 2))
    overlap = 1 - (2 * shared + 50) / (probable.sum((1, 2)) + inside.sum((1, 2)) + 50)
    # Peaks are rare: near-centre pixels weigh up to 10 times an empty one.
    spot = functional.binary_cross_entropy_with_logits(raw[:, 1], target[:, 1], reduction="none")
    centre = (spot * valid * (1 + 9 * target[:, 1])).sum() / total
    miss = functional.smooth_l1_loss(raw[:, 2:4], target[:, 2:4], beta=0.1, reduction="none").sum(1)
    offset = (miss * inside).sum() / inside.sum().clamp(min=1.0)
    meet = functional.binary_cross_entropy_with_logits(raw[:, 4], target[:, 4], reduction="none")
    contact = (meet * valid * (1 + 4 * target[:, 4])).sum() / total
    return foreground + 0.3 * contact + 0.5 * overlap.mean() + 1.5 * centre + 1.5 * offset
