"""One run from beginning to end: opens everything in order, images, and adds up what came of it.

This is the rig process: no torch, TensorRT or Qt. Inference and window are children that may die.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import zmq
from rich.console import Console

from drivers import EndOfData, FrameRing, FrameSender, LightSpent, ProtectedRig, RigError
from drivers.sharedmem import sweep
from live.acquire import Acquisition, Outlets, Pace
from live.actions.carrier import equipment_of
from live.checks.start import check_start
from live.decider import Decider
from live.denoising.denoising import Denoising
from live.errors import ExitCode
from live.experiment.settings import ExperimentSettings, RuleSettings
from live.introduction import introduce
from live.ledger import Ledger
from live.light.protection import Protection
from live.outcome import Outcome
from live.plan.facts import plan_facts
from live.plan.plan import Plan
from live.processes.childspecs import child_specs
from live.processes.enginefaults import EngineFaults
from live.processes.fewheaps import few_heaps
from live.processes.messages import (
    ConfigureDisplay,
    Fault,
    Message,
    Ready,
    Result,
    Steer,
    Stop,
    TrainDenoiser,
)
from live.processes.signals import EndRequests
from live.processes.smallobjects import room_for_small_objects
from live.processes.supervisor import Supervisor
from live.processes.waiting import await_last_answers, image_all, wait_warm
from live.recording.errors import RecorderError
from live.recording.journal import Journal
from live.recording.recorder import Recorder, RecorderSettings
from live.recording.runfolder import RunFolder
from live.report import RunParts, RunReport, engine_line, report_of, rig_facts
from live.runlog import RunLog
from live.statusboard import StatusBoard
from live.steering.steering import Steering, stage_limits
from models import EngineInfo


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
        self._facts = plan_facts(settings.plan)
        self._plan = Plan(
            settings.plan,
            interval_s=self._facts.interval_s,
            late=settings.late,
            open_ended=settings.open_ended,
        )
        self._protection = Protection(settings.light, settings.rig, folder.path)
        self._denoising = Denoising(
            folder.path, settings.pipeline, self._analysed_channel(), window=not headless
        )
        self._faults = EngineFaults(lambda: self._denoising.pipeline)
        self._stop = threading.Event()
        self._outcome = Outcome()

    def run(self) -> RunReport:
        """Do it; raises only what is wrong before imaging starts, reports the rest."""
        few_heaps()
        for name in sweep():
            self._console.print(f"Removed shared memory that a dead run had left: {name}")
        with contextlib.ExitStack() as stack:
            ends = stack.enter_context(EndRequests(self.end))
            rig = stack.enter_context(self._protection.rig())
            introduce(self._console, rig.info, rig.image_format(), self._folder.path)
            check_start(self._settings, self._facts, rig)
            return self._run_on(rig, ends)

    def train_denoiser(self, seconds: float, by: str) -> str:
        """Train the denoiser on this run's frames; why not, or empty when it starts."""
        return self._denoising.train(TrainDenoiser(seconds=seconds, by=by))

    def _run_on(self, rig: ProtectedRig, ends: EndRequests) -> RunReport:
        info, image = rig.info, rig.image_format()
        with contextlib.ExitStack() as stack:
            journal = stack.enter_context(Journal(self._folder.journal))
            log = stack.enter_context(RunLog(self._folder.log, journal, self._console))
            self._folder.experiment.write_text(self._settings.to_yaml(), encoding="utf-8")
            journal.set_run(experiment=self._settings.name, **rig_facts(info))
            self._denoising.begin(journal, log.add)
            self._faults.begin(journal, log.add)
            self._protection.begin(journal, live=info.frame_count is None)
            recorder = stack.enter_context(Recorder(self._folder, journal, self._recording()))
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            stack.callback(context.destroy, 0)
            ring = FrameRing(self._settings.inference.ring_mb)
            stack.callback(ring.close)
            analysis = stack.enter_context(FrameSender(context))
            view = None if self._headless else stack.enter_context(FrameSender(context, queue=8))
            pace = Pace(ahead=2) if self._settings.inference.policy == "wait" else None
            decider = Decider(
                self._settings.rules,
                plan=self._plan,
                recorder=recorder,
                journal=journal,
                ledger=self._ledger,
                pace=pace,
                carry_out=info.frame_count is None,
                equipment=equipment_of(self._settings, info, self._facts.interval_s),
                latency_budget_ms=self._settings.latency_budget_ms,
                on_rule_failed=self._rule_failed,
                on_event=log.add,
            )
            stack.callback(decider.close)
            steering = Steering(
                self._plan, decider, journal, end=self.end, log=log.add,
                train=lambda: self.train_denoiser(180.0, "ctl"),
                limits=stage_limits(self._settings),
            )  # fmt: skip
            stack.enter_context(steering)
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
                on_effect=steering.effect,
                on_late=steering.late,
            )
            parts = (acquisition, recorder, decider, self._ledger, steering, log, analysis)
            board = StatusBoard(*parts, self._faults.warning)
            supervisor = Supervisor(
                context,
                child_specs(
                    self._settings,
                    image,
                    analysis,
                    lambda: decider.state,
                    self._window(view),
                    self._faults.pipeline,
                    self._faults.instead,
                ),
                on_message=lambda role, message: self._heard(
                    role, message, decider, log, board, supervisor, steering
                ),
                on_tick=lambda: self._tick(board, supervisor, steering),
                on_event=log.add,
                on_restart=journal.add_restart,
                logs=self._folder.path / "logs",
                port=self._settings.inference.port,
            )
            self._denoising.connect(supervisor)
            steering.listen(context, self._folder.path, acquisition.counts)
            with supervisor:
                ring.reserve({"raw": ((image.height, image.width), image.dtype)})
                self._image(acquisition, supervisor, decider, log)
                await_last_answers(acquisition, supervisor, decider)
            board.sample()
            self._close(recorder)
            self._judge(supervisor, decider, recorder)
            for stage, count in board.drops(supervisor).items():
                journal.add_drops(stage, count)
            decider.close()
            self._denoising.close()
            if problem := self._protection.finish():
                self._outcome.wrong(ExitCode.HARDWARE, problem)
            journal.finish(self._outcome.state(interrupted=bool(ends.count)), self._outcome.reason)
        with self._console.status("Adding up ...") as shown:
            self._outcome.add_up(self._folder, acquisition.counts.captured, shown.update)
        return report_of(
            RunParts(
                rig.rig, info, acquisition, recorder.stats(), decider, supervisor, board,
                self._ledger, self._outcome, self._folder, self._protection.to_json(),
                self._denoising, self._faults.counts(),
            )
        )  # fmt: skip

    # --- before -----------------------------------------------------------------------------

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
            ready = wait_warm(supervisor, self._stop)
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
            timer = threading.Timer(self._seconds, self.end, ("the time asked for is over",))
            timer.daemon = True
            timer.start()
        try:
            with room_for_small_objects():
                image_all(acquisition, self._plan, supervisor, decider, self._stop)
            self._outcome.end("the plan is done")
        except EndOfData:
            self._outcome.end("the recorded data is at its end")
        except LightSpent as error:
            self._outcome.end(f"the light budget is spent: {error}")
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

    def _heard(
        self,
        role: str,
        message: Message,
        decider: Decider,
        log: RunLog,
        board: StatusBoard,
        supervisor: Supervisor,
        steering: Steering,
    ) -> None:
        if self._denoising.heard(role, message) or self._faults.heard(role, message):
            return
        match message:
            case Result():
                decider.engine = self._denoising.engine(message, decider.engine)
                decider.take(message)
                if not self._headless:
                    board.forward(message, supervisor)
                self._protection.see(message)
            case Ready() if role == "inference":
                decider.engine = EngineInfo(
                    message.engine, message.precision, message.device, message.model
                )
                log.add(f"inference is ready: {engine_line(decider.engine)}")
            case Fault():
                log.add(f"{role}: {message.sentence}")
            case Stop():
                self.end(message.reason)
            case Steer() if role == "display":
                steering.steered(message)
            case _:
                pass

    def _tick(self, board: StatusBoard, supervisor: Supervisor, steering: Steering) -> None:
        board.sample()
        steering.tick()
        self._protection.tick()
        if not self._headless:
            board.publish(supervisor)

    def end(self, reason: str) -> None:
        """End imaging in order, for this reason; from any thread."""
        self._outcome.end(reason)
        self._stop.set()
        self._plan.close()

    def _rule_failed(self, rule: RuleSettings, sentence: str) -> None:
        self._outcome.wrong(ExitCode.RULE_FAILED, f"rule '{rule.name}': {sentence}")
        if rule.on_error == "stop":
            self.end(f"rule '{rule.name}' failed")

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
        From ``live.experiment.loading.load_experiment``, or built in Python.
    out
        New folder; one that holds something is refused (``OutputExists``).
    headless, seconds, offscreen, console
        As for ``Session``.
    """
    folder = out if isinstance(out, RunFolder) else RunFolder.create(out)
    session = Session(
        settings, folder, headless=headless, seconds=seconds, offscreen=offscreen, console=console
    )
    return session.run()
