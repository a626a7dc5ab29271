"""One key of a rule set anew while the run goes on, checked as if it stood in the file."""

from __future__ import annotations

import yaml

from live.experiment.didyoumean import suggestion
from live.experiment.settings import RuleSettings
from live.experiment.validation import checked

FIXED = ("name", "then", "afterwards")
"""Keys that a run keeps: what happened is told by them."""


def changed_rule(rule: RuleSettings, key: str, value: str) -> RuleSettings:
    """The rule with ``key`` set to what YAML makes of ``value``.

    Raises
    ------
    ValueError
        When there is no such key, it cannot be changed in a run, or the value is wrong.
    """
    keys = [name for name in type(rule).model_fields if name not in FIXED]
    if key in FIXED:
        raise ValueError(f"'{key}' cannot be changed while the run goes on")
    if key not in keys:
        raise ValueError(f"a rule has no '{key}'; {suggestion(key, keys)}")
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"{key}: cannot read {value!r}: {' '.join(str(error).split())}") from error
    data = {**rule.model_dump(mode="json", exclude_unset=True), key: read}
    found, problems = checked(type(rule), data)
    if problems or found is None:
        raise ValueError("; ".join(f"{problem.key}: {problem.message}" for problem in problems))
    assert isinstance(found, RuleSettings)
    return found
