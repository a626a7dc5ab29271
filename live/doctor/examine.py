"""Asks every probe in turn, within a time limit, and makes rates of the answers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from live.doctor.ask import TOO_LATE, Answer, ask
from live.doctor.cameras import demo_camera
from live.doctor.findings import DoctorReport, NetworkRow, PipelineRow, StageRow
from live.doctor.gpu import advice_for
from live.doctor.machine import look_at_machine
from live.doctor.rates import Measured, rate_of
from live.doctor.saferate import Stage
from live.doctor.samples import preset_for, sample_path
from live.doctor.timing import Timing
from models.catalog import models_available
from models.engines.opening import engines_installed

SIDES = (512, 1024, 2048)
SAMPLE_FRAMES = 4
LARGEST = 4096
FOR_PIPELINES = 0.7
"""Part of the budget that is kept for the pipelines."""
LEAST_LIMIT_S = 20.0
"""A probe gets this time even at the end of the budget."""
EXTRA_PRECISIONS = {"openvino": ("bf16",)}
"""Measured beside ``fp32``, where the engine has them."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is measured."""

    budget_s: float
    """After this, what is left is estimated from smaller images."""
    each_s: float
    """Of one measurement, beside starting its process."""
    measured: tuple[int, ...]
    """Sides that are measured; larger ones are estimated."""
    networks_s: float
    """Kept of the budget for timing each network on each engine; 0: they are left out."""
    sides: tuple[int, ...] = SIDES
    """Sides that rates are given for; begins with the first of ``measured``."""


FULL = Effort(budget_s=165.0, each_s=1.0, measured=SIDES, networks_s=35.0)
QUICK = Effort(budget_s=25.0, each_s=0.3, measured=SIDES[:1], networks_s=0.0)

OnStep = Callable[[str], None]


