"""Spatial light modulators of a core: which there are, and how one shows a mask for a while."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pymmcore
import useq

from drivers.errors import RigError
from drivers.mmcore_names import names, unknown

LONGEST_S = 600.0


def slms_of(core: Any) -> dict[str, tuple[int, int]]:
    """Label -> (height, width) in pixels; the core's own SLM first.

    Empty across a bridge, where the types of devices are objects of Java.
    """
    if not isinstance(core, pymmcore.CMMCore):
        return {}
    labels = names(core.getLoadedDevicesOfType(pymmcore.SLMDevice))
    own = str(core.getSLMDevice())
    ordered = sorted(labels, key=lambda label: label != own)
    return {label: (int(core.getSLMHeight(label)), int(core.getSLMWidth(label)))
            for label in ordered}  # fmt: skip


def stimulate(core: Any, wanted: useq.SLMImage) -> None:
    """Show a mask for its exposure, then darkness. Blocks for that time.

    Raises ``RigError`` when there is no such modulator, or the mask is not of its shape.
    """
    known = slms_of(core)
    label = wanted.device or next(iter(known), "")
    if label not in known:
        raise RigError(unknown("spatial light modulator", label, tuple(known)))
    mask = np.ascontiguousarray(wanted.data, dtype=np.uint8)
    if mask.shape != known[label]:
        raise RigError(f"SLM {label!r}: got a mask of {mask.shape}, need {known[label]} (y, x)")
    seconds = (wanted.exposure or float(core.getSLMExposure(label))) / 1e3
    if not 0 < seconds <= LONGEST_S:
        raise RigError(f"SLM {label!r}: an exposure of {seconds:g} s, need 0 to {LONGEST_S:g} s")
    try:
        core.setSLMExposure(label, seconds * 1e3)
        core.setSLMImage(label, mask)
        core.displaySLMImage(label)
        time.sleep(seconds)
    except Exception as error:
        raise RigError(f"SLM {label!r} did not show its mask: {error}") from error
    finally:
        # Not every modulator keeps to its exposure: whatever happened, the sample goes dark.
        core.setSLMImage(label, np.zeros_like(mask))
        core.displaySLMImage(label)
