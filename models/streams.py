"""What a pipeline remembers of its images, for each stream of them apart.

A stream is what one camera or one channel preset shows, by `ImageContext.channel`. Two of them at
one place show other things in the same pixels: a track must not go on in another stream, and
objects can be of another size there. Each stream therefore has its own tracker, learned size and
check of trust, and goes on as it would alone: the frames of others do not count as frames that it
missed. Only the numbers of tracks are counted together, so that no two tracks of a run share one.

Positions are no streams: on a calibrated stage one tracker knows them by their coordinates, so that
a cell in the overlap of two tiles is one cell. Nor is a changed shape of the image: there a track
goes on too, in stage coordinates.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from models.errors import PipelineError
from models.result import ImageContext
from models.settings import TrackSettings, TrustSettings
from models.tasks.learned import Learned

if TYPE_CHECKING:
    from models.pipeline import Segmenter
    from models.tasks.trust import Doubter
    from models.tracking import Tracker

STATE_VERSION = 3

MOST_STREAMS = 16
"""Streams remembered; beyond it the one unused for longest is forgotten."""


@dataclass(slots=True, eq=False)
class Stream:
    """What is remembered of one stream."""

    tracker: Tracker | None
    doubter: Doubter | None
    learned: Learned = field(default_factory=Learned)
    """Of the segmenter, as long as another stream has it."""
    frames: int = 0
    others: int = 0
    """Frames of other streams until now."""

    def own(self, context: ImageContext) -> ImageContext:
        """The context with the frames of other streams taken out of its number."""
        return replace(context, seq=context.seq - self.others) if self.others else context


class _Kept(msgspec.Struct, frozen=True):
    channel: str
    tracker: bytes
    learned: Learned
    frames: int


class _State(msgspec.Struct, frozen=True):
    version: int
    track: str
    """Settings of the trackers that wrote it."""
    next_id: int
    frames: int
    streams: tuple[_Kept, ...]
    """The one used last at the end."""


class Streams:
    """The streams of one pipeline; one thread uses it.

    Parameters
    ----------
    track, trust
        What each stream gets a tracker and a check of trust by, or None.
    segmenter
        Shared by all: whichever stream's turn it is, it knows that one's size of objects.

    Raises
    ------
    PipelineError
        When there is no network that ``trust`` could ask.
    """

    def __init__(
        self,
        track: TrackSettings | None,
        trust: TrustSettings | None,
        segmenter: Segmenter | None,
    ) -> None:
        self._track, self._trust, self._segmenter = track, trust, segmenter
        self._kept: OrderedDict[str, Stream] = OrderedDict()
        self._current: Stream | None = None
        self._channel = ""
        self._next_id = 1
        self._frames = 0
        self.forgotten = 0
        """Streams dropped because more than `MOST_STREAMS` were seen; they start afresh."""
        self._made()  # says now what cannot work

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, context: ImageContext) -> Stream:
        """The stream that the next image belongs to; the segmenter is set to it.

        Good until the next call.
        """
        stream = self._current
        if stream is None or context.channel != self._channel:
            stream = self._turn_to(context.channel)
        stream.frames += 1
        self._frames += 1
        stream.others = self._frames - stream.frames
        return stream

    def park(self) -> None:
        """Take from the segmenter and the tracker what belongs to the stream whose turn it was."""
        if self._current is None:
            return
        if self._segmenter is not None:
            self._current.learned = self._segmenter.learned
        if self._current.tracker is not None:
            self._next_id = self._current.tracker.next_id
        self._current = None

    def export_state(self) -> bytes:
        """Tracks and sizes of all streams, for ``restore_state`` of another process."""
        current, channel = self._current, self._channel
        self.park()
        # nothing of it has changed in the segmenter or the tracker
        self._current, self._channel = current, channel
        kept = (
            _Kept(
                channel,
                b"" if stream.tracker is None else stream.tracker.export_state(),
                stream.learned,
                stream.frames,
            )
            for channel, stream in self._kept.items()
        )
        numbers = self._next_id, self._frames
        state = _State(STATE_VERSION, self._fingerprint(), *numbers, tuple(kept))
        return msgspec.msgpack.encode(state)

    def restore_state(self, state: bytes) -> None:
        """Go on from ``export_state`` of another process.

        Raises
        ------
        PipelineError
            When the state is damaged, of another version or of a pipeline that tracks otherwise;
            then nothing has changed.
        """
        try:
            version = msgspec.msgpack.decode(state, type=_Version)
            same = version.version == STATE_VERSION and version.track == self._fingerprint()
            found = msgspec.msgpack.decode(state, type=_State) if same else None
        except msgspec.MsgspecError as error:
            raise PipelineError(f"saved tracks cannot be read: {error}") from error
        if found is None:
            raise PipelineError(
                f"saved tracks are of version {version.version} and settings {version.track}, need "
                f"version {STATE_VERSION} and {self._fingerprint()}; start without them"
            )
        kept: OrderedDict[str, Stream] = OrderedDict()
        for one in found.streams[-MOST_STREAMS:]:
            kept[one.channel] = stream = self._made()
            stream.learned, stream.frames = one.learned, one.frames
            if stream.tracker is not None:
                stream.tracker.restore_state(one.tracker)
        self._kept, self._current = kept, None
        self._next_id, self._frames = found.next_id, found.frames

    def _turn_to(self, channel: str) -> Stream:
        self.park()
        stream = self._kept.get(channel) or self._made()
        self._kept[channel] = stream
        self._kept.move_to_end(channel)
        while len(self._kept) > MOST_STREAMS:
            self._kept.popitem(last=False)
            self.forgotten += 1
        if stream.tracker is not None:
            stream.tracker.next_id = self._next_id
        if self._segmenter is not None:
            self._segmenter.restore(stream.learned)
        self._current, self._channel = stream, channel
        return stream

    def _made(self) -> Stream:
        tracker: Tracker | None = None
        doubter: Doubter | None = None
        if self._track is not None:
            from models.tracking import Tracker

            tracker = Tracker(self._track)
        if self._trust is not None:
            from models.tasks.network import NetworkSegmenter
            from models.tasks.trust import Doubter

            if not isinstance(self._segmenter, NetworkSegmenter):
                raise PipelineError(
                    "trust needs `segment` with a network; give one, or leave `trust` out"
                )
            doubter = Doubter(self._trust, self._segmenter)
        return Stream(tracker, doubter)

    def _fingerprint(self) -> str:
        return "" if self._track is None else self._track.model_dump_json()


class _Version(msgspec.Struct, frozen=True):
    """What is read first: the rest of another version can look otherwise."""

    version: int
    track: str
