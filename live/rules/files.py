"""Rules of an experiment that stand in files of their own: shipped ones by name, others by path.

::

    rules:
      - mitosis-burst                        # config/rules/mitosis-burst.yaml, as it is
      - {file: mitosis-burst, cooldown_s: 30}  # the same with a key of its own
      - {file: my-rule.yaml}                 # beside the experiment
      - {name: ..., when: ..., then: ...}    # written out
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from live.errors import Problem, SettingsProblems
from live.experiment.configfiles import config_path
from live.experiment.validation import checked
from live.experiment.yamlfile import KeyPath, YamlFile, key_text, yaml_from_path
from live.rules.settings import RuleSettings


def with_rule_files(data: dict[str, Any], file: YamlFile) -> list[Problem]:
    """Put what stands in rule files into an experiment's ``rules``.

    Parameters
    ----------
    data
        Content of the experiment; changed in place.
    file
        The experiment's file, for paths and lines.

    Returns
    -------
    list of Problem
        What is wrong with rule files, by their own file, line and key.
    """
    rules = data.get("rules")
    if not isinstance(rules, list):
        return []
    problems: list[Problem] = []
    found: list[Any] = []
    for number, item in enumerate(rules):
        key: KeyPath = ("rules", number)
        if isinstance(item, str):
            name, own = item, {}
        elif isinstance(item, Mapping) and isinstance(item.get("file"), str):
            name, own = item["file"], {k: v for k, v in item.items() if k != "file"}
            key = (*key, "file")
        else:
            found.append(item)
            continue
        try:
            found.append(_rule(name, own, file, key))
        except SettingsProblems as error:
            problems += error.problems
            # Something has to stand there, or the keys of later problems would count wrongly.
            found.append(_PLACEHOLDER.model_copy(update={"name": f"rule {number}"}))
    data["rules"] = found
    return problems


_PLACEHOLDER = RuleSettings.model_validate(
    {"name": "x", "when": "divided", "then": {"kind": "stop"}}
)


def _rule(name: str, own: Mapping[str, Any], file: YamlFile, key: KeyPath) -> RuleSettings:
    place = Problem(str(file.path), key_text(key), "", file.line_of(key))
    path = config_path("rules", name, file.path.parent, asked_by=place)
    read = yaml_from_path(path)
    whole = {"name": path.stem, **read.data, **own}
    rule, problems = checked(RuleSettings, whole, read)
    if rule is None:
        raise SettingsProblems(_at(problem, own, file, key) for problem in problems)
    assert isinstance(rule, RuleSettings)
    return rule


def _at(problem: Problem, own: Mapping[str, Any], file: YamlFile, key: KeyPath) -> Problem:
    """The problem where its key was written: in the rule's file or beside ``file:``."""
    first = problem.key.split(".")[0].split("[")[0]
    if first not in own:
        return problem
    base = key[:-1]
    where = f"{key_text(base)}.{problem.key}"
    return Problem(str(file.path), where, problem.message, file.line_of((*base, first)))
