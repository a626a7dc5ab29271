"""Hardware: rigs that give frames, and the way of a frame to other processes.

Nothing heavy is imported before a name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivers.errors import (
        CameraTimeout,
        FrameError,
        FramesLost,
        LightSpent,
        ProtectionError,
        RigError,
        ScopeError,
        SettingsError,
        StaleSlot,
        WireError,
    )
    from drivers.frame import Frame, FrameMeta
    from drivers.geometry import px_to_um, to_stage
    from drivers.light import Light, LightMeter
    from drivers.limits import LimitSettings
    from drivers.motion import MotionSettings
    from drivers.opening import open_rig, rig_drivers
    from drivers.protect import ProtectedRig
    from drivers.receiver import FrameReceiver, Received
    from drivers.replay import EndOfData
    from drivers.replay_sources import Source, list_frames
    from drivers.rig import HasTruth, ImageFormat, Rig, RigInfo, RigState, StageLimits, TrueDivision
    from drivers.ring import FrameRing, RingReader, SlotRef
    from drivers.settings import RigSettings, rig_settings
    from drivers.wire import FrameSender

__all__ = [
    "CameraTimeout",
    "EndOfData",
    "Frame",
    "FrameError",
    "FrameMeta",
    "FrameReceiver",
    "FrameRing",
    "FrameSender",
    "FramesLost",
    "HasTruth",
    "ImageFormat",
    "Light",
    "LightMeter",
    "LightSpent",
    "LimitSettings",
    "MotionSettings",
    "ProtectedRig",
    "ProtectionError",
    "Received",
    "Rig",
    "RigError",
    "RigInfo",
    "RigSettings",
    "RigState",
    "RingReader",
    "ScopeError",
    "SettingsError",
    "SlotRef",
    "Source",
    "StageLimits",
    "StaleSlot",
    "TrueDivision",
    "WireError",
    "list_frames",
    "open_rig",
    "px_to_um",
    "rig_drivers",
    "rig_settings",
    "to_stage",
]

_ERRORS = (
    "CameraTimeout FrameError FramesLost LightSpent ProtectionError RigError ScopeError "
    "SettingsError StaleSlot WireError"
)
_HOMES = {
    "drivers.errors": _ERRORS,
    "drivers.frame": "Frame FrameMeta",
    "drivers.geometry": "px_to_um to_stage",
    "drivers.light": "Light LightMeter",
    "drivers.limits": "LimitSettings",
    "drivers.motion": "MotionSettings",
    "drivers.opening": "open_rig rig_drivers",
    "drivers.protect": "ProtectedRig",
    "drivers.replay": "EndOfData",
    "drivers.replay_sources": "Source list_frames",
    "drivers.rig": "HasTruth ImageFormat Rig RigInfo RigState StageLimits TrueDivision",
    "drivers.ring": "FrameRing RingReader SlotRef",
    "drivers.settings": "RigSettings rig_settings",
    "drivers.receiver": "FrameReceiver Received",
    "drivers.wire": "FrameSender",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Public names, imported when first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'drivers' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
