"""The trainer process: trains the denoiser on the frames of the run that is going on.

Started by the supervisor on request as ``python -m live.denoising.trainer --control ADDRESS``. It
gives way to every other process, reads only what the run has already written to disk, and ends when
it is done; its death changes nothing.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
import time
from pathlib import Path

import zmq

from drivers import ScopeError
from live.denoising.frames import training_frames
from live.denoising.train import Step, TrainingStopped, train_and_write, training_missing
from live.errors import LiveError
from live.processes.background import give_way
from live.processes.control import Control, RigGone
from live.processes.messages import ConfigureTrainer, Message, Ready, Stop, TrainingProgress
from models import ModelError

ROLE = "trainer"
CONFIGURE_TIMEOUT_S = 30.0
PROGRESS_EVERY_S = 0.5
MOST_WORDS = 64
LISTEN_S = 0.1
SILENT_S = 20.0
SILENT_TIMES = 50


class Work:
    """Trains on a thread of its own, so that the control socket is always answered.

    Parameters
    ----------
    task
        What to do.
    """

    def __init__(self, task: ConfigureTrainer) -> None:
        self._task = task
        self._stop = threading.Event()
        self._words: queue.Queue[TrainingProgress] = queue.Queue(MOST_WORDS)
        self._last_s = 0.0
        self._frames = 0
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end at the next step, with nothing written."""
        self._stop.set()

    @property
    def over(self) -> bool:
        """Whether it has ended and all that it said was read."""
        return not self._thread.is_alive() and self._words.empty()

    def words(self) -> list[TrainingProgress]:
        """What it said since the last time."""
        out: list[TrainingProgress] = []
        while True:
            try:
                out.append(self._words.get_nowait())
            except queue.Empty:
                return out

    def _say(self, word: TrainingProgress) -> None:
        # the last word is the one that counts: an older one gives way to it
        while True:
            try:
                self._words.put_nowait(word)
            except queue.Full:
                self.words()
            else:
                return

    def _run(self) -> None:
        try:
            self._say(self._train())
        except (LiveError, ScopeError, ModelError, OSError) as error:
            self._say(TrainingProgress(state="failed", sentence=str(error)))
        except TrainingStopped:
            self._say(TrainingProgress(state="failed", sentence="training was ended by the run"))
        except Exception as error:
            self._say(TrainingProgress(state="failed", sentence=f"training broke: {error!r}"))
            raise

    def _train(self) -> TrainingProgress:
        task = self._task
        if missing := training_missing():
            return TrainingProgress(state="failed", sentence=missing)
        frames = training_frames(Path(task.run), channel=task.channel)
        self._frames = len(frames.pixels)
        self._say(
            TrainingProgress(
                state="training", sentence=f"training on {frames.source}",
                left_s=task.seconds, frames=self._frames,
            )
        )  # fmt: skip
        trial = train_and_write(
            frames, Path(task.start), Path(task.out), seconds=task.seconds, seed=task.seed,
            progress=self._step,
        )  # fmt: skip
        if self._stop.is_set():
            raise TrainingStopped
        return TrainingProgress(
            state="better" if trial.better else "not better", sentence=trial.sentence(), done=1.0,
            loss_start=trial.loss_start, loss_best=trial.loss_best, frames=trial.frames,
            model=str(trial.model or ""), picture=str(trial.picture),
        )  # fmt: skip

    def _step(self, step: Step) -> None:
        if self._stop.is_set():
            raise TrainingStopped
        now = time.monotonic()
        if now - self._last_s < PROGRESS_EVERY_S:
            return
        self._last_s = now
        self._say(
            TrainingProgress(
                state="training", sentence="training", done=step.done, left_s=step.left_s,
                loss_start=step.loss_start, loss_best=step.loss_best, frames=self._frames,
            )
        )  # fmt: skip


class Ear:
    """Hears the rig, and knows its silence from our own sleep.

    A process that gives way to all others may not run for seconds. When it does again, what the
    rig said meanwhile has not been fetched yet, which looks as if the rig were gone.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self._silent = 0
        self._heard_s = time.monotonic()

    def listen(self) -> Message | None:
        """Next message within a moment; raises ``RigGone`` after long silence while awake."""
        try:
            word = self._control.receive(LISTEN_S)
        except RigGone:
            self._silent += 1
            if self._silent < SILENT_TIMES or time.monotonic() - self._heard_s < SILENT_S:
                time.sleep(LISTEN_S)
                return None
            raise
        self._silent, self._heard_s = 0, time.monotonic()
        return word


def serve(control: Control) -> int:
    """Wait to be configured, train, say how it goes, and end; the exit code."""
    task = control.receive(CONFIGURE_TIMEOUT_S)
    if not isinstance(task, ConfigureTrainer):
        return 0 if isinstance(task, Stop) else 1
    control.send(Ready(role=ROLE))
    control.send(TrainingProgress(state="reading", sentence="reading recorded frames"))
    work = Work(task)
    work.start()
    ear = Ear(control)
    while True:
        word = ear.listen()
        if isinstance(word, Stop):
            work.stop()
            return 0
        for said in work.words():
            control.send(said)
        if work.over:
            return 0
        control.beat({}, 0.0)


def main() -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description="Parfocal's trainer process (internal)")
    parser.add_argument("--control", required=True, help="the rig's control socket")
    address = parser.parse_args().control
    for refused in give_way():
        sys.stderr.write(f"priority stays higher than wanted: {refused}\n")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with Control(context, address, ROLE) as control:
            try:
                return serve(control)
            except RigGone as error:
                sys.stderr.write(f"{os.getpid()}: {error}; ending\n")
                return 0
    finally:
        context.destroy(linger=500)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # a training thread may still be inside torch, which cannot be ended in order
    os._exit(code)
