"""Carries out blocks on the rig. A block that cannot be done never ends the run by itself.

Called by the acquisition loop, on its thread. What a limit refuses, or a device rejects, ends the
block with a sentence that the journal keeps; a camera that is lost ends the run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import useq

from drivers import Frame, ProtectionError, Rig, RigError
from live.plan.blocks import (
    ActionFailed,
    Block,
    Effect,
    Recentre,
    SetExposure,
    SetInterval,
    SetPreset,
    Shift,
    is_move,
    move,
)
from live.plan.plan import Home, Job, Plan

_OF_THE_PLAN = (SetInterval, SetExposure, SetPreset, Shift, Recentre)


@dataclass(frozen=True, slots=True)
class Imaging:
    """How the acquisition images, for the blocks."""

    snap: Callable[[useq.MDAEvent, threading.Event], Frame | None]
    sequence: Callable[[Sequence[useq.MDAEvent], float, threading.Event, Callable[[], bool]], int]
    here: Callable[[], Home]


class BlockRunner:
    """Does the jobs of blocks; see `live.acquire.Acquisition` for the callbacks."""

    def __init__(
        self,
        rig: Rig,
        plan: Plan,
        imaging: Imaging,
        *,
        on_burst: Callable[[int, str | None], None],
        on_burst_start: Callable[[int], None],
        on_effect: Callable[[Effect], str] | None,
    ) -> None:
        self._rig = rig
        self._plan = plan
        self._imaging = imaging
        self._on_burst = on_burst
        self._on_burst_start = on_burst_start
        self._on_effect = on_effect

    def step(self, job: Job, stop: threading.Event) -> None:
        """Do one job of a block."""
        block = job.block
        assert block is not None
        try:
            if job.begins or block.groups:
                self._begin(job, block)
            if block.script is not None:
                complete = self._run_script(block, stop)
            elif block.effect is not None and not block.events:
                complete = self._affect(block.effect)
            elif job.sequence:
                complete = self._run_sequence(job, stop)
            else:
                complete = self._run_event(job, stop)
        except (ActionFailed, _Refused) as error:
            self._plan.drop_burst()
            for number in block.decisions:
                self._on_burst(number, str(error))
            return
        if complete and job.ends and not self._plan.follow(job):
            for number in block.decisions:
                self._on_burst(number, None)

    def _begin(self, job: Job, block: Block) -> None:
        groups = self._plan.unknown_groups(block)
        if groups:
            try:
                presets = self._rig.read_state(groups).presets
            except RigError as error:
                raise _Refused(str(error)) from error
            self._plan.note_presets({group: _known(group, presets[group]) for group in groups})
        if not job.begins:
            return
        objection = getattr(self._rig, "objection", None)
        if objection is not None and block.events and (sentence := objection(block.events)):
            raise _Refused(sentence)
        for number in block.decisions:
            self._on_burst_start(number)

    def _run_event(self, job: Job, stop: threading.Event) -> bool:
        self._apply(job.event)
        if not job.moves_only:
            self._guarded(lambda: self._imaging.snap(job.event, stop))
        return True

    def _run_sequence(self, job: Job, stop: threading.Event) -> bool:
        self._apply(job.event)
        done = 0

        def image() -> None:
            nonlocal done
            done = self._imaging.sequence(
                [job.event] * job.sequence, job.interval_s, stop, self._yields
            )

        self._guarded(image)
        if done == job.sequence or stop.is_set():
            return done == job.sequence
        self._plan.interrupted(job, done)
        return False

    def _yields(self) -> bool:
        return self._plan.interrupts or self._plan.paused

    def _run_script(self, block: Block, stop: threading.Event) -> bool:
        """Run a script to its end; it is too short to be interrupted but by the end of the run."""
        assert block.script is not None
        script = block.script(self._imaging.here())
        frame: Frame | None = None
        try:
            while not stop.is_set():
                try:
                    event = script.send(frame)
                except StopIteration as end:
                    return end.value is None or self._affect(end.value)
                self._apply(event)
                frame = None
                if not is_move(event):
                    frame = self._image(event, stop)
        finally:
            script.close()
        return False

    def _image(self, event: useq.MDAEvent, stop: threading.Event) -> Frame:
        found: list[Frame | None] = []
        self._guarded(lambda: found.append(self._imaging.snap(event, stop)))
        if not found or found[0] is None:
            raise ActionFailed("the camera gave no usable image")
        return found[0]

    def _affect(self, effect: Effect) -> bool:
        if isinstance(effect, SetPreset):
            effect = self._set_preset(effect)
        if isinstance(effect, _OF_THE_PLAN):
            problem = self._plan.apply(effect, time.monotonic())
        elif self._on_effect is not None:
            problem = self._on_effect(effect)
        else:
            problem = f"nothing here carries out {type(effect).__name__}"
        if problem:
            raise ActionFailed(problem)
        return True

    def _set_preset(self, effect: SetPreset) -> SetPreset:
        group = effect.channel.group
        if effect.for_frames is not None:
            try:
                before = self._rig.read_state((group,)).presets[group]
            except RigError as error:
                raise _Refused(str(error)) from error
            effect = replace(effect, before=_known(group, before))
        self._apply(move(channel=effect.channel))
        return effect

    def _apply(self, event: useq.MDAEvent) -> None:
        try:
            self._rig.apply(event)
        except RigError as error:
            raise _Refused(str(error)) from error

    def _guarded(self, image: Callable[[], object]) -> None:
        try:
            image()
        except ProtectionError as error:
            raise _Refused(str(error)) from error


class _Refused(Exception):
    """The rig does not do what the block asks for."""


def _known(group: str, preset: str) -> str:
    if not preset:
        raise ActionFailed(
            f"group '{group}' stands at none of its presets, so there is no way back to how it "
            "was; set one of them before the run"
        )
    return preset
