"""A rule's condition: one SQL expression, read by DuckDB and refused unless it only compares.

What was read is a tree. Every node of it must be of a kind, a function or a column on a list, so
that nothing but arithmetic on the columns can be asked for; what runs is written anew from that
tree, never the text itself.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from live.experiment.didyoumean import suggestion
from live.rules.columns import (
    AGGREGATES,
    CAST_TYPES,
    COLUMNS,
    FRAME_COLUMNS,
    FUNCTIONS,
    NAN_MAKERS,
    OBJECT_COLUMNS,
    OPERATORS,
    ROI_COLUMNS,
)

if TYPE_CHECKING:
    import duckdb

MOST_CHARACTERS = 2000
MOST_NODES = 500
MOST_DEPTH = 100

Per = Literal["object", "frame"]

_PLAIN = frozenset(
    ("COMPARISON", "CONJUNCTION", "CONSTANT", "BETWEEN", "CASE", "COLUMN_REF", "FUNCTION",
     "OPERATOR", "CAST")
)  # fmt: skip
_OPERATOR_TYPES = frozenset(
    ("OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "COMPARE_IN", "COMPARE_NOT_IN",
     "OPERATOR_COALESCE", "OPERATOR_NULLIF")
)  # fmt: skip
_NOT_ALLOWED = {
    "SUBQUERY": "a query inside the condition",
    "WINDOW": "a window function",
    "STAR": "*",
    "PARAMETER": "a parameter",
    "LAMBDA": "a lambda function",
}
_ONE_NAME = re.compile(r"[A-Za-z_]\w*")


_TOO_DEEP = f"nested more than {MOST_DEPTH} deep; make it simpler"


class ExpressionError(ValueError):
    """A condition that is refused; the sentence says why and what to write."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition that was read and found harmless."""

    text: str
    """As written."""
    tree: str
    """The same as DuckDB's JSON."""
    columns: frozenset[str]
    classes: tuple[str, ...]
    """Names that ``class`` is compared with."""


@lru_cache(maxsize=1024)
def read_expression(text: str, per: Per = "object", *, number: bool = False) -> Expression:
    """Read a condition and refuse whatever is not one.

    Parameters
    ----------
    text
        A boolean SQL expression over the columns of `live.rules.columns`.
    per
        ``frame`` allows aggregates over the objects of the frame, and only those.
    number
        The value is to be a number instead.

    Raises
    ------
    ExpressionError
        With what was got, why it cannot be, and what to write instead.
    """
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"{len(text)} characters; {MOST_CHARACTERS} are the most")
    if not text.strip():
        raise ExpressionError("the condition is empty; write one such as `area > 500`")
    if _ONE_NAME.fullmatch(text.strip()) and text.strip().lower() not in COLUMNS:
        raise ExpressionError(f"got '{text.strip()}'; {suggestion(text.strip(), COLUMNS)}")
    shown = " ".join(text.split())
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    with _LOCK:
        try:
            node, columns, classes = _checked(text, per)
            tree = json.dumps(node)
            if any(name in columns for name in ROI_COLUMNS):
                columns = columns | {"y", "x"}
            kind = _type_of(sql_of(tree), per)
        except ExpressionError as error:
            raise ExpressionError(f"got '{shown}'; {error}") from error
    if number and kind not in ("DOUBLE", "FLOAT", "BIGINT", "INTEGER", "HUGEINT"):
        if not kind.startswith("DECIMAL"):
            raise ExpressionError(f"got '{shown}'; this is {kind}, need a number such as mean")
    elif not number and kind != "BOOLEAN":
        raise ExpressionError(
            f"got '{shown}'; this is {_word(kind)}, need something that holds or does not: "
            f"compare it, as in `{shown[:40]} > 0`"
        )
    return Expression(text, tree, frozenset(columns), tuple(sorted(classes)))


def sql_of(tree: str, rename: Callable[[str], str | None] = lambda _: None) -> str:
    """SQL text of a tree, with names changed where ``rename`` gives another one.

    A name that comes back with a blank in it is taken as an expression of its own.
    """
    node = json.loads(tree)
    whole = json.loads(_json("SELECT 0"))
    whole["statements"][0]["node"]["select_list"] = [_renamed(node, rename)]
    (text,) = _run("SELECT json_deserialize_sql(?)", [json.dumps(whole)])
    return str(text).removeprefix("SELECT ")


