"""One run from beginning to end: opens everything in order, images, and adds up what came of it.

This is the rig process: no torch, TensorRT or Qt. Inference and window are children that may die.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import zmq
from rich.console import Console

from drivers import (
    EndOfData,
    FrameRing,
    FrameSender,
    ImageFormat,
    Rig,
    RigError,
    RigInfo,
    open_rig,
)
from drivers.sharedmem import sweep
from live.acquire import Acquisition, Outlets, Pace
from live.childspecs import child_specs
from live.decider import Decider
from live.errors import ExitCode, Problem, SettingsProblems
from live.journal import Journal
from live.ledger import Ledger
from live.messages import ConfigureDisplay, Fault, Message, Ready, Result, Stop
from live.outcome import Outcome
from live.plan import Plan
from live.planfacts import plan_facts, plan_problems
from live.recorder import Recorder, RecorderSettings
from live.recorderrors import RecorderError
from live.report import RunParts, RunReport, engine_line, report_of, rig_facts
from live.runfolder import RunFolder
from live.runlog import RunLog
from live.settings import ExperimentSettings, RuleSettings
from live.signals import EndRequests
from live.statusboard import StatusBoard
from live.supervisor import Supervisor
from live.yamlfile import key_text
from models import EngineInfo

WARM_UP_TIMEOUT_S = 180.0
LAST_ANSWERS_S = 5.0


class Session:
    """A run of one experiment.

    Parameters
    ----------
    settings
        The experiment, checked.
    folder
        Where everything is written; new and empty.
    headless
        No window.
    seconds
        End imaging after this time; None runs the plan to its end.
    offscreen
        Draw the window without a display and keep its picture.
    console
        Where people read.
    """

    def __init__(
        self,
        settings: ExperimentSettings,
        folder: RunFolder,
        *,
        headless: bool = True,
        seconds: float | None = None,
        offscreen: bool = False,
        console: Console | None = None,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._headless = headless
        self._offscreen = offscreen
        self._seconds = seconds
        self._console = console or Console(quiet=True)
        self._ledger = Ledger()
        self._plan = Plan(settings.plan)
        self._facts = plan_facts(settings.plan)
        self._stop = threading.Event()
        self._outcome = Outcome()

    def run(self) -> RunReport:
        """Do it; raises only what is wrong before imaging starts, reports the rest."""
        for name in sweep():
            self._console.print(f"Removed shared memory that a dead run had left: {name}")
        with contextlib.ExitStack() as stack:
            ends = stack.enter_context(EndRequests(self._end))
            rig = stack.enter_context(open_rig(self._settings.rig))
            info, image = rig.info, rig.image_format()
            self._introduce(info, image)
            self._check(info)
            return self._run_on(rig, info, image, ends)

    def _run_on(self, rig: Rig, info: RigInfo, image: ImageFormat, ends: EndRequests) -> RunReport:
        with contextlib.ExitStack() as stack:
            journal = stack.enter_context(Journal(self._folder.journal))
            log = stack.enter_context(RunLog(self._folder.log, journal, self._console))
            self._folder.experiment.write_text(self._settings.to_yaml(), encoding="utf-8")
            journal.set_run(experiment=self._settings.name, **rig_facts(info))
            recorder = stack.enter_context(Recorder(self._folder, journal, self._recording()))
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            stack.callback(context.destroy, 0)
            ring = FrameRing(self._settings.inference.ring_mb)
            stack.callback(ring.close)
            analysis = stack.enter_context(FrameSender(context))
            view = None if self._headless else stack.enter_context(FrameSender(context, queue=8))
            recorded_data = info.frame_count is not None
            pace = Pace(ahead=2) if self._settings.inference.policy == "wait" else None
            decider = Decider(
                self._settings.rules,
                plan=self._plan,
                recorder=recorder,
                journal=journal,
                ledger=self._ledger,
                pace=pace,
                carry_out=not recorded_data,
                group=info.channel_group,
                interval_s=self._facts.interval_s,
                on_rule_failed=self._rule_failed,
                on_event=log.add,
            )
            stack.callback(decider.close)
            outlets = Outlets(
                ring,
                recorder,
                self._ledger,
                analysis,
                self._analysed_channel(),
                view,
                1 / self._settings.display.rate_hz,
            )
            acquisition = Acquisition(
                rig,
                self._plan,
                outlets,
                pace=pace,
                on_burst=decider.burst_ended,
                on_burst_start=decider.burst_started,
            )
            board = StatusBoard(
                acquisition, recorder, decider, self._ledger, self._plan, log, analysis
            )
            supervisor = Supervisor(
                context,
                child_specs(
                    self._settings,
                    image,
                    analysis.address,
                    lambda: decider.state,
                    self._window(view),
                ),
                on_message=lambda role, message: self._heard(
                    role, message, decider, log, board, supervisor
                ),
                on_tick=lambda: self._tick(board, supervisor),
                on_event=log.add,
                on_restart=journal.add_restart,
                logs=self._folder.path / "logs",
                port=self._settings.inference.port,
            )
            with supervisor:
                self._image(acquisition, supervisor, decider, log)
                self._await_last_answers(acquisition, supervisor, decider)
            board.sample()
            self._close(recorder)
            self._judge(supervisor, decider, recorder)
            for stage, count in board.drops(supervisor).items():
                journal.add_drops(stage, count)
            decider.close()
            journal.finish(self._outcome.state(interrupted=bool(ends.count)), self._outcome.reason)
        self._outcome.add_up(self._folder, acquisition.counts.captured)
        return report_of(
            RunParts(
                rig, info, acquisition, recorder.stats(), decider, supervisor, board,
                self._ledger, self._outcome, self._folder,
            )
        )  # fmt: skip

    # --- before -----------------------------------------------------------------------------

    def _introduce(self, info: RigInfo, image: ImageFormat) -> None:
        scale = f"{image.pixel_size_um:g} µm/px" if image.pixel_size_um else "uncalibrated"
        lines = [
            f"Rig {info.name}: camera {info.camera}, {image.width} x {image.height} "
            f"{image.dtype} ({image.bit_depth} bit), {scale}",
            f"Configuration: {info.config}" if info.config else "",
            f"Device adapters: {info.adapters}" if info.adapters else "",
            f"Driven by {info.software}" if info.software else "",
            *(f"Note: {note}" for note in info.notes),
            f"Recording to {self._folder.path}",
        ]
        for line in filter(None, lines):
            self._console.print(line, markup=False, soft_wrap=True)

    def _check(self, info: RigInfo) -> None:
        found = plan_problems(self._settings, self._facts, info)
        if found:
            raise SettingsProblems(Problem("", key_text(key), text) for key, text in found)

    def _recording(self) -> RecorderSettings:
        record = self._settings.record
        return RecorderSettings(
            labels=record.labels,
            denoised=record.denoised,
            reserve_bytes=record.reserve_mb * 1_000_000,
            interval_s=self._facts.interval_s or None,
        )

    def _analysed_channel(self) -> str:
        """Preset whose frames inference gets; empty for every frame."""
        chosen = self._settings.inference.channel
        if chosen is not None:
            return chosen
        channels = self._settings.plan.channels
        return channels[0].config if channels else ""

    def _window(self, view: FrameSender | None) -> ConfigureDisplay | None:
        if view is None:
            return None
        return ConfigureDisplay(
            frames=view.address,
            title=f"Parfocal: {self._settings.name}",
            offscreen=self._offscreen,
            screenshot=str(self._folder.picture),
            taught=str(self._folder.taught),
        )

    # --- during -----------------------------------------------------------------------------

    def _image(
        self, acquisition: Acquisition, supervisor: Supervisor, decider: Decider, log: RunLog
    ) -> None:
        with self._console.status("Warming up the pipeline ..."):
            ready = self._wait_warm(supervisor)
        if self._stop.is_set():
            return
        if ready:
            engine = decider.engine
            what = self._analysed_channel() or "every frame"
            log.add(f"Pipeline {self._settings.pipeline.name}: {engine_line(engine)}, on {what}")
        else:
            log.add("Inference is not ready; imaging goes on without it.")
        timer = None
        if self._seconds is not None:
            timer = threading.Timer(self._seconds, self._end, ("the time asked for is over",))
            timer.daemon = True
            timer.start()
        try:
            acquisition.run(self._stop)
            self._outcome.end("the plan is done")
        except EndOfData:
            self._outcome.end("the recorded data is at its end")
        except RigError as error:
            sentence = f"the microscope failed: {error}"
            self._outcome.wrong(ExitCode.HARDWARE, sentence, ends=True)
        except RecorderError as error:
            self._outcome.wrong(ExitCode.FRAMES_LOST, f"recording failed: {error}", ends=True)
        finally:
            self._plan.close()
            if timer is not None:
                timer.cancel()
                timer.join(1.0)

    def _wait_warm(self, supervisor: Supervisor) -> bool:
        deadline = time.monotonic() + WARM_UP_TIMEOUT_S
        while time.monotonic() < deadline and not self._stop.is_set():
            if supervisor.wait_ready("inference", 0.2):
                return True
            if supervisor.given_up("inference") or supervisor.failure is not None:
                return False
        return False

    def _heard(
        self,
        role: str,
        message: Message,
        decider: Decider,
        log: RunLog,
        board: StatusBoard,
        supervisor: Supervisor,
    ) -> None:
        match message:
            case Result():
                decider.take(message)
                if not self._headless:
                    board.forward(message, supervisor)
            case Ready() if role == "inference":
                decider.engine = EngineInfo(
                    message.engine, message.precision, message.device, message.model
                )
                log.add(f"inference is ready: {engine_line(decider.engine)}")
            case Fault():
                log.add(f"{role}: {message.sentence}")
            case Stop():
                self._end(message.reason)
            case _:
                pass

    def _tick(self, board: StatusBoard, supervisor: Supervisor) -> None:
        board.sample()
        if not self._headless:
            board.publish(supervisor)

    def _await_last_answers(
        self, acquisition: Acquisition, supervisor: Supervisor, decider: Decider
    ) -> None:
        """Give inference time to answer the last frames, as long as answers keep coming."""
        last = acquisition.counts.last_sent
        deadline = time.monotonic() + LAST_ANSWERS_S
        seen = decider.seen.last_seq
        while decider.seen.last_seq < last and time.monotonic() < deadline:
            if not supervisor.is_ready("inference"):
                return
            time.sleep(0.01)
            if decider.seen.last_seq != seen:
                seen = decider.seen.last_seq
                deadline = time.monotonic() + LAST_ANSWERS_S

    def _end(self, reason: str) -> None:
        self._outcome.end(reason)
        self._stop.set()
        self._plan.close()

    def _rule_failed(self, rule: RuleSettings, sentence: str) -> None:
        self._outcome.wrong(ExitCode.RULE_FAILED, f"rule '{rule.name}': {sentence}")
        if rule.on_error == "stop":
            self._end(f"rule '{rule.name}' failed")

    # --- after ------------------------------------------------------------------------------

    def _close(self, recorder: Recorder) -> None:
        with self._console.status("Writing what is still in memory ..."):
            try:
                recorder.close()
            except RecorderError as error:
                self._outcome.wrong(ExitCode.FRAMES_LOST, f"recording failed: {error}")

    def _judge(self, supervisor: Supervisor, decider: Decider, recorder: Recorder) -> None:
        """What does not stop a run, and still makes it a failed one."""
        wrong, seen = self._outcome.wrong, decider.seen
        if supervisor.failure is not None:
            wrong(ExitCode.CRASH, f"the supervisor broke: {supervisor.failure}")
        if given_up := supervisor.given_up("inference"):
            wrong(ExitCode.ANALYSIS_FAILED, f"inference failed: {given_up}")
        if seen.failed:
            sentence = f"{seen.failed} frames were not analysed: {seen.last_failure}"
            wrong(ExitCode.ANALYSIS_FAILED, sentence)
        if left_out := sum(recorder.stats().drops.values()):
            sentence = f"{left_out} label or denoised images were not kept: the disk is too slow"
            wrong(ExitCode.ANALYSIS_FAILED, sentence)


def run_experiment(
    settings: ExperimentSettings,
    *,
    out: RunFolder | Path,
    headless: bool = True,
    seconds: float | None = None,
    offscreen: bool = False,
    console: Console | None = None,
) -> RunReport:
    """Run an experiment to its end and say what came of it.

    Parameters
    ----------
    settings
        From ``live.loading.load_experiment``, or built in Python.
    out
        New folder; one that holds something is refused (``OutputExists``).
    headless, seconds, offscreen, console
        As for ``Session``.
    """
    folder = out if isinstance(out, RunFolder) else RunFolder.create(out)
    session = Session(
        settings,
        folder,
        headless=headless,
        seconds=seconds,
        offscreen=offscreen,
        console=console,
    )
    return session.run()
