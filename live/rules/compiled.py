"""Plain conditions worked out by numpy: comparisons, AND, OR, NOT, BETWEEN, IS NULL.

A prepared query costs DuckDB about a millisecond when the processor comes back from a pause between
two frames, whatever it asks. Most conditions only compare columns with numbers; these need no
database. What is not plain is left to it, and both give the same answers (a test compares them).
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from live.rules.columns import COLUMNS

Values = Mapping[str, Any]
Bools = NDArray[np.bool_]

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "COMPARE_EQUAL": operator.eq,
    "COMPARE_NOTEQUAL": operator.ne,
    "COMPARE_LESSTHAN": operator.lt,
    "COMPARE_LESSTHANOREQUALTO": operator.le,
    "COMPARE_GREATERTHAN": operator.gt,
    "COMPARE_GREATERTHANOREQUALTO": operator.ge,
}
_MOST_EXACT = 2**53
"""Whole numbers up to this are the same as a double."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A value of SQL's logic for each object, or one for the frame."""

    holds: Bools
    unknown: Bools
    """NULL; then ``holds`` is False."""


Condition = Callable[[Values], Truth]
Number = Callable[[Values], Any]


class _NotPlain(Exception):
    pass


def compiled(
    tree: str, column: Callable[[str], str], classes: Mapping[str, int]
) -> Condition | None:
    """A condition as a function of the columns; None where it is not plain.

    Parameters
    ----------
    tree
        Of an `live.rules.expression.Expression`.
    column
        What a name in the condition stands for.
    classes
        Name -> number of each class.
    """
    try:
        return _condition(json.loads(tree), column, classes)
    except _NotPlain:
        return None


def _condition(
    node: Mapping[str, Any], column: Callable[[str], str], classes: Mapping[str, int]
) -> Condition:
    kind, type_ = node["class"], node["type"]
    if kind == "COLUMN_REF":
        return _flag(_name(node), column)
    if kind == "COMPARISON" and type_ in _COMPARE:
        if (of_class := _of_class(node, classes)) is not None:
            return of_class
        return _compared(
            _COMPARE[type_], _number(node["left"], column), _number(node["right"], column)
        )
    if kind == "BETWEEN":
        value = _number(node["input"], column)
        low = _compared(operator.ge, value, _number(node["lower"], column))
        high = _compared(operator.le, value, _number(node["upper"], column))
        return _both(low, high)
    if kind == "CONJUNCTION":
        parts = [_condition(child, column, classes) for child in node["children"]]
        join = _both if type_ == "CONJUNCTION_AND" else _either
        whole = parts[0]
        for part in parts[1:]:
            whole = join(whole, part)
        return whole
    if kind == "OPERATOR" and type_ == "OPERATOR_NOT":
        return _not(_condition(node["children"][0], column, classes))
    if kind == "OPERATOR" and type_ in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
        return _null(_number(node["children"][0], column), type_ == "OPERATOR_IS_NULL")
    raise _NotPlain


def _name(node: Mapping[str, Any]) -> str:
    names = node["column_names"]
    name = str(names[0]).lower()
    if len(names) != 1 or _spoken(name) is None:
        raise _NotPlain
    return name


def _spoken(name: str) -> str | None:
    known = COLUMNS.get(name)
    return None if known is None else known.type


def _flag(name: str, column: Callable[[str], str]) -> Condition:
    if _spoken(name) != "BOOLEAN":
        raise _NotPlain
    key = column(name)

    def flag(values: Values) -> Truth:
        holds = np.asarray(values[key], dtype=bool)
        return Truth(holds, np.zeros_like(holds))

    return flag


def _number(node: Mapping[str, Any], column: Callable[[str], str]) -> Number:
    if node["class"] == "CONSTANT":
        literal = node.get("literal") or {}
        if literal.get("kind") not in ("INTEGER", "NUMERIC"):
            raise _NotPlain
        constant = float(literal["text"])
        if abs(constant) > _MOST_EXACT:
            raise _NotPlain
        return lambda _: constant
    if node["class"] != "COLUMN_REF" or _spoken(_name(node)) not in ("DOUBLE", "BIGINT"):
        raise _NotPlain
    key = column(_name(node))
    return lambda values: np.asarray(values[key], dtype=np.float64)


def _compared(compare: Callable[[Any, Any], Any], left: Number, right: Number) -> Condition:
    def comparison(values: Values) -> Truth:
        a, b = left(values), right(values)
        unknown = np.isnan(a) | np.isnan(b)
        return Truth(np.asarray(compare(a, b) & ~unknown), np.asarray(unknown))

    return comparison


def _of_class(node: Mapping[str, Any], classes: Mapping[str, int]) -> Condition | None:
    """``class = 'name'``, either way round; None where it is something else."""
    sides = [node["left"], node["right"]]
    names = [side for side in sides if side["class"] == "COLUMN_REF" and _name(side) == "class"]
    texts = [side["literal"]["text"] for side in sides if side["class"] == "CONSTANT"
             and (side.get("literal") or {}).get("kind") == "STRING"]  # fmt: skip
    equal = node["type"] == "COMPARE_EQUAL"
    if not (equal or node["type"] == "COMPARE_NOTEQUAL") or len(names) != 1 or len(texts) != 1:
        return None
    wanted = classes.get(str(texts[0]), -2)

    def is_class(values: Values) -> Truth:
        given = np.asarray(values["class"])
        unknown = (given < 0) | (given >= len(classes))
        return Truth(np.asarray(((given == wanted) == equal) & ~unknown), np.asarray(unknown))

    return is_class


def _null(value: Number, wanted: bool) -> Condition:
    def null(values: Values) -> Truth:
        holds = np.asarray(np.isnan(value(values)) == wanted)
        return Truth(holds, np.zeros_like(holds))

    return null


def _not(part: Condition) -> Condition:
    def negated(values: Values) -> Truth:
        one = part(values)
        return Truth(np.asarray(~one.holds & ~one.unknown), one.unknown)

    return negated


def _both(first: Condition, second: Condition) -> Condition:
    def both(values: Values) -> Truth:
        a, b = first(values), second(values)
        holds = a.holds & b.holds
        # false beats NULL
        unknown = (a.holds | a.unknown) & (b.holds | b.unknown) & ~holds
        return Truth(np.asarray(holds), np.asarray(unknown))

    return both


def _either(first: Condition, second: Condition) -> Condition:
    def either(values: Values) -> Truth:
        a, b = first(values), second(values)
        holds = a.holds | b.holds
        return Truth(np.asarray(holds), np.asarray((a.unknown | b.unknown) & ~holds))

    return either
