"""A recorded run as the rules saw it: frame by frame, in the order in which results came.

Read from the journal alone, so that a run that was killed can be asked too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from drivers import FrameMeta
from live.errors import UsageError
from live.experiment.loading import load_experiment
from live.experiment.settings import ExperimentSettings
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder
from models.result import OBJECT_DTYPE, Verdict

_META: Final = (
    "seq", "captured_ns", "popped_ns", "exposure_ms", "x_um", "y_um", "z_um", "channel",
    "pixel_size_um", "bit_depth", "epoch", "index_json", "pos_name", "decision",
    "height", "width", "dtype", "store", "t_index",
)  # fmt: skip
_OBJECTS: Final = ", ".join(OBJECT_DTYPE.names or ())


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """A frame that was taken."""

    meta: FrameMeta
    shape: tuple[int, int]
    """(y, x) pixels."""
    dtype: str
    store: str
    """Folder of the image that holds its pixels."""
    t_index: int
    decided_ns: int
    """When the run decided on it, monotonic clock; 0 where it never did."""

    @property
    def nbytes(self) -> int:
        """On disk; raw frames are kept as they are."""
        return self.shape[0] * self.shape[1] * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the analysis said of a frame."""

    objects: NDArray[np.void]
    """(n,) rows of ``models.OBJECT_DTYPE``."""
    verdict: Verdict | None
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision that the run made."""

    number: int
    seq: int
    rule: str
    track_id: int
    because: str
    outcome: str
    decided_ns: int
    started_ns: int
    done_ns: int

    @property
    def held(self) -> bool:
        """Whether a guard held it back."""
        return self.outcome == "held back"


class RecordedRun:
    """A run to ask. Hold the journal that it is given open.

    Parameters
    ----------
    folder
        Of the run.
    journal
        Its journal, open.
    """

    def __init__(self, folder: RunFolder, journal: JournalReader) -> None:
        self.folder = folder
        self._journal = journal
        self.classes = journal.classes()

    def settings(self) -> ExperimentSettings:
        """The experiment as it was run; raises ``UsageError`` when the folder has none."""
        if not self.folder.experiment.is_file():
            raise UsageError(
                f"{self.folder.path} holds no experiment.yaml, which says what was run; "
                "copy the whole folder of the run"
            )
        return load_experiment(self.folder.experiment)

    def frames(self) -> list[RecordedFrame]:
        """Every frame that was taken, in order, also those that a killed run did not finish."""
        columns = ", ".join(f"f.{name}" for name in _META)
        names = ", ".join(_META)
        both = f"SELECT {names} FROM frames UNION ALL SELECT {names} FROM arriving"
        query = (
            f"SELECT {columns}, COALESCE(l.decided_ns, 0) FROM ({both}) f "
            "LEFT JOIN ledger l ON f.seq = l.seq ORDER BY f.seq"
        )
        return [_frame(row) for row in self._journal.rows(query)]

    def decisions(self) -> list[RecordedDecision]:
        """What the run decided, in order."""
        columns = ", ".join(RecordedDecision.__dataclass_fields__)
        rows: Iterator[tuple[Any, ...]] = self._journal.rows(
            f"SELECT {columns} FROM decisions ORDER BY number"
        )
        return [RecordedDecision(*row) for row in rows]

    def commands(self) -> list[tuple[int, list[str], str]]:
        """What people told the run: monotonic ns, the words, who."""
        run = self._journal.run()
        offset = int(run.get("clock_unix_ns", "0")) - int(run.get("clock_monotonic_ns", "0"))
        found = []
        query = "SELECT unix_time, text FROM log WHERE kind = 'command' ORDER BY rowid"
        for unix_s, text in self._journal.rows(query):
            said = json.loads(str(text))
            at_ns = int(float(str(unix_s)) * 1e9) - offset
            found.append((at_ns, [str(word) for word in said["words"]], str(said["by"])))
        return found

    def seen(self, seq: int) -> Seen | None:
        """What the analysis said of frame ``seq``; None where nothing of it was kept."""
        results: list[tuple[Any, ...]] = list(
            self._journal.rows(
                "SELECT checked_seq, strangeness, unlike_reason, n_objects FROM results "
                "WHERE seq = ?",
                (seq,),
            )
        )
        if not results:
            return None
        checked, strangeness, reason, _ = results[0]
        verdict = None
        if checked >= 0:
            value = float("nan") if strangeness is None else float(strangeness)
            verdict = Verdict(int(checked), value, str(reason))
        rows = self._journal.rows(
            f"SELECT {_OBJECTS} FROM objects WHERE seq = ? ORDER BY rowid", (seq,)
        )
        # SQLite has no NaN and keeps it as NULL.
        values = [tuple(np.nan if one is None else one for one in row) for row in rows]
        return Seen(np.array(values, OBJECT_DTYPE), verdict, self.classes)


def _frame(row: tuple[Any, ...]) -> RecordedFrame:
    named = dict(zip((*_META, "decided_ns"), row, strict=True))
    index = json.loads(named.pop("index_json"))
    shape = (int(named.pop("height")), int(named.pop("width")))
    rest = {key: named.pop(key) for key in ("dtype", "store", "t_index", "decided_ns")}
    for axis in ("x_um", "y_um", "z_um"):
        named[axis] = float("nan") if named[axis] is None else named[axis]
    return RecordedFrame(meta=FrameMeta(**named, index=index), shape=shape, **rest)
