"""Reads an experiment for a check: what cannot be read does not hide what is wrong beyond it."""

from __future__ import annotations

from pathlib import Path

from live.errors import Problem, SettingsProblems
from live.experiment.configfiles import config_path
from live.experiment.loading import load_experiment
from live.experiment.settings import ExperimentSettings
from live.experiment.yamlfile import YamlFile, yaml_from_path

_CAN_BE_LEFT_OUT = frozenset({"rules", "inference", "record", "display", "light"})


def read_for_check(
    experiment: str | Path, rig: str | Path | None
) -> tuple[ExperimentSettings | None, YamlFile, list[Problem]]:
    """The experiment, without the parts that cannot be read, and what is wrong with those.

    Returns
    -------
    tuple
        Settings or None where too little can be read; the file; the problems.

    Raises
    ------
    SettingsProblems
        When the file itself cannot be read.
    """
    source = yaml_from_path(config_path("experiments", experiment))
    try:
        return load_experiment(experiment, rig=rig), source, []
    except SettingsProblems as error:
        problems = list(error.problems)
    broken = {
        problem.key.split(".")[0].split("[")[0]
        for problem in problems
        if problem.file == str(source.path)
    }
    elsewhere = any(problem.file != str(source.path) for problem in problems)
    if elsewhere or not broken <= _CAN_BE_LEFT_OUT:
        return None, source, problems
    try:
        return load_experiment(experiment, rig=rig, without=frozenset(broken)), source, problems
    except SettingsProblems as error:
        return None, source, [*problems, *error.problems]
