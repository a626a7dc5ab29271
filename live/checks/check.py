"""Holds an experiment against hardware, models and disk before the light goes on.

The comparisons are pure functions of settings and of what the rig says of itself; only
``check_experiment`` opens things. It collects everything that is wrong and raises nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from drivers import (
    ImageFormat,
    LimitSettings,
    ProtectedRig,
    RigError,
    RigInfo,
    SettingsError,
    open_rig,
)
from drivers.protect_checks import Present
from live.checks.actions import most_frames
from live.checks.dose import Foreseen, foresee
from live.checks.load import read_for_check
from live.checks.start import point_of, start_problems
from live.errors import ExitCode, Problem, SettingsProblems
from live.experiment.didyoumean import nearest
from live.experiment.settings import ExperimentSettings
from live.experiment.yamlfile import KeyPath, YamlFile, key_text
from live.plan.facts import PlanFacts, plan_facts
from live.plan.times import PointTimes, intervals, too_fast
from models import load_pipeline
from models.errors import ModelError

LEAST_RING_FRAMES = 4
_MB = 1_000_000
_SHUTTER_STAYS = (
    "autoshutter is off in the configuration: the shutter is closed at the start of a run and "
    "nothing opens it again, so a light behind it stays dark; add 'Property,Core,AutoShutter,1'"
)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found."""

    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """What is good to know and stops nobody."""
    hardware_failed: bool = False
    summary: dict[str, Any] = field(default_factory=dict)
    """What the plan comes to: ``frames``, ``duration_s``, ``data_mb``, ``light``, ``travel_mm``."""

    @property
    def exit_code(self) -> ExitCode:
        """0 when nothing is wrong; 3 when the microscope did not open and nothing else is wrong."""
        if not self.problems:
            return ExitCode.OK
        only_hardware = self.hardware_failed and len(self.problems) == 1
        return ExitCode.HARDWARE if only_hardware else ExitCode.BAD_INPUT

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "ok": not self.problems,
            "problems": [
                {"file": p.file, "line": p.line, "key": p.key, "message": p.message}
                for p in self.problems
            ],
            "notes": list(self.notes),
            "summary": self.summary,
        }


@dataclass(slots=True)
class _Opened:
    """What the rig said of itself; empty when it was not asked or did not open."""

    info: RigInfo | None = None
    image: ImageFormat | None = None
    start: Present = field(default_factory=Present)
    shutter_stays: bool = False
    """The configuration has a shutter and autoshutter is off."""
    failed: str = ""


def check_experiment(
    settings: ExperimentSettings,
    *,
    source: YamlFile | None = None,
    hardware: bool = True,
    out: Path | None = None,
) -> CheckReport:
    """Find all that would stop ``settings`` from being run here and now.

    Parameters
    ----------
    settings
        Loaded, so free of mistakes that a look at the file alone can find.
    source
        The file it came from, for file names and lines.
    hardware
        Open the rig and ask it. Nothing is moved and no frame is taken.
    out
        The run's folder; the working folder's disk is measured when None.

    Returns
    -------
    CheckReport
        All problems and notes.
    """
    found: list[tuple[KeyPath, str]] = []
    notes: list[str] = []
    facts = plan_facts(settings.plan)
    opened = _open(settings, facts, hardware, found)
    info, image = opened.info, opened.image
    if info is not None and image is not None:
        notes += _hardware_notes(info, image)
        notes += [_SHUTTER_STAYS] if opened.shutter_stays else []
    point = point_of(settings, facts, opened.start)
    found += too_fast(settings.plan, point, any(key == ("plan", "time_plan") for key, _ in found))
    found += list(_pipeline_problems(settings, image, notes))
    light, over = _light(settings, facts, point, info, image)
    found += over
    if image is not None:
        found += list(_size_problems(settings, facts, image, out or Path.cwd(), notes))
    if out is not None and out.is_dir() and any(out.iterdir()):
        found.append(((), f"--out {out} exists and holds something; choose another"))
    problems = [
        Problem(
            str(source.path) if source and key else "",
            key_text(key),
            message,
            source.line_of(key) if source else 0,
        )
        for key, message in dict.fromkeys(found)
    ]
    summary = _summary(settings, facts, point, light, image)
    return CheckReport(tuple(problems), tuple(notes), bool(opened.failed), summary)


def check_file(
    experiment: str | Path,
    *,
    rig: str | Path | None = None,
    hardware: bool = True,
    out: Path | None = None,
) -> CheckReport:
    """`check_experiment` of a file, or of a shipped experiment by name; reports what is unreadable.

    Parts that cannot be read are reported and passed over, so that all is told at once.
    """
    try:
        settings, source, wrong = read_for_check(experiment, rig)
    except SettingsProblems as error:
        return CheckReport(error.problems)
    if settings is None:
        return CheckReport(tuple(wrong))
    report = check_experiment(settings, source=source, hardware=hardware, out=out)
    problems = sorted([*wrong, *report.problems], key=lambda problem: problem.line)
    return replace(report, problems=tuple(problems))


def _open(
    settings: ExperimentSettings,
    facts: PlanFacts,
    hardware: bool,
    found: list[tuple[KeyPath, str]],
) -> _Opened:
    """Ask the rig, and hold plan and rules against it while it can be asked."""
    if not hardware:
        found += start_problems(settings, facts)
        return _Opened()
    limits = getattr(settings.rig, "limits", None)
    if not isinstance(limits, LimitSettings):
        limits = None
    try:
        with ProtectedRig(open_rig(settings.rig), limits) as rig:
            found += start_problems(settings, facts, rig)
            dark = rig.devices is not None and not rig.devices.auto_shutter
            return _Opened(rig.info, rig.image_format(), rig.present, dark)
    except (RigError, SettingsError) as error:
        found.append((("rig",), str(error)))
        found += start_problems(settings, facts)
        return _Opened(failed=str(error))


