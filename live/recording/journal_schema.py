"""Tables of a run's journal, and the rows that other rooms hand in.

A frame passes through two tables. Its row is committed to ``arriving`` before its first byte of
pixels is written, and moves to ``frames`` once its chunk lies complete on disk. So at every
instant, ``kill -9`` included, each chunk has its metadata and each row of ``frames`` its pixels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from live.denoising.journal import DENOISE_COLUMNS, TRAINING_COLUMNS
from live.ledger import HOPS
from models.result import OBJECT_DTYPE, EngineInfo, Repair, Verdict

SCHEMA_VERSION: Final = 3
"""``PRAGMA user_version``; raised when a table changes."""

_SQL_TYPE: Final = {"i": "INTEGER", "u": "INTEGER", "b": "INTEGER", "f": "REAL"}

FRAME_COLUMNS: Final = {
    "seq": "INTEGER PRIMARY KEY",
    "epoch": "INTEGER NOT NULL",
    "store": "TEXT NOT NULL",  # folder of the image, such as raw-000.ome.zarr
    "t_index": "INTEGER NOT NULL",  # first axis of that image
    "captured_ns": "INTEGER NOT NULL",
    "popped_ns": "INTEGER NOT NULL",
    "delta_s": "REAL NOT NULL",  # since the first frame of the run
    "unix_time": "REAL NOT NULL",  # end of exposure by the wall clock
    "exposure_ms": "REAL NOT NULL",
    "x_um": "REAL",  # NULL where the rig gave no number
    "y_um": "REAL",
    "z_um": "REAL",
    "channel": "TEXT NOT NULL",
    "pos_name": "TEXT NOT NULL",
    "pixel_size_um": "REAL NOT NULL",
    "height": "INTEGER NOT NULL",
    "width": "INTEGER NOT NULL",
    "dtype": "TEXT NOT NULL",
    "bit_depth": "INTEGER NOT NULL",
    "index_json": "TEXT NOT NULL",  # useq axis index of the event
    "decision": "INTEGER NOT NULL",  # -1: a frame of the user's plan
}
RESULT_COLUMNS: Final = {
    "seq": "INTEGER PRIMARY KEY",
    "analysed": "INTEGER NOT NULL",
    "n_objects": "INTEGER NOT NULL",
    "labels_written": "INTEGER NOT NULL",
    "denoised_written": "INTEGER NOT NULL",
    "engine": "TEXT NOT NULL",
    "precision": "TEXT NOT NULL",
    "device": "TEXT NOT NULL",
    "model": "TEXT NOT NULL",
    "stage_ms_json": "TEXT NOT NULL",
    "checked_seq": "INTEGER NOT NULL",  # frame of the newest check of trust; -1: none yet
    "strangeness": "REAL",  # above 1: unlike what the networks know; NULL: not checked yet
    "unlike_reason": "TEXT NOT NULL",  # in words; empty while nothing is
}
OBJECT_COLUMNS: Final = {"seq": "INTEGER NOT NULL"} | {
    name: _SQL_TYPE[OBJECT_DTYPE[name].kind] for name in OBJECT_DTYPE.names or ()
}
DECISION_COLUMNS: Final = {
    "number": "INTEGER PRIMARY KEY",
    "seq": "INTEGER NOT NULL",
    "rule": "TEXT NOT NULL",
    "label": "INTEGER NOT NULL",
    "track_id": "INTEGER NOT NULL",
    "action": "TEXT NOT NULL",
    "because": "TEXT NOT NULL",
    "outcome": "TEXT NOT NULL",
    "evidence_age_ms": "REAL NOT NULL",
    "decided_ns": "INTEGER NOT NULL",
    "queued_ns": "INTEGER NOT NULL",
    "started_ns": "INTEGER NOT NULL",
    "done_ns": "INTEGER NOT NULL",
    "inputs_json": "TEXT NOT NULL",
}
REPAIR_COLUMNS: Final = {
    "seq": "INTEGER NOT NULL",
    "kind": "TEXT NOT NULL",  # parted, joined, divided
    "labels_json": "TEXT NOT NULL",  # of the objects as published
    "tracks_json": "TEXT NOT NULL",  # ids of the tracks that said so
    "probability": "REAL NOT NULL",
    "because": "TEXT NOT NULL",
}
LEDGER_COLUMNS: Final = {"seq": "INTEGER PRIMARY KEY"} | {
    f"{hop}_ns": "INTEGER NOT NULL DEFAULT 0" for hop in HOPS
}

TABLES: Final = {
    "run": {"key": "TEXT PRIMARY KEY", "value": "TEXT NOT NULL"},
    "arriving": FRAME_COLUMNS,
    "frames": FRAME_COLUMNS,
    "results": RESULT_COLUMNS,
    "objects": OBJECT_COLUMNS,
    "repairs": REPAIR_COLUMNS,
    "classes": {"class_id": "INTEGER PRIMARY KEY", "name": "TEXT NOT NULL"},
    "decisions": DECISION_COLUMNS,
    "ledger": LEDGER_COLUMNS,
    "log": {"unix_time": "REAL NOT NULL", "kind": "TEXT NOT NULL", "text": "TEXT NOT NULL"},
    "drops": {"stage": "TEXT PRIMARY KEY", "count": "INTEGER NOT NULL"},
    "denoise": DENOISE_COLUMNS,
    "trainings": TRAINING_COLUMNS,
    "light_places": {"place": "TEXT PRIMARY KEY", "dose": "BLOB NOT NULL"},
    "light_cells": {"track_id": "INTEGER PRIMARY KEY", "dose": "REAL NOT NULL"},
    "engine_events": {
        "unix_time": "REAL NOT NULL",
        "seq": "INTEGER NOT NULL",  # frame that it happened on; -1: on none
        "fault": "TEXT NOT NULL",  # value, shape, out_of_memory, device_lost, fallback, ...
        "step": "TEXT NOT NULL",  # what was done about it
        "text": "TEXT NOT NULL",
    },
    "restarts": {
        "unix_time": "REAL NOT NULL",
        "process": "TEXT NOT NULL",
        "reason": "TEXT NOT NULL",
    },
}
"""Table name -> column -> SQL declaration."""


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One decision; handing in the same ``number`` again replaces the row (outcome, times)."""

    number: int
    seq: int
    """The frame that it rests on."""
    rule: str
    action: str
    because: str
    label: int = 0
    """Object in the label image of that frame; 0 where the cause is not one object."""
    track_id: int = 0
    outcome: str = ""
    evidence_age_ms: float = 0.0
    decided_ns: int = 0
    """Monotonic clock, as every ``_ns``; 0 means not reached."""
    queued_ns: int = 0
    started_ns: int = 0
    done_ns: int = 0
    inputs_json: str = "{}"


