"""Holds an experiment against hardware, models and disk before the light goes on.

The comparisons are pure functions of settings and of what the rig says of itself; only
``check_experiment`` opens things. It collects everything that is wrong and raises nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drivers import ImageFormat, RigError, RigInfo, SettingsError, open_rig
from live.errors import ExitCode, Problem
from live.planfacts import PlanFacts, plan_facts, plan_problems
from live.settings import ExperimentSettings
from live.yamlfile import KeyPath, YamlFile, key_text
from models import load_pipeline
from models.errors import ModelError

LEAST_RING_FRAMES = 4
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found."""

    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """What is good to know and stops nobody."""
    hardware_failed: bool = False

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
        }


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
    info, image, failed = None, None, ""
    if hardware:
        try:
            with open_rig(settings.rig) as rig:
                info, image = rig.info, rig.image_format()
        except (RigError, SettingsError) as error:
            failed = str(error)
            found.append((("rig",), failed))
    if info is not None and image is not None:
        notes += _hardware_notes(info, image)
    found += plan_problems(settings, facts, info)
    found += list(_pipeline_problems(settings, image, notes))
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
        for key, message in found
    ]
    return CheckReport(tuple(problems), tuple(notes), bool(failed))


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
        yield ("pipeline",), str(error)
        return
    parts = (engine.name, engine.precision, engine.device, engine.model)
    notes.append(f"pipeline {settings.pipeline.name}: {' · '.join(filter(None, parts))}")


def _size_problems(
    settings: ExperimentSettings,
    facts: PlanFacts,
    image: ImageFormat,
    out: Path,
    notes: list[str],
) -> Iterator[tuple[KeyPath, str]]:
    frame_mb = image.height * image.width * np.dtype(image.dtype).itemsize / _MB
    ring_mb = settings.inference.ring_mb
    if ring_mb < LEAST_RING_FRAMES * frame_mb:
        least = int(LEAST_RING_FRAMES * frame_mb) + 1
        yield (
            ("inference", "ring_mb"),
            f"{ring_mb} MB hold fewer than {LEAST_RING_FRAMES} frames of {frame_mb:.1f} MB; "
            f"give {least} or more",
        )
    bursts = sum(rule.max_firings * rule.then.frames for rule in settings.rules)
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
    elif free_mb - reserve_mb < need_mb:
        yield (
            ("plan",),
            f"may need {need_mb / 1000:.1f} GB, {(free_mb - reserve_mb) / 1000:.1f} GB are free "
            f"above the reserve in {out}; shorten it or choose another --out",
        )


def _existing(folder: Path) -> Path:
    folder = folder.expanduser().resolve()
    return next(path for path in (folder, *folder.parents) if path.exists())
