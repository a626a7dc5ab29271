"""The rules to ask about: those of the run, or of a file, checked as ``parfocal check`` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from live.actions.ability import carrying_out_problems
from live.checks.rules import rule_problems
from live.errors import Problem, SettingsProblems
from live.experiment.configfiles import config_path
from live.experiment.settings import ExperimentSettings
from live.experiment.validation import checked
from live.experiment.yamlfile import YamlFile, key_text, yaml_from_path
from live.plan.facts import plan_facts
from live.rules.files import with_rule_files
from live.rules.settings import RuleSettings


class _Rules(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rules: tuple[RuleSettings, ...]


def with_rules_of(settings: ExperimentSettings, name_or_path: str) -> ExperimentSettings:
    """The experiment with other rules.

    Parameters
    ----------
    settings
        As it was run.
    name_or_path
        A file with ``rules:`` as in an experiment (its other keys are passed over), a file that is
        one rule, or the name of a shipped rule.

    Raises
    ------
    SettingsProblems
        With everything that is wrong, by file, line and key.
    """
    file = yaml_from_path(config_path("rules", name_or_path))
    alone = "rules" not in file.data
    data: dict[str, Any] = {"rules": [str(file.path.resolve())] if alone else file.data["rules"]}
    problems = with_rule_files(data, file)
    found: Any = None
    if not problems:
        found, problems = checked(_Rules, data, file)
    if problems or found is None:
        raise SettingsProblems(sorted(problems, key=lambda one: (one.file, one.line)))
    names = [rule.name for rule in found.rules]
    if twice := next((name for name in names if names.count(name) > 1), None):
        message = f"two rules are called '{twice}'; give each its own name"
        raise SettingsProblems(
            [Problem(str(file.path), "rules", message, file.line_of(("rules",)))]
        )
    changed = settings.model_copy(update={"rules": found.rules})
    wrong = [
        *rule_problems(changed),
        *carrying_out_problems(changed, plan_facts(settings.plan).interval_s),
    ]
    if wrong:
        raise SettingsProblems([_problem(file, key, message, alone) for key, message in wrong])
    return changed


def _problem(file: YamlFile, key: tuple[Any, ...], message: str, alone: bool) -> Problem:
    place = key[2:] if alone else key
    return Problem(str(file.path), key_text(place), message, file.line_of(place))


def own_rules(asked: ExperimentSettings, run: ExperimentSettings) -> Mapping[str, bool]:
    """Rule -> whether the run had the very same, so that its recorded outcomes hold for it."""
    before = {rule.name: rule for rule in run.rules}
    return {rule.name: before.get(rule.name) == rule for rule in asked.rules}
