"""Errors of the microscope side.

::

    ScopeError
    ├── SettingsError        wrong rig settings: nothing is opened, the run does not start
    ├── RigError             the hardware is missing, refused or lost: the run ends, light off
    │   ├── CameraTimeout    no frame came within the time allowed
    │   ├── FramesLost       the camera's own buffer overflowed or its counter jumped
    │   └── ProtectionError  a limit refused what was asked for: nothing moved, no light went on
    │       └── LightSpent   the light budget of a place, a cell or the run would be exceeded
    ├── FrameError           one frame is not what we handle: dropped and counted
    └── WireError            a message is malformed, too big or of another version: refused, counted
        └── StaleSlot        the ring slot was overwritten before or while it was read

A message says what was got, what was needed and what to change.
"""


class ScopeError(Exception):
    """Root of every error that the microscope side raises."""


class SettingsError(ScopeError):
    """Settings that cannot work; raised before any hardware moves."""


class RigError(ScopeError):
    """The hardware is missing, refused a command or was lost."""


class CameraTimeout(RigError):
    """No frame arrived within the time allowed."""


class FramesLost(RigError):
    """The camera's own buffer overflowed, or its frame counter jumped."""


class ProtectionError(RigError):
    """A limit that protects sample or instrument refused an event before anything happened."""


class LightSpent(ProtectionError):
    """The light budget of a place, a cell or the run would be exceeded.

    Parameters
    ----------
    sentence
        What was asked for and what is left.
    whole_run
        No place may get more light; False where another place or cell still may.
    """

    def __init__(self, sentence: str, *, whole_run: bool = False) -> None:
        super().__init__(sentence)
        self.whole_run = whole_run


class FrameError(ScopeError):
    """A frame that is not (y, x) uint8 or uint16."""


class WireError(ScopeError):
    """A message that is malformed, oversized or of another version."""


class StaleSlot(WireError):
    """The ring slot no longer holds the frame that its descriptor names."""
