"""Finds keys that nobody reads: misspelt, misplaced or missing, with the name that was meant.

The check reads the type annotations of pydantic models, so it works for our own settings and for
useq plans, which drop unknown keys without a word (``chanels:`` would become an empty run) and
take an incomplete grid for a bare position. Where an annotation offers alternatives, the value is
held against each, and what is reported refers to the one that fits best.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from live.experiment.yamlfile import KeyPath

_TIMEDELTA_KEYS = ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "weeks")
_LIST_SHORT_FORM = {"MultiPhaseTimePlan": "phases"}
"""Models that also take a bare list, and the key that the list stands for."""
_WRONG_TAG = 100.0


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """A key that is unknown or missing."""

    key: KeyPath
    message: str


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``word`` was probably meant to be, or None."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'? (allowed: ...)`` for a word that is not among ``known``."""
    names = sorted(set(known))
    meant = nearest(word, names)
    listed = ", ".join(names) if names else "nothing"
    return f"did you mean '{meant}'? (allowed: {listed})" if meant else f"allowed: {listed}"


def key_problems(annotation: Any, value: Any, at: KeyPath = ()) -> list[KeyProblem]:
    """Every unknown or missing key of ``value``, read as ``annotation``.

    Parameters
    ----------
    annotation
        A pydantic model or any type made of them: unions, optionals, lists, tuples, dicts.
    value
        What the YAML file holds there.
    at
        Where ``value`` stands in the file.

    Returns
    -------
    list of KeyProblem
        Empty when every key is read and none is missing. Values are not judged.
    """
    return list(_best(annotation, value, at).problems)


@dataclass(frozen=True, slots=True)
class _Fit:
    cost: float
    problems: tuple[KeyProblem, ...] = ()
    missing: tuple[str, ...] = ()


_PERFECT = _Fit(0.0)


def _best(annotation: Any, value: Any, at: KeyPath) -> _Fit:
    if isinstance(value, list | tuple):
        return _best_of_list(annotation, value, at)
    if not isinstance(value, Mapping):
        return _PERFECT
    alternatives = tuple(_alternatives(annotation))
    models = [kind for kind in alternatives if _is_model(kind)]
    if models:
        fits = [_fit(model, value, at) for model in models]
        best = min(fits, key=lambda fit: fit.cost)
        # With a wrong tag there is nothing to compare with; the tag itself is reported elsewhere.
        no_tag_fits = len(models) > 1 and best.cost >= _WRONG_TAG
        return _PERFECT if no_tag_fits else _merged(best, fits, at)
    if timedelta in alternatives:
        return _fit_names(value, _TIMEDELTA_KEYS, at)
    for kind in alternatives:
        arguments = typing.get_args(kind)
        if typing.get_origin(kind) in (dict, Mapping) and len(arguments) == 2:
            return _sum(_best(arguments[1], item, (*at, key)) for key, item in value.items())
        if typing.get_origin(kind) is tuple and arguments[1:] == (Ellipsis,):
            return _best(arguments[0], value, at)  # one item where a list of them may stand
    return _PERFECT


def _best_of_list(annotation: Any, value: Sequence[Any], at: KeyPath) -> _Fit:
    for kind in _alternatives(annotation):
        if _is_model(kind) and (inner := _LIST_SHORT_FORM.get(kind.__name__)):
            return _best_of_list(kind.model_fields[inner].annotation, value, at)
        if typing.get_origin(kind) in (list, tuple, set, frozenset, Sequence):
            arguments = typing.get_args(kind)
            if len(arguments) == 2 and arguments[1] is Ellipsis:
                arguments = arguments[:1]
            if len(arguments) == 1:
                return _sum(_best(arguments[0], item, (*at, i)) for i, item in enumerate(value))
            return _sum(
                _best(kind_of_item, item, (*at, i))
                for i, (kind_of_item, item) in enumerate(zip(arguments, value, strict=False))
            )
    return _PERFECT


def _fit(model: type[BaseModel], value: Mapping[str, Any], at: KeyPath) -> _Fit:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    cost = 0.0
    for name, field in fields.items():
        choices = typing.get_args(field.annotation)
        is_tag = typing.get_origin(field.annotation) is typing.Literal and len(choices) == 1
        if is_tag and name in value and value[name] not in choices:
            cost += _WRONG_TAG
    names = _fit_names(value, tuple(fields), at)
    missing = [n for n, field in fields.items() if field.is_required() and n not in value]
    meant = {nearest(str(key), fields) for key in value if key not in fields}
    absent = [name for name in missing if name not in meant]
    # A misspelt key and the required one that it stands for are one mistake, not two.
    cost += names.cost + len(missing) - 0.5 * (len(missing) - len(absent))
    nested = _sum(
        _best(field.annotation, value[name], (*at, name))
        for name, field in fields.items()
        if name in value
    )
    problems = names.problems + tuple(
        KeyProblem((*at, name), "required key is missing") for name in absent
    )
    # Mistakes further down, however many, do not decide which form was meant up here.
    deeper = min(nested.cost, _WRONG_TAG / 2)
    return _Fit(cost + deeper, problems + nested.problems, tuple(absent))


def _fit_names(value: Mapping[str, Any], names: Sequence[str], at: KeyPath) -> _Fit:
    unknown = [key for key in value if key not in names]
    # Slightly more than one each, so that an incomplete form beats one that knows fewer keys.
    return _Fit(
        1.01 * len(unknown),
        tuple(
            KeyProblem((*at, key), f"unknown key; {suggestion(str(key), names)}") for key in unknown
        ),
    )


def _merged(best: _Fit, fits: Sequence[_Fit], at: KeyPath) -> _Fit:
    """When several forms lack one key each and nothing else, name them all."""
    ties = [fit for fit in fits if fit.cost == best.cost and fit.missing]
    if len(ties) < 2 or any(len(fit.problems) != 1 for fit in ties):
        return best
    wanted = " or ".join(dict.fromkeys(f"'{fit.missing[0]}'" for fit in ties))
    problem = KeyProblem(at, f"incomplete; add {wanted}")
    return _Fit(best.cost, (problem,), best.missing)


def _sum(fits: Iterable[_Fit]) -> _Fit:
    cost = 0.0
    problems: list[KeyProblem] = []
    for fit in fits:
        cost += fit.cost
        problems += fit.problems
    return _Fit(cost, tuple(problems))


def _alternatives(annotation: Any) -> Iterable[Any]:
    """The members of a union, opened through Annotated and Optional; else the type itself."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _alternatives(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _alternatives(member)
    elif annotation is not types.NoneType:
        yield annotation


def _is_model(kind: Any) -> typing.TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
