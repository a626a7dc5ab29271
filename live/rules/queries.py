"""All conditions of a run in two prepared queries: one over the objects, one over the frame.

What `live.rules.compiled` can work out by itself does not go there. The tables that the queries
read are numpy arrays that DuckDB was shown once. Each frame is written into the same arrays, so
nothing is copied, planned or allocated between frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from live.rules.columns import (
    COLUMNS,
    DENOISED_COLUMNS,
    FRAME_COLUMNS,
    ROI_COLUMNS,
    SqlType,
)
from live.rules.compiled import compiled
from live.rules.expression import LOCKED_UP, Expression, frame_value, sql_of

FEWEST_ROWS = 64
MOST_TEXTS = 10_000
"""Names of positions or presets that are known at once; then they are learnt anew."""
_DTYPES: dict[SqlType, Any] = {
    "DOUBLE": np.float64, "BIGINT": np.int64, "BOOLEAN": np.bool_, "VARCHAR": np.int64,
}  # fmt: skip

Values = Mapping[str, Any]
"""Name of a column -> (n,) array of the objects, or one value of the frame."""


class QueryError(Exception):
    """DuckDB could not work conditions out for this frame.

    Parameters
    ----------
    culprits
        Place of each such condition -> what DuckDB said.
    """

    def __init__(self, culprits: Mapping[int, str]) -> None:
        super().__init__("; ".join(culprits.values()))
        self.culprits = dict(culprits)


@dataclass(frozen=True, slots=True)
class Asked:
    """One condition among those of a run."""

    expression: Expression
    per_frame: bool = False
    number: bool = False
    """Its value is a number."""
    roi: int = -1
    """Which region ``in_roi`` and ``entered_roi`` speak of; -1 for none."""
    denoised: bool = False
    """Intensities are those of the denoised image."""

    def column(self, name: str) -> str:
        """What a name in the condition stands for."""
        if name in ROI_COLUMNS:
            return f"{name}_{self.roi}"
        return DENOISED_COLUMNS.get(name, name) if self.denoised else name


class Engine:
    """Works out conditions for one frame after the other. One thread uses it.

    Parameters
    ----------
    asked
        The conditions, in the order of the answers.
    classes
        Names that ``class_id`` counts into.
    plain
        Work plain conditions out without DuckDB.
    """

    def __init__(
        self, asked: Sequence[Asked], classes: Sequence[str] = (), *, plain: bool = True
    ) -> None:
        import duckdb

        self._error = duckdb.Error
        self._connection = duckdb.connect(":memory:", config=LOCKED_UP)
        self._asked = tuple(asked)
        numbers = {name: k for k, name in enumerate(classes)}
        self._plain = {
            k: found
            for k, one in enumerate(asked)
            if plain
            and not one.number
            and (found := compiled(one.expression.tree, one.column, numbers)) is not None
        }
        hard = [(k, one) for k, one in enumerate(asked) if k not in self._plain]
        self._of_objects = [k for k, one in hard if not one.per_frame]
        self._of_frame = [k for k, one in hard if one.per_frame]
        self._of_all = self._of_objects + self._of_frame
        self._texts: dict[str, dict[str, int]] = {"class": numbers}
        self._needed = needed([one for _, one in hard])
        self._sqls = {k: self._sql(one) for k, one in hard}
        self._rows = 0
        self._objects: dict[str, NDArray[Any]] = {}
        self._frame: dict[str, NDArray[Any]] = {}

    def close(self) -> None:
        """Let go of the database in memory."""
        self._connection.close()

    def answer(self, count: int, values: Values) -> list[NDArray[Any]]:
        """Every condition for one frame.

        Parameters
        ----------
        count
            Objects in the frame.
        values
            Every column that `needed` names; those of a region as ``in_roi_0`` and so on.

        Returns
        -------
        list
            For each condition (n,) bool or float64, NaN where NULL; (1,) for one of the frame.

        Raises
        ------
        QueryError
            When a value cannot be worked out, such as an overflow.
        """
        answers: list[NDArray[Any]] = [np.zeros(0, bool)] * len(self._asked)
        for k, condition in self._plain.items():
            rows = 1 if self._asked[k].per_frame else count
            answers[k] = np.broadcast_to(condition(values).holds, (rows,))
        if not self._of_all:
            return answers
        if self._new_texts(values) or count >= self._rows:
            self._prepare(count)
        self._write(count, values)
        try:
            for name, which in (("of_objects", self._of_objects), ("of_frame", self._of_frame)):
                if which:
                    found = self._connection.execute(f"EXECUTE {name}").fetchnumpy()
                    for k in which:
                        rows = 1 if self._asked[k].per_frame else count
                        answers[k] = np.asarray(np.ma.filled(found[f"r{k}"], np.nan))[:rows]
        except self._error as error:
            raise QueryError(self._culprits() or {k: _said(error) for k in self._of_all}) from error
        return answers

    def _culprits(self) -> dict[int, str]:
        """Which conditions fail when each is worked out alone."""
        found = {}
        for k in self._of_all:
            where = " WHERE present" if self._asked[k].per_frame else ""
            more = ", count(*)" if where else ""
            try:
                sql = f"SELECT {self._sqls[k]}{more} FROM objects{where}"
                self._connection.execute(sql).fetchall()
            except self._error as error:
                found[k] = _said(error)
        return found

    def _new_texts(self, values: Values) -> bool:
        """Whether a text came that the queries do not know yet."""
        new = False
        for name in self._needed:
            if name in FRAME_COLUMNS and COLUMNS[name].type == "VARCHAR":
                known = self._texts.setdefault(name, {})
                if str(values[name]) not in known:
                    if len(known) >= MOST_TEXTS:
                        known.clear()
                    known[str(values[name])] = len(known)
                    new = True
        return new

    def _prepare(self, count: int) -> None:
        """Make tables with room for ``count`` objects, and the queries over them."""
        self._rows = max(FEWEST_ROWS, 1 << int(count).bit_length())
        self._objects = {"present": np.zeros(self._rows, bool)}
        self._frame = {"one": np.ones(1, bool)}
        for name in sorted(self._needed):
            dtype = _DTYPES[_column(name).type]
            self._objects[name] = np.zeros(self._rows, dtype)
            if name in FRAME_COLUMNS:
                self._frame[name] = np.zeros(1, dtype)
        self._connection.register("objects_raw", self._objects)
        self._connection.register("frame_raw", self._frame)
        for table, arrays in (("objects", self._objects), ("frame", self._frame)):
            chosen = ", ".join(self._shown(name) for name in arrays)
            self._connection.execute(
                f"CREATE OR REPLACE TEMP VIEW {table} AS SELECT {chosen} FROM {table}_raw"
            )
        for query, which, where in (
            ("of_objects", self._of_objects, ""),
            ("of_frame", self._of_frame, " WHERE present"),
        ):
            if which:
                chosen = ", ".join(f"{self._sqls[k]} AS r{k}" for k in which)
                more = ", count(*) AS everything" if where else ""
                self._connection.execute(
                    f"PREPARE {query} AS SELECT {chosen}{more} FROM objects{where}"
                )

    def _shown(self, name: str) -> str:
        """A column as the conditions see it: text from its number."""
        if _column(name).type != "VARCHAR":
            return f'"{name}"'
        texts = ", ".join("'" + text.replace("'", "''") + "'" for text in self._texts[name])
        return f'(CAST([{texts}] AS VARCHAR[]))["{name}" + 1] AS "{name}"'

    def _sql(self, asked: Asked) -> str:
        def rename(name: str) -> str | None:
            if (other := asked.column(name)) != name:
                return other
            return frame_value(name) if asked.per_frame else None

        text = sql_of(asked.expression.tree, rename)
        return f"CAST({text} AS DOUBLE)" if asked.number else f"COALESCE({text}, false)"

    def _write(self, count: int, values: Values) -> None:
        self._objects["present"][:count] = True
        self._objects["present"][count:] = False
        for name, array in self._objects.items():
            if name == "present":
                continue
            if name in FRAME_COLUMNS:
                value = values[name]
                if name in self._texts:
                    value = self._texts[name][str(value)]
                array[:] = value
                self._frame[name][0] = value
            else:
                array[:count] = values[name]
                array[count:] = 1  # what is left over from larger frames is not worked out again


def _said(error: Exception) -> str:
    return " ".join(str(error).split("\n")[0].split())


def needed(asked: Sequence[Asked]) -> frozenset[str]:
    """Names of the columns that conditions speak of, regions with their number."""
    return frozenset(one.column(name) for one in asked for name in one.expression.columns)


def _column(name: str) -> Any:
    if name not in COLUMNS:
        name = name.rpartition("_")[0]  # in_roi_3
    return _PRESENT if not name or name in ("present", "one") else COLUMNS[name]


@dataclass(frozen=True, slots=True)
class _Bool:
    type: SqlType = "BOOLEAN"


_PRESENT = _Bool()
