"""From what each stage takes to the frame rate that all of them hold; pure.

The model. A run is a few processes that work on different frames at the same time, so the slowest
stage sets the interval, not the sum of them. Three things make it longer than the slowest mean:

- Times vary. A stage counts with its 95th percentile, times ``HEADROOM``.
- Cores are shared. What camera, ring, recorder and window keep cores busy with slows the analysis
  by the measured ``slowdown``, in proportion to how busy they keep the cores that it leaves free;
  and all together may use no more than ``MOST_BUSY`` of the cores.
- Now and then a frame takes longer: the check of trust. The next frame waits meanwhile, and the
  one after that would push it out (policy ``newest``). So a checked frame must be done before
  that, with ``SPARE`` of an interval left.

``HEADROOM`` and ``SPARE`` were set by what real runs of a minute held: ``parfocal bench saferate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

HEADROOM: Final = 1.1
"""Interval over the 95th percentile of the slowest stage."""
SPARE: Final = 0.15
"""Part of an interval that must be left when a checked frame is done."""
MOST_BUSY: Final = 0.9
"""Part of all cores that a run may use on average; the rest is the system's."""
SHARED: Final = "cores"
"""Bottleneck when no single stage is, but all together use the cores up."""
LONGEST_MS: Final = 3.6e6
"""One frame an hour: what does not hold that has no safe rate."""
_STEPS: Final = 60


@dataclass(frozen=True, slots=True)
class Stage:
    """What one frame costs one stage, in milliseconds."""

    p95_ms: float
    cpu_ms: float = 0.0
    """Time of all cores together, mean."""
    check_ms: float = 0.0
    """Longer by this, once in ``check_every`` frames."""
    check_every: int = 0
    """0: never."""


@dataclass(frozen=True, slots=True)
class SafeRate:
    """What a pipeline holds at one image size."""

    rate_hz: float
    bottleneck: str
    """Name of the stage that sets it, or ``SHARED``."""
    needs_ms: dict[str, float]
    """Stage -> shortest interval that it holds, beside the others at this rate."""


def safe_rate(
    analysis: Stage,
    others: Mapping[str, Stage],
    *,
    cores: int,
    slowdown: float = 1.0,
) -> SafeRate:
    """The highest frame rate at which no stage falls behind.

    Parameters
    ----------
    analysis
        The pipeline, measured with the cores to itself.
    others
        The stages that run beside it, by name.
    cores
        That all of them share, at least 1.
    slowdown
        How many times longer a frame takes while every other core is busy, at least 1.
    """
    if not _holds(LONGEST_MS, analysis, others, cores, slowdown):
        needs = _needs(LONGEST_MS, analysis, others, cores, slowdown)
        return SafeRate(0.0, _greatest(needs), needs)
    low, high = 0.0, LONGEST_MS
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _holds(middle, analysis, others, cores, slowdown):
            high = middle
        else:
            low = middle
    needs = _needs(high, analysis, others, cores, slowdown)
    return SafeRate(1e3 / high, _greatest(needs), needs)


def lost_at_start(first_ms: float, rate_hz: float) -> int:
    """Frames passed over while the first one is looked at, under the policy ``newest``."""
    if rate_hz <= 0:
        return 0
    return max(0, int(first_ms * rate_hz / 1e3) - 1)


def _holds(
    interval_ms: float, analysis: Stage, others: Mapping[str, Stage], cores: int, slowdown: float
) -> bool:
    needs = _needs(interval_ms, analysis, others, cores, slowdown)
    return max(needs.values()) <= interval_ms


def _needs(
    interval_ms: float, analysis: Stage, others: Mapping[str, Stage], cores: int, slowdown: float
) -> dict[str, float]:
    """Shortest interval of each stage, given that frames come every ``interval_ms``.

    None grows with ``interval_ms``: more time never makes a stage slower.
    """
    needs = {name: stage.p95_ms * HEADROOM for name, stage in others.items()}
    beside_ms = sum(stage.cpu_ms for stage in others.values())
    busy = min(1.0, beside_ms / (interval_ms * max(cores - 1, 1))) if interval_ms > 0 else 1.0
    slower = 1 + (slowdown - 1) * busy
    usual, check = analysis.p95_ms * slower, analysis.check_ms * slower
    share = check / analysis.check_every if analysis.check_every else 0.0
    last = (usual + check) / (2 - SPARE) if analysis.check_every else 0.0
    needs["analysis"] = max((usual + share) * HEADROOM, last * HEADROOM)
    part = analysis.check_ms / analysis.check_every if analysis.check_every else 0.0
    all_ms = (analysis.cpu_ms + part) * slower + beside_ms
    needs[SHARED] = all_ms / (cores * MOST_BUSY)
    return needs


def _greatest(needs: Mapping[str, float]) -> str:
    return max(needs, key=lambda name: needs[name])
