"""Classes and verdicts from the inference process's words to the journal, tables and report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
import useq
from recording import SMALL, end_zarr_threads, frame

from drivers import FrameRing
from live.decider import Decider
from live.experiment.settings import RuleSettings
from live.ledger import Ledger
from live.plan.plan import Plan
from live.processes.messages import Result, decode, encode, objects_from_bytes, objects_to_bytes
from live.recording.export import export_tables
from live.recording.journal import Journal
from live.recording.journal_reader import JournalReader
from live.recording.recorder import Recorder
from live.recording.runfolder import RunFolder
from live.report import RunReport, trust_of, unlike_note
from models.result import OBJECT_DTYPE, Verdict

SHAPE = (32, 48)
CLASSES = ("interphase", 'it\'s "odd"', "dead")
RULE = RuleSettings.model_validate(
    {"name": "r", "when": "became", "of_class": "dead", "then": {"frames": 2}}
)


@pytest.fixture(autouse=True)
def _no_zarr_threads() -> Iterator[None]:
    yield
    end_zarr_threads()


def table(*class_ids: int) -> np.ndarray:
    rows = np.zeros(len(class_ids), OBJECT_DTYPE)
    rows["label"] = rows["track_id"] = np.arange(1, len(class_ids) + 1)
    rows["class_id"], rows["age_frames"] = class_ids, 1
    rows["class_probability"] = np.where(rows["class_id"] >= 0, 0.75, 0)
    rows["uncertainty"], rows["y_um"] = -1, np.nan
    return rows


def answer(ring: FrameRing, seq: int, objects: np.ndarray, verdict: Verdict | None) -> Result:
    now = time.monotonic_ns()
    made = Result(
        meta=frame(seq, SHAPE, captured_ns=now, popped_ns=now).meta,
        ref=ring.write({"labels": np.zeros(SHAPE, np.int32)}),
        objects=objects_to_bytes(objects), stage_ms={"segment": 1.0}, ring_ns=now, received_ns=now,
        start_ns=now, end_ns=now, classes=CLASSES, verdict=verdict,
    )  # fmt: skip
    back = decode(encode(made))
    assert isinstance(back, Result)
    assert back == made
    assert objects_from_bytes(back.objects).tobytes() == objects.tobytes()
    return back


def test_classes_and_verdicts_reach_journal_tables_events_and_report(tmp_path: Path) -> None:
    folder, events = RunFolder.create(tmp_path / "run"), []
    ring = FrameRing(16)
    verdicts = [
        None, Verdict(1, 0.25, ""), Verdict(1, 0.25, ""), Verdict(3, 2.5, "out of focus"),
        Verdict(3, 2.5, "out of focus"), Verdict(5, float("inf"), "black"), Verdict(6, 0.5, ""),
    ]  # fmt: skip
    with (
        Journal(folder.journal) as journal,
        Recorder(folder, journal, SMALL) as recorder,
    ):
        decider = Decider(
            [RULE], plan=Plan(useq.MDASequence()), recorder=recorder, journal=journal,
            ledger=Ledger(), pace=None, carry_out=False, group="", interval_s=1.0,
            on_rule_failed=lambda rule, why: None, on_event=events.append,
        )  # fmt: skip
        for seq, verdict in enumerate(verdicts):
            recorder.submit(frame(seq, SHAPE))
            decider.take(answer(ring, seq, table(0, 1, -1, 2 if seq == 4 else 0), verdict))
        decider.close()
    ring.close()

    with JournalReader(folder.journal) as reader:
        assert reader.classes() == CLASSES
        kept = list(
            reader.rows("SELECT checked_seq, strangeness, unlike_reason FROM results ORDER BY seq")
        )
        ((because, inputs),) = reader.rows("SELECT because, inputs_json FROM decisions")
    assert kept[0] == (-1, None, "")
    assert kept[2] == (1, 0.25, "")
    assert kept[4] == (3, 2.5, "out of focus")
    assert kept[5] == (5, None, "black")
    assert "held back: images are unlike" in str(because)
    told = json.loads(str(inputs))
    assert told["classes"] == {"4": ["dead", 0.75]}
    assert (told["uncertainty"], told["strangeness"]) == (None, 2.5)

    assert [e for e in events if "unlike" in e] == [
        "frame 3 is unlike what the network was trained on: out of focus (strangeness 2.50)"
    ]
    assert [e for e in events if "again" in e] == [
        "frame 6 is like what the network was trained on again"
    ]
    assert [len(decider.about(when)) for when in ("became", "divided")] == [1, 0]
    seen = decider.seen
    assert dict(seen.classes) == {"interphase": 13, CLASSES[1]: 7, "dead": 1}
    assert (seen.checked, seen.unlike) == (4, 2)
    trust = trust_of(seen)
    assert trust == {"checked": 4, "unlike": 2, "strangest": None, "reason": "black"}
    assert "2 of 4 checked frames" in unlike_note(seen)[0]
    assert {"classes", "trust"} <= set(RunReport.__dataclass_fields__)
    json.dumps(trust, allow_nan=False)

    export_tables(folder)
    rows = duckdb.sql(
        f'SELECT label, class_id, "class", class_probability, uncertainty '
        f"FROM '{folder.objects_table}' WHERE seq = 4 ORDER BY label"
    ).fetchall()
    assert rows == [
        (1, 0, "interphase", 0.75, -1.0),
        (2, 1, CLASSES[1], 0.75, -1.0),
        (3, -1, "", 0.0, -1.0),
        (4, 2, "dead", 0.75, -1.0),
    ]
    frames = duckdb.sql(
        f"SELECT checked_seq, strangeness, unlike_reason FROM '{folder.frames_table}' ORDER BY seq"
    ).fetchall()
    assert frames == kept


def test_a_run_without_classes_has_empty_ones(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite"):
        pass
    with JournalReader(tmp_path / "journal.sqlite") as reader:
        assert reader.classes() == ()


def test_names_given_again_replace_the_first(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.set_classes(("a", "b", "c"))
        journal.set_classes(("x", "y"))
    with JournalReader(tmp_path / "journal.sqlite") as reader:
        assert reader.classes() == ("x", "y")