def _hardware_notes(info: RigInfo, image: ImageFormat) -> Iterator[str]:
    size = f"{image.width} x {image.height} {image.dtype}"
    scale = f"{image.pixel_size_um:g} µm/px" if image.pixel_size_um else "pixel size unknown"
    yield f"rig {info.name}: camera {info.camera}, {size}, {scale}"
    if info.config:
        yield f"configuration {info.config}"
    if info.adapters:
        yield f"device adapters from {info.adapters}"
    yield from info.notes


def _pipeline_problems(
    settings: ExperimentSettings, image: ImageFormat | None, notes: list[str]
) -> Iterator[tuple[KeyPath, str]]:
    shape, dtype = ((image.height, image.width), image.dtype) if image else ((512, 512), "uint16")
    try:
        with load_pipeline(settings.pipeline) as pipeline:
            engine = pipeline.warm_up(shape, dtype)
    except ModelError as error:
        yield _model_key(settings, str(error)), str(error)
        return
    parts = (engine.name, engine.precision, engine.device, engine.model)
    notes.append(f"pipeline {settings.pipeline.name}: {' · '.join(filter(None, parts))}")


def _model_key(settings: ExperimentSettings, sentence: str) -> KeyPath:
    """The stage whose model the sentence speaks of, else the pipeline."""
    for stage in ("segment", "classify", "denoise"):
        model = getattr(getattr(settings.pipeline, stage, None), "model", None)
        if isinstance(model, str) and model in sentence:
            return ("pipeline", stage, "model")
    return ("pipeline",)


def _light(
    settings: ExperimentSettings,
    facts: PlanFacts,
    point: PointTimes,
    info: RigInfo | None,
    image: ImageFormat | None,
) -> tuple[Foreseen | None, list[tuple[KeyPath, str]]]:
    """Light of the plan; none for recorded data."""
    recorded = info is not None and info.frame_count is not None
    if recorded or getattr(settings.rig, "driver", "") == "replay":
        return None, []
    light = settings.light
    problems: list[tuple[KeyPath, str]] = []
    known = info.presets.get(info.channel_group, ()) if info is not None else ()
    for preset in light.power:
        if known and preset not in known and (meant := nearest(preset, known)):
            hint = f"no preset '{preset}' on this rig; did you mean '{meant}'?"
            problems.append((("light", "power", preset), hint))
    points = max(1, facts.frames // max(1, len(facts.events)))
    found, over = foresee(light, point.stands, points, image)
    # A plan without an end passes every cap some day, and ends there.
    return found, problems if settings.open_ended else [*problems, *over]


def _size_problems(
    settings: ExperimentSettings,
    facts: PlanFacts,
    image: ImageFormat,
    out: Path,
    notes: list[str],
) -> Iterator[tuple[KeyPath, str]]:
    frame_mb = _frame_mb(image)
    ring_mb = settings.inference.ring_mb
    if ring_mb < LEAST_RING_FRAMES * frame_mb:
        least = int(LEAST_RING_FRAMES * frame_mb) + 1
        yield (
            ("inference", "ring_mb"),
            f"{ring_mb} MB hold fewer than {LEAST_RING_FRAMES} frames of {frame_mb:.1f} MB; "
            f"give {least} or more",
        )
    bursts = most_frames(settings)
    need_mb = (facts.frames + bursts) * frame_mb
    free_mb = shutil.disk_usage(_existing(out)).free / _MB
    reserve_mb = settings.record.reserve_mb
    notes.append(
        f"plan: {facts.frames} frames, and {bursts} in bursts at most; up to "
        f"{need_mb / 1000:.1f} GB before compression, {free_mb / 1000:.1f} GB free"
    )
    if free_mb < reserve_mb:
        yield (
            ("record", "reserve_mb"),
            f"{free_mb:.0f} MB are free in {out}, which is less than the reserve of {reserve_mb}; "
            "free some space or choose another --out",
        )
    elif free_mb - reserve_mb < need_mb and not settings.open_ended:
        yield (
            ("plan",),
            f"may need {need_mb / 1000:.1f} GB, {(free_mb - reserve_mb) / 1000:.1f} GB are free "
            f"above the reserve in {out}; shorten it or choose another --out",
        )


def _summary(
    settings: ExperimentSettings,
    facts: PlanFacts,
    point: PointTimes,
    light: Foreseen | None,
    image: ImageFormat | None,
) -> dict[str, Any]:
    phases = intervals(settings.plan) or [(0.0, 1)]
    points = sum(count for _, count in phases)
    seconds = sum((count - 1) * max(step, point.seconds) for step, count in phases) + point.seconds
    found: dict[str, Any] = {
        "open_ended": settings.open_ended,
        "frames": facts.frames,
        "frames_of_rules_at_most": most_frames(settings),
        "time_points": points,
        "duration_s": round(seconds, 3),
        "time_point_s": round(point.seconds, 6),
        "travel_mm": round(point.travel_um * points / 1e3, 3),
    }
    if image is not None:
        found["data_mb"] = round(facts.frames * _frame_mb(image), 1)
    if light is not None:
        found["light"] = {
            "unit": settings.light.dose_unit,
            "total": light.total,
            "light_s": light.light_s,
            "max_position": light.greatest,
            "positions": [{"x_um": x, "y_um": y, "dose": dose} for x, y, dose in light.places],
        }
    return found


def _frame_mb(image: ImageFormat) -> float:
    return image.height * image.width * np.dtype(image.dtype).itemsize / _MB


def _existing(folder: Path) -> Path:
    folder = folder.expanduser().resolve()
    return next(path for path in (folder, *folder.parents) if path.exists())
