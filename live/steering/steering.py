"""Everything that people and rules tell a run while it goes on: commands, suggestions, effects.

Commands come from another terminal (`CtlServer`), from the window, and end here; each is journalled
with who gave it. Effects of rules that neither image nor change the plan end here too.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from drivers import LimitSettings, StageLimits
from live.acquire import Counts
from live.actions.notify import Notifier
from live.decider import Decider
from live.experiment.settings import ExperimentSettings
from live.plan.blocks import Effect, StopRun, Tell
from live.plan.plan import Late, Plan
from live.processes.messages import Asked, Steer
from live.recording.journal import Journal
from live.steering.commands import Command, CommandError, parse
from live.steering.messages import Answer
from live.steering.server import CtlServer

LATE_TOLD_S = 10.0
"""The log says no oftener than this that time points are late; the journal has each one."""


class Steering:
    """Holds the threads of notifier and ctl; a ``with`` block of the run.

    Parameters
    ----------
    plan, decider, journal
        Of the run.
    end
        Ends it, with a reason.
    log
        Takes sentences for people.
    train
        Starts training the denoiser; why not, or an empty text.
    limits
        Where positions may be added.
    """

    def __init__(
        self,
        plan: Plan,
        decider: Decider,
        journal: Journal,
        *,
        end: Callable[[str], None],
        log: Callable[[str], None],
        train: Callable[[], str],
        limits: StageLimits | None = None,
    ) -> None:
        self._plan = plan
        self._decider = decider
        self._journal = journal
        self._end = end
        self._log = log
        self._train = train
        self._limits = limits or StageLimits()
        self._stack = contextlib.ExitStack()
        self._notifier = Notifier(log)
        self._late_told_s = -LATE_TOLD_S
        self._late_untold = 0
        self._counts = Counts()

    def __enter__(self) -> Self:
        """Start the notifier."""
        self._stack.enter_context(self._notifier)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening; give notifications a few seconds."""
        self._stack.close()

    def listen(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path, counts: Counts) -> None:
        """Take commands from other terminals until the block is left."""
        self._counts = counts
        self._stack.enter_context(CtlServer(context, folder, self.do, self._log))

    # --- called by the acquisition ----------------------------------------------------------

    def effect(self, effect: Effect) -> str:
        """Carry out an effect that is not the plan's; what is wrong, or an empty text."""
        match effect:
            case StopRun(reason):
                self._end(reason)
                return ""
            case Tell():
                return self._notifier.put(effect)
            case _:
                return f"{type(effect).__name__} cannot be carried out"

    def late(self, late: Late) -> None:
        """Record a time point that was late or left out."""
        record = {
            "index": late.index,
            "late_s": round(late.late_s, 4),
            "skipped": late.skipped,
            "why": late.why,
        }
        self._journal.add_log("late", json.dumps(record))
        self._late_untold += 1
        now = time.monotonic()
        if now - self._late_told_s >= LATE_TOLD_S:
            self._late_told_s, count = now, self._late_untold
            self._late_untold = 0
            what = "left out" if late.skipped else f"{late.late_s:.2f} s late"
            more = f" ({count} such since last told)" if count > 1 else ""
            self._log(f"time point {late.index.get('t', '?')} is {what}: {late.why}{more}")

    # --- called by the supervisor's thread --------------------------------------------------

    def tick(self) -> None:
        """Let suggestions that nobody answered go."""
        self._decider.carrier.tick()

    def steered(self, message: Steer) -> None:
        """A command from the window."""
        answer = self.do(message.words, message.by)
        if not answer.ok:
            self._log(f"{message.by}: {answer.text}")

    def asked(self) -> list[Asked]:
        """Suggestions for the window, oldest first."""
        now = time.monotonic()
        return [
            Asked(number=s.number, rule=s.rule, text=s.text, left_s=max(0.0, s.until_s - now))
            for s in self._decider.carrier.arming.waiting()
        ]

    # --- commands ---------------------------------------------------------------------------

    def do(self, words: tuple[str, ...], by: str) -> Answer:
        """Carry a command out; any thread. What a person can get wrong comes back as a sentence."""
        try:
            command = parse(words, self._decider.rule_names())
            text = self._done(command, by)
        except CommandError as error:
            return Answer(ok=False, text=str(error))
        if command.name == "status":
            return Answer(ok=True, text=text, data=self.state())
        self._journal.add_log("command", json.dumps({"by": by, "words": list(words)}))
        self._log(f"{by}: {text}")
        return Answer(ok=True, text=text)

    def state(self) -> dict[str, Any]:
        """State of the run as plain values."""
        counts = self._counts
        modes = self._decider.carrier.arming.modes()
        return {
            "phase": self.phase(),
            "captured": counts.captured,
            "late": counts.late,
            "left_out": counts.left_out,
            "rules": [
                {"rule": name, "fired": fired, "last": last, "armed": armed, "mode": modes[name]}
                for name, fired, last, armed in self._decider.status()
            ],
            "suggestions": [
                {"number": a.number, "rule": a.rule, "text": a.text, "left_s": round(a.left_s, 2)}
                for a in self.asked()
            ],
            "notified": self._notifier.sent,
            "not_notified": self._notifier.failed,
        }

    def phase(self) -> str:
        """``paused``, ``burst`` or ``plan``."""
        if self._plan.paused:
            return "paused"
        return "burst" if self._plan.in_burst else "plan"

    def _done(self, command: Command, by: str) -> str:
        match command.name:
            case "status":
                return _lines(self.state())
            case "pause":
                self._plan.pause()
                return "imaging is paused; the plan's clock stands still"
            case "resume":
                self._plan.resume()
                return "imaging goes on"
            case "stop":
                self._end(f"stopped by {by}")
                return "the run ends in order"
            case "add-position":
                return self._add_position(command)
            case "train-denoise":
                if problem := self._train():
                    raise CommandError(problem)
                return "the denoiser is being trained on this run's frames"
            case "accept" | "refuse":
                return self._answer(command, by)
            case _:
                return self._about_rules(command, by)

    def _about_rules(self, command: Command, by: str) -> str:
        decider = self._decider
        match command.name:
            case "arm":
                mode = decider.arm(command.rule, command.mode)
                return f"rule '{command.rule}' is armed: {mode}"
            case "disarm":
                decider.disarm(command.rule, f"disarmed by {by}")
                return f"rule '{command.rule}' is disarmed"
            case "disarm-all":
                return self.disarm_all(by)
            case _:
                try:
                    return decider.change(command.rule, command.key, command.value)
                except ValueError as error:
                    raise CommandError(str(error)) from error

    def disarm_all(self, by: str) -> str:
        """No rule acts any more: what runs for one ends with its frame, what waits is forgotten."""
        why = f"disarmed by {by}"
        for name in self._decider.rule_names():
            self._decider.disarm(name, why)
        refused = self._decider.carrier.refuse_all(why)
        cancelled = self._plan.cancel(why)
        return f"all rules are disarmed; {cancelled} bursts and {refused} suggestions were dropped"

    def _answer(self, command: Command, by: str) -> str:
        carrier = self._decider.carrier
        waiting = carrier.arming.waiting()
        number = command.number or (waiting[0].number if waiting else 0)
        try:
            if command.name == "accept":
                return f"suggestion {number} accepted: {carrier.accept(number, by)}"
            return carrier.refuse(number, by)
        except KeyError:
            known = ", ".join(str(asked.number) for asked in waiting) or "none"
            which = f"no suggestion {number} waits" if number else "no suggestion waits"
            raise CommandError(f"{which}; waiting: {known}") from None

    def _add_position(self, command: Command) -> str:
        for name, value, limit in (
            ("x", command.x_um, self._limits.x_um),
            ("y", command.y_um, self._limits.y_um),
            ("z", command.z_um, self._limits.z_um),
        ):
            if value is not None and limit is not None and not limit[0] <= value <= limit[1]:
                raise CommandError(
                    f"{name} = {value:g} µm is outside the rig's limit {name}_um = {limit[0]:g} "
                    f"to {limit[1]:g}; the position was not added"
                )
        problem = self._plan.add_position(command.x_um, command.y_um, command.z_um, command.label)
        if problem:
            raise CommandError(problem)
        return f"position x {command.x_um:g}, y {command.y_um:g} µm joins each time point"


def _lines(state: dict[str, Any]) -> str:
    lines = [
        f"{state['phase']}: {state['captured']} frames, {state['late']} time points late, "
        f"{state['left_out']} events left out"
    ]
    for rule in state["rules"]:
        armed = rule["mode"] if rule["armed"] else "disarmed"
        lines.append(
            f"  {rule['rule']}: {armed}, fired {rule['fired']} times {rule['last']}".rstrip()
        )
    lines += [
        f"  suggestion {asked['number']} ({asked['left_s']:.1f} s left): {asked['text']}"
        for asked in state["suggestions"]
    ]
    return "\n".join(lines)


def stage_limits(settings: ExperimentSettings) -> StageLimits:
    """The box of the experiment's rig; without sides where it has none."""
    found = getattr(settings.rig, "limits", None)
    return found.limits() if isinstance(found, LimitSettings) else StageLimits()
