"""What the tracker remembers, as plain values that another process can read."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import PipelineError
from models.tracking.bodies import PROBES
from models.tracking.costs import Habits
from models.tracking.fates import Odds
from models.tracking.visits import Visit

VERSION = 4

TRACK_DTYPE = np.dtype(
    [
        ("id", np.int64),
        ("seen", np.int32),  # frames in which it was found
        ("missed", np.int32),  # frames since in which it was in view and not found
        ("daughter", np.bool_),  # it began with a division
        ("clock", np.float64),  # when it was last found, as ``Memory.clock``
        ("place", np.float64, (2,)),  # y, x in world units (µm on the stage, or pixels)
        ("speed", np.float64, (2,)),  # world units in one interval
        ("spread", np.float64, (3,)),  # second moments yy, xx, xy, world units squared
        ("shaped", np.bool_),
        ("sized", np.bool_),
        ("area", np.float64),  # world units squared
        ("born", np.float64),  # the area when it was first found
        ("probes", np.float32, (PROBES, 2)),  # world offsets from the place, or AWAY
    ]
)


class Memory(msgspec.Struct):
    """Everything that the next frame depends on beside the tracks themselves."""

    next_id: int = 1
    frames: int = 0
    clock: float = 0.0
    """Frames since the first; a pause counts as the frames that it could have held."""
    time_s: float = 0.0
    """Of the last frame."""
    seq: int = 0
    interval_s: float = 0.0
    """Usual time between frames; 0 before the second."""
    revisit: float = 1.0
    """Usual clock between two sightings of a track; above 1 where the stage goes round."""
    calibrated: bool = False
    wander: float = Habits().wander
    growth: float = Habits().growth
    area_sd: float = Habits().area_sd
    ends: float = Habits().ends
    edge_ends: float = Habits().edge_ends
    births: float = Habits().births
    edge_births: float = Habits().edge_births
    misses: float = Habits().misses
    divisions: float = Habits().divisions
    apart: float = Habits().apart
    apart_sd: float = Habits().apart_sd
    whole: float = Habits().whole
    divided: float = 0.0
    """Divisions that these three rest on."""
    inner_seen: float = 0.0
    """Tracks that the rates rest on, and those at the border."""
    edge_seen: float = 0.0
    odds: Odds = msgspec.field(default_factory=Odds)
    """What sizes and ages have meant."""
    usual_area: float = 0.0
    """Median area of the last frame's objects, world units squared; 0 where none is known."""
    shown: tuple[tuple[float, float], tuple[float, float]] | None = None
    """Low and high corner (y, x) of what the last frame showed, in world units."""
    visits: tuple[Visit, ...] = ()
    """Fields that were shown lately, the newest last."""
    persistence: float = 0.0
    """How much of the last displacement is usually repeated, 0 to 1."""

    def tick(self, seq: int, time_s: float) -> None:
        """Set the clock on to the next frame.

        It counts frames, and goes by time only where time disagrees fourfold: the jitter of a
        camera changes nothing, a pause or a burst does.
        """
        if self.frames:
            frames = max(1, seq - self.seq)
            apart = (time_s - self.time_s) / frames
            if apart > 0:
                usual = self.interval_s or apart
                doublings = math.log2(apart / usual)
                factor = 1.0 if abs(doublings) <= 2 else 2.0 ** round(doublings)
                self.interval_s = usual + 0.05 * (min(apart, 4 * usual) - usual)
            else:
                factor = 1.0
            self.clock += min(frames * factor, 1e6)
        self.seq, self.time_s = seq, time_s
        self.frames += 1

    @property
    def habits(self) -> Habits:
        """What is usual in this movie."""
        return Habits(
            wander=self.wander,
            growth=self.growth,
            area_sd=self.area_sd,
            ends=self.ends,
            edge_ends=self.edge_ends,
            births=self.births,
            edge_births=self.edge_births,
            misses=self.misses,
            divisions=self.divisions,
            apart=self.apart,
            apart_sd=self.apart_sd,
            whole=self.whole,
        )


class _Saved(msgspec.Struct, frozen=True):
    version: int
    memory: Memory
    count: int
    tracks: bytes


def encode(memory: Memory, tracks: NDArray[np.void]) -> bytes:
    """Memory and tracks as msgpack; size is linear in tracks, which are limited."""
    return msgspec.msgpack.encode(_Saved(VERSION, memory, len(tracks), tracks.tobytes()))


def decode(state: bytes, max_tracks: int) -> tuple[Memory, NDArray[np.void]]:
    """The inverse of ``encode``.

    Raises
    ------
    PipelineError
        When the bytes are damaged, of another version or of more tracks than allowed.
    """
    try:
        saved = msgspec.msgpack.decode(state, type=_Saved)
    except msgspec.MsgspecError as error:
        raise PipelineError(f"saved tracks cannot be read: {error}") from error
    size = len(saved.tracks)
    if saved.version != VERSION or size != saved.count * TRACK_DTYPE.itemsize:
        raise PipelineError(
            f"saved tracks: got version {saved.version}, {saved.count} tracks in {size} bytes, "
            f"need version {VERSION} and {TRACK_DTYPE.itemsize} bytes a track"
        )
    if saved.count > max_tracks:
        raise PipelineError(f"saved tracks: got {saved.count}, at most {max_tracks} are kept")
    return saved.memory, np.frombuffer(saved.tracks, dtype=TRACK_DTYPE).copy()