class Examination:
    """One examination of this machine; asks one probe after the other.

    Parameters
    ----------
    pipelines
        Names or files of pipelines.
    out
        A folder on the disk that runs are recorded to; exists.
    effort
        How long.
    rig
        Settings of a rig as plain values; None measures Micro-Manager's demo camera.
    preset
        Of the rig's channel group, set before its camera is timed; empty leaves it as it is.
    window
        Leave room for the live window.
    on_step
        Told what is measured next.
    """

    def __init__(
        self,
        pipelines: Sequence[str],
        out: Path,
        effort: Effort = FULL,
        *,
        rig: Mapping[str, Any] | None = None,
        preset: str = "",
        window: bool = False,
        on_step: OnStep | None = None,
    ) -> None:
        self._pipelines, self._out, self._effort = tuple(pipelines), out, effort
        self._rig, self._preset, self._window = rig, preset, window
        self._on_step = on_step or (lambda _text: None)
        self._began = time.monotonic()
        self._sides = effort.sides
        self._measured = effort.measured
        self._camera = "a camera as fast as Micro-Manager's demo camera (time yours with --rig)"
        self._pixel_um: dict[int, float] = {}
        self._stages: list[StageRow] = []
        self._notes: list[str] = []
        self._work = Path()

    def run(self) -> DoctorReport:
        """Measure all; blocks for about the budget."""
        self._on_step("looking at the machine")
        effort_s = self._effort.budget_s
        machine = look_at_machine(self._out)
        if machine.busy:
            self._notes.append(machine.busy)
        with TemporaryDirectory(prefix="parfocal-doctor-", ignore_cleanup_errors=True) as work:
            self._work = Path(work)
            if self._rig is not None:
                self._time_rig()
            self._take_samples()
            for side in self._measured:
                if side != self._measured[0] and self._left_s() < FOR_PIPELINES * effort_s:
                    self._notes.append(f"short of time: the stages at {side}² are scaled")
                    continue
                self._time_stages(side)
            slowdown = self._sharing(machine.cores)
            measured = Measured(self._stages, machine.cores, slowdown, self._window)
            rows = self._analyse(measured, self._measured[0])
            for side in self._sides:
                if side != self._measured[0]:
                    rows += self._analyse(measured, side, rows)
            networks = self._networks() if self._effort.networks_s else []
        return DoctorReport(
            machine, advice_for(machine.gpus), self._camera, self._window, slowdown,
            tuple(self._stages), tuple(networks),
            tuple(sorted(rows, key=lambda row: (self._pipelines.index(row.pipeline), row.side))),
            tuple(self._notes),
            time.monotonic() - self._began,
        )  # fmt: skip

    # --- the stages of the rig's process --------------------------------------------------------

    def _time_rig(self) -> None:
        question = {
            "rig": self._rig, "seconds": 2 * self._effort.each_s, "preset": self._preset,
        }  # fmt: skip
        answer = self._ask("your camera", "camera", question, 60.0)
        if answer.failed:
            self._stages.append(StageRow("camera", 0, None, failed=answer.failed))
            self._notes.append("your camera could not be timed: the rates leave it out")
            self._camera = "any camera that is fast enough"
            return
        found = answer.found
        side = max(64, round(math.sqrt(found["height"] * found["width"]) / 16) * 16)
        self._camera = (
            f"{found['camera']}, {found['height']} x {found['width']} pixels, exposure "
            f"{found['exposure_ms']:g} ms"
        )
        note = f"as it is set: exposure {found['exposure_ms']:g} ms"
        self._add_camera(side, found, note)
        if side <= LARGEST:
            self._sides = tuple(sorted({*self._sides, side}))
            # in a short examination, the size that matters most
            self._measured = self._sides if len(self._measured) > 1 else (side,)

    def _add_camera(self, side: int, found: dict[str, Any], note: str = "") -> None:
        snap, pop = (Timing.from_json(found[name]) for name in ("snap", "pop"))
        self._stages.append(StageRow("camera", side, snap, note or "one picture, as a plan asks"))
        self._stages.append(StageRow("camera sequence", side, pop, "frames of a hardware sequence"))

    def _take_samples(self) -> None:
        presets = sorted({preset_for(name) for name in self._pipelines} | {"DAPI"})
        for side in self._measured:
            question = {
                "folder": str(self._work), "side": side, "presets": presets,
                "frames": SAMPLE_FRAMES,
            }  # fmt: skip
            answer = self._ask(f"imaging a sample of {side}²", "sample", question, 60.0)
            if answer.failed:
                self._notes.append(f"no sample pictures of {side}²: {answer.failed}")
                self._measured = tuple(one for one in self._measured if one != side)
                continue
            self._pixel_um[side] = float(answer.found["pixel_size_um"])
        if not self._measured:
            self._measured = self._sides[:1]

    def _time_stages(self, side: int) -> None:
        sample, each_s = self._sample(side), self._effort.each_s
        if self._rig is None:
            question: dict[str, Any] = {"rig": demo_camera(side), "seconds": each_s / 2}
            answer = self._ask(f"camera at {side}²", "camera", question, 40.0)
            if answer.failed:
                self._stages.append(StageRow("camera", side, None, failed=answer.failed))
            else:
                self._add_camera(side, answer.found)
        answer = self._ask(
            f"ring and wire at {side}²", "handover", {"sample": sample, "seconds": each_s}, 30.0
        )
        for stage, note in (("ring", "into shared memory"), ("wire", "to a second process, there")):
            self._add(stage, side, answer, answer.found.get(stage), note)
        question = {"sample": sample, "out": str(self._out), "seconds": each_s}
        answer = self._ask(f"recorder at {side}²", "writer", question, 60.0)
        note = f"{answer.found.get('mb_per_s', 0):.0f} MB/s, until it lies on the disk"
        self._add("recorder", side, answer, answer.found, note)
        question = {"sample": sample, "seconds": 2 * each_s}
        answer = self._ask(f"window at {side}²", "window", question, 40.0)
        self._add("window", side, answer, answer.found, "drawn offscreen; never holds up the rest")

    def _add(
        self, stage: str, side: int, answer: Answer, found: dict[str, Any] | None, note: str
    ) -> None:
        timing = None if answer.failed or not found else Timing.from_json(found)
        self._stages.append(StageRow(stage, side, timing, note, answer.failed))

    def _sharing(self, cores: int) -> float:
        question = {
            "model": "nuclei", "sample": self._sample(self._measured[0]), "cores": cores,
            "seconds": 4 * self._effort.each_s,
        }  # fmt: skip
        answer = self._ask("how cores share their work", "sharing", question, 60.0)
        if answer.failed:
            self._notes.append(f"how much cores slow each other down is unknown: {answer.failed}")
        return float(answer.found.get("slowdown", 1.5))

    # --- networks and pipelines -----------------------------------------------------------------

    def _networks(self) -> list[NetworkRow]:
        rows: list[NetworkRow] = []
        sample = self._sample(self._measured[0])
        for card in models_available():
            for engine in engines_installed():
                for precision in ("fp32", *EXTRA_PRECISIONS.get(engine, ())):
                    if self._left_s() <= 0:
                        self._notes.append("out of time: not every network was timed alone")
                        return rows
                    question = {
                        "model": card.name, "engine": engine, "precision": precision,
                        "sample": sample, "seconds": 0.7 * self._effort.each_s,
                    }  # fmt: skip
                    step = f"{card.name} on {engine} {precision}"
                    answer = self._ask(step, "network", question, 30.0)
                    timing = answer.found.get("timing")
                    rows.append(
                        NetworkRow(
                            card.name,
                            engine,
                            str(answer.found.get("precision", precision)),
                            str(answer.found.get("device", "")),
                            Timing.from_json(timing) if timing else None,
                            answer.failed,
                        )
                    )
        return rows

    def _may_estimate_only(self) -> bool:
        return self._left_s() <= self._effort.networks_s

    def _analyse(
        self, measured: Measured, side: int, others: Sequence[PipelineRow] = ()
    ) -> list[PipelineRow]:
        rows: list[PipelineRow] = []
        for name in self._pipelines:
            known = [row for row in others if row.pipeline == name and not row.estimated_from]
            nearest = min(known, key=lambda row: abs(row.side - side)) if known else None
            if nearest is None or (
                side in self._measured and not self._may_estimate_only() and not nearest.failed
            ):
                row = self._time_pipeline(measured, name, side)
                if nearest is not None and row.failed.startswith(TOO_LATE):
                    row = measured.estimate(nearest, side)
            else:
                row = measured.estimate(nearest, side)
            rows.append(row)
        return rows

    def _time_pipeline(self, measured: Measured, name: str, side: int) -> PipelineRow:
        question = {
            "pipeline": name, "sample": self._sample(side, preset_for(name)),
            "pixel_size_um": self._pixel_um.get(side, 0.0), "seconds": self._effort.each_s,
        }  # fmt: skip
        answer = self._ask(f"pipeline {name} at {side}²", "pipeline", question, 60.0)
        if answer.failed:
            return PipelineRow(name, side, failed=answer.failed)
        found = answer.found
        timing = Timing.from_json(found["timing"])
        check_ms, every = float(found["check_ms"]), int(found["check_every"])
        row = PipelineRow(
            name, side, timing=timing, first_ms=float(found["first_ms"]), check_ms=check_ms,
            check_every=every, objects=float(found["objects"]), engine=str(found["engine"]),
            precision=str(found["precision"]), device=str(found["device"]),
            model=str(found["model"]),
        )  # fmt: skip
        return rate_of(row, Stage(timing.p95_ms, timing.cpu_ms, check_ms, every), measured)

    # --- asking ---------------------------------------------------------------------------------

    def _ask(self, step: str, kind: str, question: dict[str, Any], limit_s: float) -> Answer:
        self._on_step(step)
        return ask(kind, question, limit_s=max(LEAST_LIMIT_S, min(limit_s, self._left_s() + 20.0)))

    def _sample(self, side: int, preset: str = "DAPI") -> str:
        return str(sample_path(self._work, side, preset))

    def _left_s(self) -> float:
        return self._effort.budget_s - (time.monotonic() - self._began)
