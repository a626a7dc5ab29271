"""Conditions: what is read, what is refused and why; nothing but comparing gets through."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live.rules.columns import COLUMNS
from live.rules.expression import ExpressionError, read_expression, sql_of
from live.rules.queries import Asked, Engine, QueryError


@pytest.mark.parametrize(
    "text",
    [
        "divided",
        "area > 5 AND class = 'mitotic'",
        "class IN ('a', 'b') OR p BETWEEN 0.1 AND 0.9",
        "NOT divided -- only the quiet ones",
        "mean_change IS NULL",
        "coalesce(mean_change, 1) > greatest(2, area / 100)",
        "CASE WHEN divided THEN true ELSE age > 3 END",
        "class LIKE 'mito%'",
        "area::INTEGER % 2 = 0",
    ],
)
def test_conditions_are_read(text: str) -> None:
    assert read_expression(text).text == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("divides", "got 'divides'; did you mean 'divided'"),
        ("arae > 5", "no column 'arae'; did you mean 'area'"),
        ("area", "this is a number, need something that holds or does not"),
        ("class", "this is text"),
        ("area > 'big'", "Could not convert string 'big'"),
        ("count(*) > 3", "give the rule `per: frame`"),
        ("(SELECT 1) = 1", "a query inside the condition is not allowed"),
        ("id IN (SELECT id FROM objects)", "a query inside"),
        ("EXISTS (FROM objects)", "a query inside"),
        ("avg(area) OVER () > 1", "window function"),
        ("1 = 1; DROP TABLE objects", "not an SQL expression"),
        ("true) FROM (SELECT 1", "more than one expression"),
        ("true), (true", "more than one expression|not allowed|no function 'row'"),
        ("true) WHERE (true", "more than one expression"),
        ("true AS x", "leave out AS|not an SQL"),
        ("? = 1", "a parameter is not allowed"),
        ("$1 = 1", "a parameter is not allowed"),
        ("* = 1", "not allowed|not an SQL"),
        ("x[1] = 1", "not allowed"),
        ("read_text('/etc/passwd') = ''", "no function 'read_text'"),
        ("getenv('HOME') = ''", "no function 'getenv'"),
        ("current_setting('threads') = ''", "no function 'current_setting'"),
        ("random() > 0.5", "no function 'random'"),
        ("now() IS NULL", "no function 'now'"),
        ("repeat('a', 999999999) = ''", "no function 'repeat'"),
        ("main.abs(x) > 1", "without a schema"),
        ("CAST(area AS BLOB) IS NULL", "cannot cast to BLOB"),
        ("objects.area > 1", "no column 'objects.area'"),
        ("area > 1 AND " * 400 + "true", "characters; 2000 are the most"),
        ("x>1 OR " * 200 + "divided", "more than 500 parts"),
        ("x+" * 150 + "x > 1", "nested more than 100 deep"),
        ("x+" * 900 + "x > 1", "nested more than 100 deep"),
    ],
)
def test_everything_else_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(ExpressionError, match=why):
        read_expression(text)


def test_a_rule_per_frame_speaks_of_all_objects() -> None:
    read_expression("count(*) FILTER (WHERE divided) > 3 AND confluence > 0.5", "frame")
    with pytest.raises(ExpressionError, match=r"'area' has a value per object.*avg"):
        read_expression("area > 3", "frame")
    assert read_expression("p * area", number=True).columns == {"p", "area"}
    with pytest.raises(ExpressionError, match="need a number"):
        read_expression("divided", number=True)


def test_named_classes_are_known_before_a_run() -> None:
    found = read_expression("class IN ('a', 'b') OR (class = 'c' AND position = 'A1')")
    assert found.classes == ("a", "b", "c")


NASTY = st.lists(
    st.sampled_from(
        ["area", "divided", ">", "=", "(", ")", ";", "--", "/*", "*/", "'", '"', "1", ",", "\n",
         "SELECT", "FROM", "objects", "ATTACH 'x.db'", "COPY objects TO 'x'", "PRAGMA version",
         "read_csv('x')", "glob('*')", "'/etc/passwd'", "INSTALL httpfs", "LOAD httpfs", "SET",
         "::", "$1", "?", "UNION", "WITH x AS", "CALL", "getvariable('a')", "EXPORT", "abs(", "[",
         "lambda x: x", "x -> x", "{'a': 1}", "\0", "é", "COLUMNS(*)", "AND", "OR", "NOT"]
    ),
    max_size=12,
).map(" ".join)  # fmt: skip


@given(NASTY | st.text(max_size=40))
@settings(max_examples=250, deadline=None)
def test_whatever_is_written_only_columns_and_listed_functions_get_through(text: str) -> None:
    try:
        found = read_expression(text)
    except ExpressionError:
        return
    tree = json.dumps(json.loads(found.tree))
    for word in ("SUBQUERY", "STAR", "PARAMETER", "WINDOW", "LAMBDA", "read_", "glob"):
        assert f'"{word}' not in tree
    assert found.columns <= COLUMNS.keys()
    assert ";" not in sql_of(found.tree).replace("';'", "")


def engine(*asked: Asked, plain: bool = True) -> Engine:
    return Engine(asked, ("i", "m"), plain=plain)


def values(count: int) -> dict[str, object]:
    return {
        "area": np.arange(count, dtype=np.float32),
        "class": np.arange(count) % 3 - 1,
        "p": np.full(count, np.nan),
        "n": count,
        "confluence": 0.6,
        "position": "it's A1",
    }


def test_the_engine_agrees_with_numpy_while_the_number_of_objects_changes() -> None:
    run = engine(
        Asked(read_expression("area > 10 AND class = 'm'")),
        Asked(read_expression("p > 0.5 OR sqrt(area - 5) > 2")),
        Asked(read_expression("area * 2", number=True), number=True),
        Asked(read_expression("count(*) > 20 AND confluence > 0.5", "frame"), per_frame=True),
        Asked(read_expression("position = 'it''s A1'")),
    )
    for count in (0, 3, 63, 64, 65, 500, 1, 0):
        given_ = values(count)
        area, classes = np.asarray(given_["area"]), np.asarray(given_["class"])
        one, two, three, four, five = run.answer(count, given_)
        assert one.tolist() == ((area > 10) & (classes == 1)).tolist()
        assert two.tolist() == (area > 9).tolist()  # neither NULL nor a root of less than 0 counts
        assert three.tolist() == (area * 2).tolist()
        assert four.tolist() == [count > 20]
        assert five.tolist() == [True] * count
    assert not run.answer(2, {**values(2), "position": "B2"})[4].any()
    run.close()


NUMBERS = st.sampled_from(["area", "p", "n", "age", "2", "-1.5", "0"])
PLAIN = st.recursive(
    st.one_of(
        st.tuples(NUMBERS, st.sampled_from(["<", "<=", ">", ">=", "=", "<>"]), NUMBERS).map(
            " ".join
        ),
        NUMBERS.map("{} IS NULL".format),
        NUMBERS.map("{} IS NOT NULL".format),
        st.tuples(NUMBERS, NUMBERS, NUMBERS).map(lambda k: f"{k[0]} BETWEEN {k[1]} AND {k[2]}"),
        st.sampled_from(["divided", "in_burst", "class = 'm'", "class <> 'i'", "class = 'x'"]),
    ),
    lambda part: st.one_of(
        part.map("NOT ({})".format),
        st.tuples(part, part).map(lambda k: f"({k[0]}) AND ({k[1]})"),
        st.tuples(part, part).map(lambda k: f"({k[0]}) OR ({k[1]})"),
    ),
    max_leaves=6,
)


@given(PLAIN, st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_plain_conditions_are_what_duckdb_makes_of_them(text: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 9))
    given_ = {
        "area": rng.integers(-2, 4, count).astype(np.float32),
        "p": rng.choice([np.nan, 0.0, 2.0, np.inf], count),
        "age": rng.integers(-1, 3, count),
        "class": rng.integers(-1, 2, count),
        "divided": rng.random(count) < 0.5,
        "in_burst": bool(rng.random() < 0.5),
        "n": count,
    }
    try:
        asked = Asked(read_expression(text))
    except ExpressionError:  # such as a constant alone
        return
    fast, slow = engine(asked), engine(asked, plain=False)
    assert fast._plain
    assert fast.answer(count, given_)[0].tolist() == slow.answer(count, given_)[0].tolist()
    fast.close()
    slow.close()


def test_a_condition_that_cannot_be_worked_out_is_named() -> None:
    run = engine(
        Asked(read_expression("area > 1")),
        Asked(read_expression("power(10, area)::INTEGER > 1")),
    )
    with pytest.raises(QueryError) as caught:
        run.answer(30, values(30))
    assert list(caught.value.culprits) == [1]
    run.close()
