"""The rig's side of training the denoiser during a run: start, watch, swap, write down.

Only bookkeeping happens here, on the supervisor's thread; the work is done by
``live.denoising.trainer``.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from live.denoising.journal import TrainingRow
from live.processes.children import ChildSpec
from live.processes.messages import (
    ConfigureTrainer,
    DenoiserSwapped,
    Fault,
    Message,
    SwapDenoiser,
    TrainDenoiser,
    TrainingProgress,
)
from live.recording.journal import Journal
from models import PipelineError, PipelineSettings
from models.catalog import weights_path
from models.settings import NetworkDenoiseSettings

ROLE: Final = "trainer"
ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)
PATIENCE_S: Final = 600.0
"""On a busy machine a process of the lowest priority may not run for minutes."""
LEAST_S: Final = 5.0
MOST_S: Final = 3600.0
MOST_TRAININGS: Final = 100
STATES_AT_WORK: Final = ("starting", "reading", "training")


class Post(Protocol):
    """The part of the supervisor that is needed here."""

    def start(self, spec: ChildSpec) -> bool:
        """Start one more child soon."""

    def send(self, role: str, message: Message) -> bool:
        """Give a message to a child."""


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """What does not change during a run."""

    run: Path
    models: Path
    """Folder for trained weights."""
    pipeline: PipelineSettings
    channel: str
    """Preset whose frames are analysed; empty for every frame."""
    window: bool
    """Whether there is a window to keep informed."""
    trainer: str = "live.denoising.trainer"
    """Module of the process that trains."""


class DenoiseTraining:
    """Trains on request, one training at a time. The supervisor's thread uses it.

    Parameters
    ----------
    facts
        Of the run.
    journal
        Keeps what became of each training.
    on_event
        Called with one sentence when something happened that the log should keep.
    """

    def __init__(
        self, facts: TrainingFacts, journal: Journal, on_event: Callable[[str], None]
    ) -> None:
        self._facts = facts
        self._journal = journal
        self._on_event = on_event
        self._row: TrainingRow | None = None
        self._rows: dict[int, TrainingRow] = {}
        self._count = 0
        self._weights = ""
        self.progress = TrainingProgress(state="", sentence="")

    @property
    def pipeline(self) -> PipelineSettings:
        """The pipeline as it runs now: one that takes over denoises with the newest weights."""
        settings, weights = self._facts.pipeline, self._weights
        if not weights or not isinstance(settings.denoise, NetworkDenoiseSettings):
            return settings
        newest = settings.denoise.model_copy(update={"model": weights})
        return settings.model_copy(update={"denoise": newest})

    def heard(self, role: str, message: Message, post: Post) -> bool:
        """Deal with a message if it is about training; False when it is not."""
        match message:
            case TrainDenoiser():
                if refused := self.ask(message, post):
                    self._on_event(f"training was not started: {refused}")
                    if self.progress.state not in STATES_AT_WORK:
                        self._tell(TrainingProgress(state="failed", sentence=refused), post)
            case TrainingProgress() if role == ROLE:
                self._follow(message, post)
            case Fault() if role == ROLE:
                if self.progress.state in STATES_AT_WORK:
                    self._end("failed", message.sentence, post)
            case DenoiserSwapped():
                self._swapped(message, post)
            case _:
                return False
        return True

    def ask(self, request: TrainDenoiser, post: Post) -> str:
        """Start a training; why not, in a sentence, or empty when it starts."""
        denoise = self._facts.pipeline.denoise
        if not isinstance(denoise, NetworkDenoiseSettings):
            return (
                "the pipeline does not denoise with a network; give it "
                "`denoise: {kind: network}` and run again"
            )
        if self.progress.state in STATES_AT_WORK:
            return "a training is going on already; wait until it is done"
        if self._count >= MOST_TRAININGS:
            return f"this run had {MOST_TRAININGS} trainings; start another run"
        if not LEAST_S <= request.seconds <= MOST_S:
            return f"{request.seconds:g} s was asked for, need {LEAST_S:g} to {MOST_S:g} s"
        try:
            start = Path(self._weights) if self._weights else weights_path(denoise.model)
        except PipelineError as error:
            return str(error)
        number = self._count + 1
        task = ConfigureTrainer(
            run=str(self._facts.run),
            channel=self._facts.channel,
            start=str(start),
            out=str(self._facts.models / f"denoise-{number}.onnx"),
            seconds=request.seconds,
            seed=number,
        )
        spec = ChildSpec(ROLE, self._facts.trainer, lambda: task, ONE_THREAD, False, PATIENCE_S)
        if not post.start(spec):
            return "a trainer is still ending; try again in a moment"
        self._count = number
        self._row = TrainingRow(
            number=number, asked_unix=time.time(), asked_by=request.by, start=start.name
        )
        self._write()
        self._on_event(f"training {number} of the denoiser was asked for by {request.by}")
        words = f"training {number} starts, with the lowest priority"
        self._tell(TrainingProgress(state="starting", sentence=words, left_s=request.seconds), post)
        return ""

    def trainings(self) -> list[dict[str, Any]]:
        """Every training so far, for the report."""
        return [
            {
                "number": row.number,
                "outcome": row.outcome,
                "frames": row.frames,
                "loss_start": None if math.isnan(row.loss_start) else row.loss_start,
                "loss_best": None if math.isnan(row.loss_best) else row.loss_best,
                "model": Path(row.path).name,
                "sha256": row.sha256,
                "first_seq": row.first_seq,
            }
            for row in self._rows.values()
        ]

    def close(self) -> None:
        """Write down what the end of the run cut short."""
        if self._row is not None and self.progress.state in STATES_AT_WORK:
            self._change(outcome="cut short: the run ended")

    def _follow(self, word: TrainingProgress, post: Post) -> None:
        if word.state in STATES_AT_WORK:
            if self._row is not None and word.frames and not self._row.frames:
                self._change(frames=word.frames)
            self._tell(word, post)
            return
        self._change(
            frames=word.frames, loss_start=word.loss_start, loss_best=word.loss_best,
            ended_unix=time.time(),
        )  # fmt: skip
        if word.state != "better":
            self._end(word.state, word.sentence, post, word)
            return
        try:
            sha256 = hashlib.sha256(Path(word.model).read_bytes()).hexdigest()
        except OSError as error:
            self._end("failed", f"the trained weights cannot be read: {error}", post)
            return
        self._change(path=word.model, sha256=sha256, outcome="better: swap ordered")
        self._on_event(f"training {self._count}: {word.sentence}; inference is told to swap")
        self._tell(word, post)
        if not post.send("inference", SwapDenoiser(path=word.model, sha256=sha256)):
            self._end("failed", "inference could not be told to swap; the old weights stay", post)

    def _swapped(self, message: DenoiserSwapped, post: Post) -> None:
        if message.failed:
            self._end("failed", f"the old weights stay: {message.failed}", post)
            return
        self._weights = message.path
        name = f"{Path(message.path).name} ({message.sha256[:12]})"
        words = f"denoised by {name} from frame {message.first_seq} on"
        self._change(outcome="swapped", first_seq=message.first_seq)
        self._on_event(f"the denoiser was swapped: {words}")
        last = self.progress
        self._tell(msgspec.structs.replace(last, state="swapped", sentence=words), post)

    def _end(
        self, state: str, sentence: str, post: Post, word: TrainingProgress | None = None
    ) -> None:
        self._change(outcome=state if state == "not better" else f"failed: {sentence}")
        self._on_event(f"training {self._count}: {sentence}")
        last = word or TrainingProgress(state=state, sentence=sentence)
        self._tell(msgspec.structs.replace(last, state=state, sentence=sentence), post)

    def _tell(self, word: TrainingProgress, post: Post) -> None:
        self.progress = word
        if self._facts.window:
            post.send("display", word)

    def _change(self, **values: Any) -> None:
        if self._row is not None:
            self._row = replace(self._row, **values)
            self._write()

    def _write(self) -> None:
        if self._row is not None:
            self._rows[self._row.number] = self._row
            self._journal.put("trainings", [self._row.values()])