def _renamed(node: Any, rename: Callable[[str], str | None]) -> Any:
    if isinstance(node, list):
        return [_renamed(item, rename) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("class") == "COLUMN_REF" and (new := rename(_name_of(node))) is not None:
        return _node(new)
    changed = {key: _renamed(value, rename) for key, value in node.items()}
    if node.get("class") == "FUNCTION" and str(node["function_name"]).lower() in NAN_MAKERS:
        return _put(_node("nullif(value_, CAST('NaN' AS DOUBLE))"), changed)
    return changed


def _put(template: Any, node: dict[str, Any]) -> Any:
    """``template`` with ``node`` where it says ``value_``."""
    if isinstance(template, list):
        return [_put(item, node) for item in template]
    if not isinstance(template, dict):
        return template
    if template.get("class") == "COLUMN_REF" and _name_of(template) == "value_":
        return node
    return {key: _put(value, node) for key, value in template.items()}


# --- reading -------------------------------------------------------------------------------------


def _checked(text: str, per: Per) -> tuple[dict[str, Any], frozenset[str], set[str]]:
    node = _node(text)
    columns: set[str] = set()
    classes: set[str] = set()
    for count, one in enumerate(_nodes(node)):
        if count >= MOST_NODES:
            raise ExpressionError(f"more than {MOST_NODES} parts; make it simpler")
        _judge(one, per, columns)
        classes |= _class_names(one)
    return node, frozenset(columns), classes


def _node(text: str) -> dict[str, Any]:
    """The tree of one expression; anything round it is refused."""
    if "\0" in text:
        raise ExpressionError("a zero character cannot be read")
    # The line break keeps a comment at the end from swallowing the bracket.
    try:
        read = json.loads(_json(f"SELECT (\n{text}\n)"))
    except RecursionError:
        raise ExpressionError(_TOO_DEEP) from None
    if read.get("error"):
        said = " ".join(str(read.get("error_message", "")).split())
        raise ExpressionError(f"not an SQL expression: {said or 'cannot be read'}")
    statements = read["statements"]
    body = statements[0]["node"] if len(statements) == 1 else {}
    chosen = body.get("select_list", [])
    bare = (
        body.get("type") == "SELECT_NODE"
        and body["from_table"].get("type") == "EMPTY"
        and not any(
            body.get(key)
            for key in ("modifiers", "where_clause", "group_expressions", "group_sets", "having",
                        "sample", "qualify")
        )
        and not body["cte_map"]["map"]
    )  # fmt: skip
    if len(chosen) != 1 or not bare:
        raise ExpressionError("this is more than one expression; write the condition alone")
    node: dict[str, Any] = chosen[0]
    if node.get("alias"):
        raise ExpressionError("leave out AS: the condition needs no name")
    return node


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every part of a tree that has a class; no recursion, the tree may be deep."""
    waiting = [(node, 0)]
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, dict):
            if "class" in one and one["class"] != "TYPE":
                depth += 1
                if depth > MOST_DEPTH:
                    raise ExpressionError(_TOO_DEEP)
                yield one
            waiting.extend((value, depth) for key, value in one.items() if key != "type_expr")
        elif isinstance(one, list):
            waiting.extend((item, depth) for item in one)


def _judge(node: dict[str, Any], per: Per, columns: set[str]) -> None:
    kind = str(node["class"])
    if kind not in _PLAIN:
        what = _NOT_ALLOWED.get(kind, f"{kind.lower()}")
        raise ExpressionError(f"{what} is not allowed; compare columns with AND, OR, NOT, IN")
    if kind == "COLUMN_REF":
        name = _name_of(node)
        if name not in COLUMNS:
            raise ExpressionError(f"no column '{name}'; {suggestion(name, COLUMNS)}")
        columns.add(name)
    elif kind == "FUNCTION":
        _judge_function(node, per)
    elif kind == "OPERATOR" and node["type"] not in _OPERATOR_TYPES:
        raise ExpressionError(f"{node['type'].lower().replace('_', ' ')} is not allowed")
    elif kind == "CAST":
        to = node.get("type_expr") or node.get("cast_type") or {}
        name = str(to.get("type_name") or to.get("id") or "").upper()
        if name not in CAST_TYPES:
            raise ExpressionError(f"cannot cast to {name}; {suggestion(name, CAST_TYPES)}")


def _judge_function(node: dict[str, Any], per: Per) -> None:
    name = str(node["function_name"]).lower()
    if node.get("schema") or node.get("catalog"):
        raise ExpressionError(f"write '{name}' without a schema")
    if name in AGGREGATES and name not in FUNCTIONS:
        if per == "object":
            raise ExpressionError(
                f"{name}() looks at all objects at once; give the rule `per: frame` for that"
            )
        return
    allowed = FUNCTIONS | OPERATORS
    if name not in allowed:
        known = FUNCTIONS | (AGGREGATES if per == "frame" else frozenset())
        raise ExpressionError(f"no function '{name}'; {suggestion(name, known)}")


def _class_names(node: dict[str, Any]) -> set[str]:
    """Text that ``class`` is compared with in this node."""
    if node["class"] not in ("COMPARISON", "OPERATOR"):
        return set()
    parts = node.get("children") or [node.get("left"), node.get("right")]
    found = [part for part in parts if isinstance(part, dict)]
    if not any(p.get("class") == "COLUMN_REF" and _name_of(p) == "class" for p in found):
        return set()
    return {name for part in found for name in _texts(part)}


def _texts(node: dict[str, Any]) -> Iterator[str]:
    if node.get("class") == "CONSTANT":
        value = node.get("literal") or node.get("value") or {}
        text = value.get("text", value.get("value"))
        if isinstance(text, str) and value.get("kind", "STRING") == "STRING":
            yield text


def _name_of(node: dict[str, Any]) -> str:
    return ".".join(str(part) for part in node["column_names"]).lower()


# --- DuckDB --------------------------------------------------------------------------------------

_LOCK = threading.RLock()
LOCKED_UP: dict[str, Any] = {
    "threads": 1,
    "memory_limit": "256MB",
    "enable_external_access": False,
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "python_enable_replacements": False,
    "lock_configuration": True,
}
"""No files, no network, no Python variables, and no way to ask for them later."""


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(":memory:", config=LOCKED_UP)
    for name, columns in (("objects", COLUMNS), ("frame", FRAME_COLUMNS)):
        fields = ", ".join(f'"{key}" {column.type}' for key, column in columns.items())
        connection.execute(f"CREATE TABLE {name} ({fields})")
        # A row of plain values shows at once when text is compared with a number.
        plain = {"DOUBLE": "1", "BIGINT": "1", "BOOLEAN": "true", "VARCHAR": "'a'"}
        row = ", ".join(plain[column.type] for column in columns.values())
        connection.execute(f"INSERT INTO {name} VALUES ({row})")
    return connection


def _run(sql: str, values: list[str] | None = None) -> tuple[Any, ...]:
    import duckdb

    with _LOCK:
        try:
            rows = _connection().execute(sql, values or []).fetchall()
        except duckdb.Error as error:
            # Only the first sentence speaks of the expression; the rest of how DuckDB was called.
            said = " ".join(str(error).split("\n\n")[0].split("\n")[0].split())
            raise ExpressionError(said) from error
    return tuple(rows[0])


@lru_cache(maxsize=4096)
def _json(sql: str) -> str:
    (text,) = _run("SELECT json_serialize_sql(?::VARCHAR)", [sql])
    return str(text)


def _type_of(sql: str, per: Per) -> str:
    """Type of the value, from binding the expression to a table of plain values."""
    if per == "frame":
        sql = sql_of(json.dumps(_node(sql)), frame_value) + ", count(*)"
    try:
        kind = str(_run(f"DESCRIBE SELECT {sql} FROM objects")[1])
        try:
            _run(f"SELECT {sql} FROM objects")
        except ExpressionError as error:
            if "Conversion Error" in str(error):
                raise
        return kind
    except ExpressionError as error:
        bare = next((name for name in OBJECT_COLUMNS if f'"{name}" must appear' in str(error)), "")
        if per == "frame" and bare:
            raise ExpressionError(
                f"'{bare}' has a value per object; in a rule `per: frame` write avg({bare}), "
                f"max({bare}) or count(*) FILTER (WHERE ...)"
            ) from error
        raise


def frame_value(name: str) -> str | None:
    """How a rule per frame gets a value of the frame; None for a column of the objects."""
    return f'(SELECT "{name}" FROM frame)' if name in FRAME_COLUMNS else None


def _word(kind: str) -> str:
    words = {"VARCHAR": "text", "BOOLEAN": "true or false"}
    return words.get(kind, "nothing" if kind in ('"NULL"', "NULL") else "a number")
