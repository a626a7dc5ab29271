"""The window's process: messages in, plain values out to ``live.display``.

Started by the supervisor as ``python -m live.processes.window --control ADDRESS``. The window asks
this feed from its own timer; each question reads what has arrived, keeps the newest and counts the
rest, so nothing queues up here and no thread is needed.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path

import zmq

from drivers import FrameReceiver, RingReader, WireError, px_to_um
from drivers.ring import FILLED_S
from live.display import (
    RuleLine,
    ShownFrame,
    ShownQuestion,
    ShownResult,
    ShownStatus,
    ShownTraining,
)
from live.display.app import run_window
from live.display.errors import DisplayError
from live.processes.control import Control, RigGone
from live.processes.messages import (
    ConfigureDisplay,
    Fault,
    Ready,
    Result,
    Status,
    Steer,
    Stop,
    TrainDenoiser,
    TrainingProgress,
    objects_from_bytes,
)

ROLE = "display"
CONFIGURE_TIMEOUT_S = 30.0
MOST_MESSAGES_A_POLL = 200


class WireFeed:
    """Newest frame, result and status, as they come over the sockets. One thread uses it."""

    def __init__(self, control: Control, receiver: FrameReceiver) -> None:
        self._control = control
        self._receiver = receiver
        self._rings = RingReader()
        self._status = ShownStatus()
        self._result: Result | None = None
        self._closed = False
        self._passed_over = 0
        self._shown: deque[int] = deque(maxlen=64)

    def newest_frame(self) -> ShownFrame | None:
        """Newest frame that is whole, copied out of the ring."""
        received = self._receiver.newest(0.0)
        if received is None:
            return None
        pixels = received.pixels.copy()
        if not self._receiver.check(received):
            return None
        meta = received.meta
        self._shown.append(meta.seq)
        return ShownFrame(
            pixels=pixels,
            seq=meta.seq,
            captured_ns=meta.captured_ns,
            x_um=meta.x_um,
            y_um=meta.y_um,
            pixel_size_um=meta.pixel_size_um,
            channel=meta.channel,
            bit_depth=meta.bit_depth,
            exposure_ms=meta.exposure_ms,
            px_to_um=px_to_um(meta, pixels.shape),
        )

    def newest_result(self) -> ShownResult | None:
        """Newest result whose label image is still in the ring."""
        self._listen()
        result, self._result = self._result, None
        if result is None or result.ref is None:
            return None
        try:
            planes = self._rings.copy(result.ref, FILLED_S)
            objects = objects_from_bytes(result.objects)
        except WireError:
            self._passed_over += 1
            return None
        return ShownResult(
            seq=result.meta.seq,
            labels=planes["labels"],
            objects=objects,
            denoised=planes.get("denoised"),
            x_um=result.meta.x_um,
            y_um=result.meta.y_um,
            pixel_size_um=result.meta.pixel_size_um,
            captured_ns=result.meta.captured_ns,
            channel=result.meta.channel,
            classes=result.classes,
            verdict=result.verdict,
            denoise=result.denoise,
        )

    def status(self) -> ShownStatus:
        """The status that came last."""
        self._listen()
        return self._status

    def closed(self) -> bool:
        """True once the run is over or the rig process has gone."""
        self._listen()
        return self._closed

    def close(self) -> None:
        """Let go of the rings."""
        self._rings.close()

    def _listen(self) -> None:
        if self._closed:
            return
        drops = {f"display_{stage}": n for stage, n in self._receiver.drops.items()}
        drops["display_results"] = self._passed_over
        self._control.beat(drops, 0.0)
        for _ in range(MOST_MESSAGES_A_POLL):
            try:
                message = self._control.receive(0.0)
            except RigGone:
                self._closed = True
                return
            match message:
                case None:
                    return
                case Result():
                    self._passed_over += self._result is not None
                    self._result = message
                case Status():
                    self._status = replace(_shown_status(message), training=self._status.training)
                case TrainingProgress():
                    self._status = replace(self._status, training=_shown_training(message))
                case Stop():
                    self._closed = True
                    return


def _shown_status(status: Status) -> ShownStatus:
    return ShownStatus(
        camera_hz=status.camera_hz,
        inference_hz=status.inference_hz,
        drops=status.drops,
        engine=status.engine,
        latency_ms=status.latency_ms,
        rules=[RuleLine(*line, status.modes.get(line[0], "auto")) for line in status.rules],
        events=status.events,
        recorded=status.recorded,
        captured=status.captured,
        phase=status.phase,
        warning=status.warning,
        target_um=status.target_um,
        asked=[ShownQuestion(a.number, a.rule, a.text, a.left_s) for a in status.asked],
    )


def _shown_training(word: TrainingProgress) -> ShownTraining:
    return ShownTraining(
        word.state, word.sentence, word.done, word.left_s, word.loss_start, word.loss_best,
        word.frames,
    )  # fmt: skip


def show(control: Control, context: zmq.Context[zmq.Socket[bytes]]) -> int:
    """Wait to be configured, then run the window until it or the run ends; the exit code."""
    message = control.receive(CONFIGURE_TIMEOUT_S)
    if not isinstance(message, ConfigureDisplay):
        return 0 if isinstance(message, Stop) else 1
    with FrameReceiver(context, message.frames, queue=8) as receiver:
        feed = WireFeed(control, receiver)
        control.send(Ready(role=ROLE))
        picture = Path(message.screenshot)
        try:
            code = run_window(
                feed,
                title=message.title,
                offscreen=message.offscreen,
                screenshot=picture,
                on_close=lambda: None,
                snapshot_dir=picture.parent,
                taught_dir=Path(message.taught) if message.taught else None,
                on_train=lambda: control.send(TrainDenoiser()),
                on_steer=lambda words: control.send(Steer(words=words)),
            )
        finally:
            feed.close()
        # Only a window that someone closed ends the run; one that failed is opened again.
        if not feed.closed():
            control.send(Stop(reason="the window was closed"))
        return code


def main() -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description="Parfocal's window process (internal)")
    parser.add_argument("--control", required=True, help="the rig's control socket")
    address = parser.parse_args().control
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with Control(context, address, ROLE) as control:
            try:
                return show(control, context)
            except RigGone:
                return 0
            except (ImportError, DisplayError) as error:
                sentence = f"the window cannot be drawn here: {error}"
                control.send(Fault(role=ROLE, sentence=sentence, fatal=True))
                return 2
    finally:
        context.destroy(linger=500)


if __name__ == "__main__":
    sys.exit(main())
