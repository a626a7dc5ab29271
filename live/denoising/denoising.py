"""All that a run does about denoising, in one place: reports noted, trainings followed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from live.denoising.log import DenoiseLog
from live.denoising.training import DenoiseTraining, Post, TrainingFacts
from live.processes.messages import Message, Result, TrainDenoiser
from live.recording.journal import Journal
from models import EngineInfo, PipelineSettings


class Denoising:
    """Made before the run opens anything; `begin` comes before anything else is called.

    Parameters
    ----------
    run
        Folder of the run; trained weights go to ``models`` in it.
    pipeline
        As it begins.
    channel
        Preset whose frames are analysed; empty for every frame.
    window
        Whether there is a window to keep informed.
    trainer
        Module of the trainer process.
    """

    def __init__(
        self,
        run: Path,
        pipeline: PipelineSettings,
        channel: str,
        *,
        window: bool,
        trainer: str = "live.denoising.trainer",
    ) -> None:
        self._facts = TrainingFacts(run, run / "models", pipeline, channel, window, trainer)
        self._log: DenoiseLog | None = None
        self._training: DenoiseTraining | None = None
        self._model = ""
        self._post: Post | None = None
        self._lock = threading.RLock()

    def begin(self, journal: Journal, on_event: Callable[[str], None]) -> None:
        """Take the journal and the log of the run."""
        self._log = DenoiseLog(journal, on_event)
        self._training = DenoiseTraining(self._facts, journal, on_event)

    def connect(self, post: Post) -> None:
        """Take what starts processes and carries messages; before, nothing is trained."""
        self._post = post

    @property
    def pipeline(self) -> PipelineSettings:
        """The pipeline with the newest weights, for an inference process that takes over."""
        return self._facts.pipeline if self._training is None else self._training.pipeline

    def heard(self, role: str, message: Message) -> bool:
        """Note a result; deal with a message about training. False: others deal with it too."""
        if isinstance(message, Result):
            if self._log is not None:
                self._log.see(message.denoise)
            return False
        if self._training is None or self._post is None:
            return False
        with self._lock:
            return self._training.heard(role, message, self._post)

    def train(self, request: TrainDenoiser) -> str:
        """Start a training; why not, in a sentence, or empty when it starts. For any thread."""
        if self._training is None or self._post is None:
            return "the run is beginning or ending; nothing can be trained now"
        with self._lock:
            return self._training.ask(request, self._post)

    def engine(self, result: Result, engine: EngineInfo) -> EngineInfo:
        """The engine with the weights that denoised this result in place of those before."""
        if result.denoise is None:
            return engine
        before, self._model = self._model, result.denoise.model
        if not before or before == self._model:
            return engine
        return replace(engine, model=engine.model.replace(before, self._model))

    def close(self) -> None:
        """Write down what the end of the run cut short."""
        with self._lock:
            self._post = None
            if self._training is not None:
                self._training.close()

    def summary(self) -> dict[str, Any]:
        """For the report; empty where no network denoised."""
        if self._log is None or self._training is None:
            return {}
        found = self._log.summary()
        if found:
            found["trainings"] = self._training.trainings()
        return found

    def notes(self) -> tuple[str, ...]:
        """Sentences for people; none for a good run."""
        return () if self._log is None else self._log.note()
