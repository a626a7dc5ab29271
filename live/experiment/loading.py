"""Reads experiments, rigs and pipelines from YAML; reports all that is wrong at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import useq
from pydantic import BaseModel

from drivers.settings import RigSettings
from live.errors import Problem, SettingsProblems
from live.experiment.configfiles import Kind, config_path
from live.experiment.settings import ExperimentSettings
from live.experiment.validation import checked
from live.experiment.yamlfile import YamlFile, yaml_from_path
from live.rules.files import with_rule_files
from models.settings import PipelineSettings

_PATH_KEYS = {"config": ("demo",), "adapters": ("mm-test-adapters",), "path": ()}
"""Keys of rigs that hold paths, and the words that stand for a shipped one."""


def load_experiment(
    name_or_path: str | Path,
    *,
    rig: str | Path | None = None,
    without: frozenset[str] = frozenset(),
) -> ExperimentSettings:
    """Read an experiment and the rig and pipeline that it names.

    Parameters
    ----------
    name_or_path
        A file, or the name of a shipped experiment such as ``demo``.
    rig
        Use this rig, a file or a shipped name, in place of the one in the file.
    without
        Keys of the experiment to pass over, as if they were not in the file.

    Raises
    ------
    SettingsProblems
        With everything that is wrong, by file, line and key.
    """
    file = yaml_from_path(config_path("experiments", name_or_path))
    data = {key: value for key, value in file.data.items() if key not in without}
    data.setdefault("name", file.path.stem)
    problems: list[Problem] = []
    parts: tuple[tuple[str, Kind, str | Path | None], ...] = (
        ("rig", "rigs", rig),
        ("pipeline", "pipelines", None),
    )
    for key, kind, given in parts:
        if given is None and key not in data:
            continue
        found, wrong = _part(file, key, kind, given)
        problems += wrong
        data[key] = found
    if isinstance(data.get("plan"), Mapping):
        # Checked alone, so that its problems carry the names that the file uses.
        data["plan"], wrong = checked(useq.MDASequence, data["plan"], file, ("plan",))
        problems += wrong
    problems += with_rule_files(data, file)
    broken = {key for key in ("rig", "pipeline", "plan") if key in data and data[key] is None}
    settings, wrong = checked(ExperimentSettings, data, file)
    problems += [p for p in wrong if p.key.split(".")[0].split("[")[0] not in broken]
    if problems or settings is None:
        raise SettingsProblems(sorted(problems, key=lambda p: (p.file, p.line)))
    assert isinstance(settings, ExperimentSettings)
    return _with_engine(settings, file)


def load_rig(name_or_path: str | Path | RigSettings) -> RigSettings:
    """Read rig settings from a file or by shipped name; settings already read pass through.

    Raises
    ------
    SettingsProblems
        With everything that is wrong, by file, line and key.
    """
    if not isinstance(name_or_path, str | Path):
        return name_or_path
    found: RigSettings = _loaded("rigs", RigSettings, name_or_path)
    return found


def load_pipeline_settings(name_or_path: str | Path | PipelineSettings) -> PipelineSettings:
    """Read pipeline settings from a file or by shipped name; settings pass through.

    Raises
    ------
    SettingsProblems
        With everything that is wrong, by file, line and key.
    """
    if not isinstance(name_or_path, str | Path):
        return name_or_path
    found: PipelineSettings = _loaded("pipelines", PipelineSettings, name_or_path)
    return found


def _loaded(kind: Kind, model: Any, name_or_path: str | Path) -> Any:
    file = yaml_from_path(config_path(kind, name_or_path))
    found, problems = checked(model, file.data, file)
    if problems or found is None:
        raise SettingsProblems(problems)
    return _with_paths(found, file.path.parent)


def _part(
    file: YamlFile, key: str, kind: Kind, given: str | Path | None
) -> tuple[Any | None, list[Problem]]:
    """The rig or pipeline of an experiment: named, written out, or ``given`` from outside."""
    model: Any = RigSettings if kind == "rigs" else PipelineSettings
    value = file.data.get(key)
    try:
        if given is not None:
            return _loaded(kind, model, given), []
        if isinstance(value, str):
            place = Problem(str(file.path), key, "", file.line_of((key,)))
            path = config_path(kind, value, file.path.parent, asked_by=place)
            return _loaded(kind, model, path), []
    except SettingsProblems as error:
        return None, list(error.problems)
    found, problems = checked(model, value, file, (key,))
    return (None if found is None else _with_paths(found, file.path.parent)), problems


def _with_paths(settings: BaseModel, folder: Path) -> BaseModel:
    """Relative paths in ``settings`` start from the folder of the file that says them."""
    changed: dict[str, Any] = {}
    for name, words in _PATH_KEYS.items():
        value = getattr(settings, name, None)
        if isinstance(value, str | Path) and str(value) not in words:
            path = (folder / Path(value).expanduser()).resolve()
            changed[name] = type(value)(path)
    return settings.model_copy(update=changed) if changed else settings


def _with_engine(settings: ExperimentSettings, file: YamlFile) -> ExperimentSettings:
    """Put the experiment's choice of engine and threads into its pipeline."""
    segment = settings.pipeline.segment
    given = {"engine": settings.inference.engine, "threads": settings.inference.threads}
    wanted = {key: value for key, value in given.items() if value is not None}
    if not wanted:
        return settings
    if segment is None or not wanted.keys() <= type(segment).model_fields.keys():
        message = f"pipeline '{settings.pipeline.name}' runs no network; leave this out"
        raise SettingsProblems(
            Problem(str(file.path), f"inference.{key}", message, file.line_of(("inference", key)))
            for key in wanted
        )
    new, problems = checked(type(segment), segment.model_dump() | wanted, file, ("inference",))
    if problems:
        raise SettingsProblems(problems)
    pipeline = settings.pipeline.model_copy(update={"segment": new})
    return settings.model_copy(update={"pipeline": pipeline})