def create_statements() -> list[str]:
    """SQL that makes an empty journal."""
    made = [
        f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind in columns.items())})"
        for table, columns in TABLES.items()
    ]
    made.append("CREATE INDEX objects_by_seq ON objects (seq)")
    made.append(f"PRAGMA user_version = {SCHEMA_VERSION}")
    return made


def insert_statement(table: str, *, replace: bool = False) -> str:
    """SQL that adds one row with every column of ``table``, in the order of ``TABLES``."""
    columns = TABLES[table]
    verb = "INSERT OR REPLACE" if replace else "INSERT"
    marks = ", ".join("?" * len(columns))
    return f"{verb} INTO {table} ({', '.join(columns)}) VALUES ({marks})"


def result_row(
    seq: int,
    n_objects: int,
    engine: EngineInfo,
    stage_ms: Mapping[str, float],
    written: frozenset[str],
    verdict: Verdict | None,
) -> tuple[object, ...]:
    """Row for the table ``results``; ``written`` names the kinds of image that were kept."""
    known = verdict is not None and math.isfinite(verdict.strangeness)
    return (
        seq,
        1,
        n_objects,
        int("labels" in written),
        int("denoised" in written),
        engine.name,
        engine.precision,
        engine.device,
        engine.model,
        json.dumps({name: round(ms, 3) for name, ms in stage_ms.items()}),
        -1 if verdict is None else verdict.seq,
        verdict.strangeness if verdict is not None and known else None,
        "" if verdict is None else verdict.reason,
    )


def repair_rows(seq: int, repairs: Sequence[Repair]) -> list[tuple[object, ...]]:
    """Rows for the table ``repairs``."""
    return [
        (
            seq,
            repair.kind,
            json.dumps(repair.labels),
            json.dumps(repair.tracks),
            repair.probability,
            repair.because,
        )
        for repair in repairs
    ]


def object_rows(seq: int, objects: np.ndarray) -> list[tuple[object, ...]]:
    """Rows for the table ``objects`` from an (n,) array of ``OBJECT_DTYPE``.

    Raises
    ------
    TypeError
        When the array is not of that dtype.
    """
    if objects.dtype != OBJECT_DTYPE:
        raise TypeError(f"objects of frame {seq}: got dtype {objects.dtype}, need OBJECT_DTYPE")
    return [(seq, *row) for row in objects.tolist()]
