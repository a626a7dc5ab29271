"""Recorded data as a camera: the same frames, at their own pace or as fast as asked for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Self

import numpy as np
import useq

from drivers.errors import CameraTimeout, RigError, SettingsError
from drivers.frame import Frame, FrameMeta
from drivers.mmcore_names import unknown
from drivers.replay_sources import Source, list_frames
from drivers.rig import ImageFormat, RigInfo, RigState
from drivers.settings import ReplaySettings

__all__ = ["EndOfData", "Move", "ReplayRig", "Source", "list_frames", "open_replay"]

Move = tuple[float | None, float | None, float | None]
"""A stage position (x, y, z), µm, that an event asked for; None where it asked for nothing."""


UNKNOWN_INTERVAL_MS = 1000.0
"""Taken between frames where neither file nor settings say; only speeds depend on it."""


class EndOfData(RigError):
    """Every recorded frame was given."""


def open_replay(settings: ReplaySettings) -> ReplayRig:
    """Rig of recorded frames; files are opened on entering its block."""
    return ReplayRig(settings)


class ReplayRig:
    """A ``Rig`` that gives recorded frames.

    Every frame is given once, in order, whatever the mode; only `latest` passes frames over, and
    only with original timing. Nothing can be moved: `apply` keeps what was asked for in `moves`,
    and frames keep position 0, for their pixels are where they were. An ROI is cut out.

    With ``timing: original`` frame *i* is due *i* intervals after the first; a sequence started
    with an interval of its own keeps to that. Waiting counts from a frame that is late, so a plan
    slower than the recording never has to catch up.
    """

    def __init__(self, settings: ReplaySettings) -> None:
        self._settings = settings
        self._source: Source | None = None
        self._info: RigInfo | None = None
        self._format = ImageFormat(0, 0, "uint16", 16, 0.0)
        self._mode = ""
        self._next = 0
        self._epoch = 0
        self._interval_ns = 0
        self._due_ns = 0
        self._left: int | None = None
        self._roi: useq.CameraROI | None = None
        self._event = useq.MDAEvent()
        self.moves: deque[Move] = deque(maxlen=10_000)
        """Stage positions asked for, newest last."""

    def __enter__(self) -> Self:
        """Find the frames; raises ``SettingsError`` naming the file that does not fit."""
        if self._source is not None:
            raise RigError("the replay rig is open already; leave its block first")
        wanted = self._settings
        source = list_frames(wanted.path, channel=wanted.channel)
        try:
            # The folder of a run may change format from one raw image to the next, as its camera
            # did; in a folder of files another size is a stray.
            if not all(part.path.name.endswith(".zarr") for part in source.parts):
                source.same_format()
            interval_ms = wanted.interval_ms or source.interval_ms
            if wanted.timing == "original" and not interval_ms:
                raise SettingsError(
                    f"{wanted.path} does not say the interval of its frames; give interval_ms, "
                    "or timing: fast"
                )
        except BaseException:
            source.close()
            raise
        self._source = source
        self._mode, self._next, self._epoch, self._due_ns = "", 0, 0, 0
        self._roi, self._event = None, useq.MDAEvent()
        self.moves.clear()
        self._recorded_ns = int(interval_ms * 1e6) if wanted.timing == "original" else 0
        self._frame_s = (interval_ms or UNKNOWN_INTERVAL_MS) / 1e3
        self._format = self._format_of(0)
        unsized = self._format.pixel_size_um == 0
        self._info = RigInfo(
            name="replay",
            camera=f"recorded frames, {wanted.timing} timing",
            config=str(source.path),
            software=f"{len(source.parts)} files",
            notes=("stage, focus, channel and light are as recorded; moves are only noted",)
            + (("no pixel size is known: positions stay in pixels",) if unsized else ()),
            frame_count=None if wanted.loop else len(source),
        )
        return self

    def __exit__(self, *exc: object) -> None:
        """Close all files. Safe to call twice."""
        if self._source is not None:
            self._source.close()
            self._source = None

    @property
    def info(self) -> RigInfo:
        """What is replayed."""
        self._open()
        assert self._info is not None
        return self._info

    def image_format(self) -> ImageFormat:
        """Shape, dtype and pixel size that the next frame will have."""
        self._open()
        return self._format

    def read_state(
        self, groups: Sequence[str] = (), properties: Sequence[tuple[str, str]] = ()
    ) -> RigState:
        """As the frames say: position 0, no presets; see ``Rig.read_state``."""
        self._open()
        for what, asked in (("configuration group", groups), ("device", properties)):
            if asked:
                raise RigError(unknown(what, str(asked[0]), ()))
        event = self._event
        channel = event.channel.config if event.channel else ""
        return RigState(0.0, 0.0, 0.0, event.exposure or 0.0, channel)

    def apply(self, event: useq.MDAEvent) -> None:
        """Note what the event asks for; cut out its ROI. Properties are refused."""
        self._open()
        if event.properties:
            raise RigError(unknown("device", str(event.properties[0][0]), ()))
        if event.roi is not None and event.roi != self._roi:
            self._cut(event.roi)
        if (event.x_pos, event.y_pos, event.z_pos) != (None, None, None):
            self.moves.append((event.x_pos, event.y_pos, event.z_pos))
        kept = {
            name: getattr(self._event, name)
            for name in ("channel", "exposure")
            if getattr(event, name) is None
        }
        self._event = event.model_copy(update=kept)

    def snap(self, timeout_s: float = 10.0) -> Frame:
        """Next recorded frame, when it is due; `EndOfData` after the last."""
        self._need("", "snap")
        if not self._due_ns:
            self._due_ns = time.monotonic_ns()
        self._interval_ns = self._recorded_ns
        self._await(timeout_s)
        # A snap exposes now, however long ago the frame could have been taken.
        self._due_ns = time.monotonic_ns()
        return self._give()

    def start_sequence(self, count: int | None, interval_ms: float = 0.0) -> None:
        """Give the next ``count`` frames through `read`."""
        if count is not None and count < 1:
            raise RigError(f"a sequence needs at least 1 frame, got {count}")
        self._start("sequence", interval_ms)
        self._left = count

    def sequence_room(self) -> int:
        """Frames that are left: a file overflows nothing."""
        return max(1, self._total())

    def start_live(self) -> None:
        """Let frames run by; `latest` gives the newest."""
        self._start("live mode", 0.0)

    def read(self, timeout_s: float) -> Frame:
        """Next frame of the sequence, when it is due; `EndOfData` after the last."""
        self._need("sequence", "read")
        if self._left == 0:
            raise RigError("all frames of the sequence were read; call stop()")
        self._await(timeout_s)
        frame = self._give()
        if self._left is not None:
            self._left -= 1
        return frame

    def latest(self, timeout_s: float) -> Frame:
        """Newest frame that is due; with timing ``fast`` simply the next."""
        self._need("live mode", "take the latest frame")
        self._await(timeout_s)
        if self._interval_ns:
            late = (time.monotonic_ns() - self._due_ns) // self._interval_ns
            passed = late if self._settings.loop else min(late, self._total() - 1 - self._next)
            self._next += passed
            self._due_ns += passed * self._interval_ns
        return self._give()

    def stop(self) -> None:
        """End a sequence or live mode. Safe to call when idle."""
        self._open()
        self._mode = ""

    def _open(self) -> Source:
        if self._source is None:
            raise RigError("the replay rig is not open; use it inside a with block")
        return self._source

    def _total(self) -> int:
        return len(self._open())

    def _need(self, mode: str, what: str) -> None:
        self._open()
        if self._mode != mode:
            now = f"{self._mode} is running" if self._mode else "nothing is running"
            cure = "call stop() first" if self._mode else f"start a {mode} first"
            raise RigError(f"cannot {what} while {now}; {cure}")

    def _start(self, mode: str, interval_ms: float) -> None:
        self._need("", f"start {mode}")
        self._mode = mode
        original = self._recorded_ns > 0
        self._interval_ns = int(interval_ms * 1e6) or self._recorded_ns if original else 0
        now = time.monotonic_ns()
        self._due_ns = max(now, self._due_ns) if self._interval_ns else now

    def _await(self, timeout_s: float) -> None:
        """Wait until the next frame is due."""
        if not self._settings.loop and self._next >= self._total():
            raise EndOfData(f"all {self._total()} frames of {self._settings.path} were given")
        deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
        if self._due_ns > deadline_ns:
            time.sleep(max(timeout_s, 0.0))
            raise CameraTimeout(
                f"no recorded frame is due within {timeout_s:g} s at an interval of "
                f"{self._interval_ns / 1e6:g} ms; allow more time or use timing: fast"
            )
        while (left_ns := self._due_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / 1e9)

    def _give(self) -> Frame:
        source, seq = self._open(), self._next
        index = seq % len(source)
        new = self._format_of(index)
        if (new.height, new.width, new.dtype) != (
            self._format.height,
            self._format.width,
            self._format.dtype,
        ):
            self._epoch += 1
        self._format = new
        pixels = source.read(index)
        if (roi := self._roi) is not None:
            rows = slice(roi.offset_y, roi.offset_y + roi.height)
            pixels = np.ascontiguousarray(pixels[rows, roi.offset_x : roi.offset_x + roi.width])
        captured_ns = self._due_ns if self._interval_ns else time.monotonic_ns()
        self._next = seq + 1
        self._due_ns += self._interval_ns
        event = self._event
        ours = event.metadata.get("parfocal")
        meta = FrameMeta(
            seq=seq,
            captured_ns=captured_ns,
            popped_ns=time.monotonic_ns(),
            exposure_ms=event.exposure or 0.0,
            channel=event.channel.config if event.channel else "",
            pixel_size_um=new.pixel_size_um,
            bit_depth=new.bit_depth,
            epoch=self._epoch,
            index=dict(event.index),
            pos_name=event.pos_name or "",
            recorded_s=seq * self._frame_s,
            decision=int(ours.get("decision", -1)) if isinstance(ours, dict) else -1,
        )
        return Frame(pixels, meta)

    def _format_of(self, index: int) -> ImageFormat:
        source = self._open()
        part, _ = source.part_of(index)
        height, width = part.shape
        if self._roi is not None:
            height, width = self._roi.height, self._roi.width
        size = self._settings.pixel_size_um or part.pixel_size_um or source.pixel_size_um
        return ImageFormat(height, width, part.dtype, 8 if part.dtype == "uint8" else 16, size)

    def _cut(self, roi: useq.CameraROI) -> None:
        part, _ = self._open().part_of(min(self._next, self._total() - 1))
        height, width = part.shape
        right, bottom = roi.offset_x + roi.width, roi.offset_y + roi.height
        if not roi.width or not roi.height or right > width or bottom > height:
            raise RigError(
                f"ROI x {roi.offset_x}-{right}, y {roi.offset_y}-{bottom} does not lie inside the "
                f"recorded image of {width} x {height} pixels"
            )
        self._roi = roi
        new = self._format_of(min(self._next, self._total() - 1))
        if (new.height, new.width) != (self._format.height, self._format.width):
            self._epoch += 1
        self._format = new
