"""The mean of two trained networks of one training, which is often better than either.

``python -m models.training.segment.blend BEFORE AFTER --share 0.3 --out FOLDER`` writes
``FOLDER/checkpoint.pt``. Both must have begun alike, as one that was trained further (weight
averaging: Wortsman et al. 2022, arXiv 2203.05482).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from models.errors import ModelError
from models.training.segment.checkpoint import load_checkpoint


def blend(before: Path, after: Path, share: float, out: Path) -> Path:
    """Write a checkpoint whose averaged network is ``share`` of ``after``, the rest ``before``.

    Raises
    ------
    ModelError
        When a checkpoint is missing, or they are of different networks.
    """
    old, new = load_checkpoint(before)["average"], load_checkpoint(after)
    mean = {}
    for name, value in new["average"].items():
        if name not in old or old[name].shape != value.shape:
            raise ModelError(f"{before} and {after} are of different networks: {name} differs")
        # counters stay as they are
        floats = value.dtype.is_floating_point
        mean[name] = torch.lerp(old[name], value, share) if floats else value
    out.mkdir(parents=True, exist_ok=True)
    torch.save({**new, "average": mean}, out / "checkpoint.pt")
    return out / "checkpoint.pt"


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, help="checkpoint.pt")
    parser.add_argument("after", type=Path, help="checkpoint.pt of the same, trained further")
    parser.add_argument("--share", type=float, default=0.5, help="of the second, 0 to 1")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    given = parser.parse_args()
    blend(given.before, given.after, given.share, given.out)


if __name__ == "__main__":
    main()
