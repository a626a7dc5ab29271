"""Changes of exposure made while a hardware sequence runs, so that a closed loop costs no restart.

The rig decides whether it can: ``retime`` of ``drivers.ProtectedRig`` takes no exposure longer than
the one that its light was set aside for, and none where the camera is not known to allow it. Then
the sequence ends as for any other action, and the next begins with the new exposure.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from drivers import ProtectionError, Rig
from live.plan.blocks import Block, SetExposure
from live.plan.plan import Plan


def expose_in_flight(
    rig: Rig,
    plan: Plan,
    on_start: Callable[[int], None],
    on_end: Callable[[int, str | None], None],
) -> bool:
    """Make the changes of exposure that wait; False when the sequence must end for what waits.

    Called on the acquisition's thread between two frames of a sequence of the plan. On a busy
    machine decisions come in pairs: one that comes while another is carried out is made as well,
    for ending a sequence and beginning the next costs a frame.

    Parameters
    ----------
    rig
        In a sequence.
    plan
        Holds the change, and keeps it for the frames after this sequence.
    on_start, on_end
        Called with the number of each decision that it serves, after the camera has it.
    """
    retime: Callable[[float], bool] | None = getattr(rig, "retime", None)
    while plan.burst_waiting:
        block = plan.take_exposure() if retime is not None else None
        if block is None or retime is None or not _made(block, retime, plan, on_start, on_end):
            return False
    return True


def _made(
    block: Block,
    retime: Callable[[float], bool],
    plan: Plan,
    on_start: Callable[[int], None],
    on_end: Callable[[int, str | None], None],
) -> bool:
    """Whether the camera exposes as the block says; it is back in the queue where not."""
    effect, problem = block.effect, None
    if not isinstance(effect, SetExposure) or effect.exposure_ms is None:
        plan.return_block(block)
        return False
    try:
        if not retime(effect.exposure_ms):
            plan.return_block(block)
            return False
        plan.apply(effect, time.monotonic())
    except ProtectionError as error:
        problem = str(error)
    for number in block.decisions:
        on_start(number)
        on_end(number, problem)
    return True
