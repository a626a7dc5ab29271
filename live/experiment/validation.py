"""Holds written settings against a pydantic model and words every complaint for its author.

pydantic reports a value once for each alternative of a union and speaks of Python types; here each
mistake is one sentence with the key as written in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from live.errors import Problem
from live.experiment.didyoumean import KeyProblem, key_problems, suggestion
from live.experiment.yamlfile import KeyPath, YamlFile, key_text

_STRUCTURE = frozenset({"missing", "extra_forbidden", "union_tag_not_found", "model_type"})


def checked(
    kind: Any, value: Any, file: YamlFile | None = None, at: KeyPath = ()
) -> tuple[Any | None, list[Problem]]:
    """Validate ``value`` as ``kind``; the object, or None and all that is wrong with it.

    Parameters
    ----------
    kind
        A pydantic model or a union of models.
    value
        Plain data as read from YAML.
    file
        Where it was read from, for file names and lines.
    at
        Key in that file under which ``value`` stands.
    """
    found = key_problems(kind, value, at)
    result = None
    try:
        result = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        known = {problem.key for problem in found}
        found += [
            problem
            for problem in value_problems(error, value, at)
            if not any(problem.key[: len(key)] == key for key in known)
        ]
    problems = list(
        dict.fromkeys(
            Problem(
                str(file.path) if file else "",
                key_text(problem.key),
                problem.message,
                file.line_of(problem.key) if file else 0,
            )
            for problem in found
        )
    )
    return (None if problems else result), problems


def value_problems(error: ValidationError, value: Any, at: KeyPath = ()) -> list[KeyProblem]:
    """What pydantic found wrong with ``value``, one problem for each key.

    Of the alternatives of a union only the one that fits best is reported.
    """
    groups: dict[KeyPath, dict[KeyPath, list[tuple[KeyPath, Mapping[str, Any]]]]] = {}
    for entry in error.errors(include_url=False):
        key, branch = _placed(tuple(entry["loc"]), value, entry["type"])
        node = key[: branch[0]] if branch else key
        groups.setdefault(node, {}).setdefault(branch[1:], []).append((key, dict(entry)))
    problems: list[KeyProblem] = []
    for node, branches in groups.items():
        best = min(branches.values(), key=lambda entries: _badness(node, entries))
        for key, details in best:
            problems += _worded(key, details, at)
    return problems


def _badness(
    node: KeyPath, entries: Sequence[tuple[KeyPath, Mapping[str, Any]]]
) -> tuple[int, int, int]:
    """How badly an alternative fits: structure first, then whether it was meant at all."""
    structural = sum(entry["type"] in _STRUCTURE for _, entry in entries)
    elsewhere = sum(key == node for key, _ in entries)
    return structural, elsewhere, len(entries)


def _placed(loc: KeyPath, value: Any, kind: str) -> tuple[KeyPath, tuple[Any, ...]]:
    """The part of ``loc`` that is in the data, and the union alternatives that pydantic adds.

    The second item is empty, or the depth of the first alternative followed by their names.
    """
    key: list[str | int] = []
    branch: list[Any] = []
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        inside = (isinstance(value, Mapping) and part in value) or (
            isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
        )
        if inside:
            key.append(part)
            value = value[part]
        elif is_last and kind == "missing":
            key.append(part)
        else:
            branch = [*(branch or [len(key)]), part]
    return tuple(key), tuple(branch)


def _worded(key: KeyPath, entry: Mapping[str, Any], at: KeyPath) -> list[KeyProblem]:
    kind, context, given = entry["type"], entry.get("ctx") or {}, entry.get("input")
    cause = context.get("error")
    if isinstance(cause, ValidationError):
        # useq validates the items of some lists by hand, which hides the errors inside one.
        return value_problems(cause, given, (*at, *key))
    where = (*at, *key)
    if kind == "missing":
        return [KeyProblem(where, "required key is missing")]
    if kind == "extra_forbidden":
        return [KeyProblem(where, "unknown key")]
    if kind == "union_tag_not_found":
        tag = str(context.get("discriminator", "")).strip("'")
        return [KeyProblem((*where, tag), "required key is missing")]
    if kind == "union_tag_invalid":
        tag = str(context.get("discriminator", "")).strip("'")
        allowed = _quoted(context.get("expected_tags", ""))
        given = context.get("tag")
        return [KeyProblem((*where, tag), _got(given, suggestion_of(allowed, given)))]
    if kind in ("literal_error", "enum"):
        allowed = _quoted(context.get("expected", ""))
        return [KeyProblem(where, _got(given, suggestion_of(allowed, given)))]
    if kind in ("value_error", "assertion_error"):
        return [KeyProblem(where, " ".join(str(cause).split()) or str(entry["msg"]))]
    message = str(entry["msg"]).removeprefix("Input should be ")
    message = message.replace("String should match pattern", "text that matches")
    return [KeyProblem(where, _got(given, f"need {message}"))]


def suggestion_of(allowed: Sequence[str], given: Any) -> str:
    """Did-you-mean for text, the list of what is allowed for anything else."""
    if isinstance(given, str):
        return suggestion(given, allowed)
    return f"allowed: {', '.join(allowed)}"


def _got(given: Any, rest: str) -> str:
    text = repr(given)
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return f"got {shown}; {rest}"


def _quoted(expected: Any) -> list[str]:
    text = str(expected)
    return re.findall(r"'([^']*)'", text) or [part.strip() for part in text.split(",")]
