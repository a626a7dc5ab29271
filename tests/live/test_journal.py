"""The journal: what is committed, what is refused, what survives."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from recording import objects

from live.recording.errors import JournalError
from live.recording.journal import Journal, RunState
from live.recording.journal_reader import JournalReader
from live.recording.journal_schema import FRAME_COLUMNS, OBJECT_COLUMNS, TABLES, DecisionRow
from models.result import OBJECT_DTYPE, EngineInfo

ENGINE = EngineInfo(name="classical", precision="fp32", device="cpu")


def frame_row(seq: int) -> dict[str, object]:
    known = {"INTEGER": seq, "REAL": 0.5, "TEXT": "x"}
    return {name: known[kind.split()[0]] for name, kind in FRAME_COLUMNS.items()}


def test_a_frame_arrives_then_is_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        ticket = 0
        for seq in range(5):
            ticket = journal.announce(frame_row(seq))
        assert journal.wait_committed(ticket, 5.0)
        with JournalReader(path) as reader:
            assert (reader.count("arriving"), reader.count("frames")) == (5, 0)
        journal.confirm([1, 3])
        journal.flush()
        with JournalReader(path) as reader:
            assert [s for (s,) in reader.rows("SELECT seq FROM frames")] == [1, 3]
            assert [s for (s,) in reader.rows("SELECT seq FROM arriving")] == [0, 2, 4]


def test_objects_keep_every_column(tmp_path: Path) -> None:
    assert tuple(OBJECT_COLUMNS) == ("seq", *(OBJECT_DTYPE.names or ()))
    table = objects(3)
    table["area_px"] = [1.5, 2.5, 3.5]
    with Journal(tmp_path / "journal.sqlite") as journal:
        for _ in range(2):  # a result that is handed in again replaces the first
            journal.add_result(9, table, engine=ENGINE, stage_ms={"a": 1.0}, labels_written=True)
    with JournalReader(tmp_path / "journal.sqlite") as reader:
        rows = list(reader.rows("SELECT * FROM objects ORDER BY label"))
        assert reader.count("results") == 1
    back = np.array(
        [tuple(np.nan if v is None else v for v in row[1:]) for row in rows], OBJECT_DTYPE
    )
    for name in OBJECT_DTYPE.names or ():
        np.testing.assert_array_equal(back[name], table[name])


def test_decisions_drops_restarts_times_and_log(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.add_decision(DecisionRow(1, 7, "divides", "burst", "track 3 divided", track_id=3))
        journal.add_decision(
            DecisionRow(1, 7, "divides", "burst", "track 3 divided", track_id=3, outcome="done")
        )
        journal.add_drops("labels_queue", 2)
        journal.add_drops("labels_queue", 3)
        journal.add_restart("inference", "killed by signal 9")
        journal.add_times(4, {"captured": 10, "in_ring": 12})
        journal.add_times(4, {"decided": 99})
        journal.add_log("rule", "divides fired")
        journal.set_run(rig="simulated")
    with JournalReader(path) as reader:
        decided = list(reader.rows("SELECT number, seq, outcome, track_id FROM decisions"))
        times = list(reader.rows("SELECT seq, captured_ns, in_ring_ns, decided_ns FROM ledger"))
        assert decided == [(1, 7, "done", 3)]
        assert times == [(4, 10, 12, 99)]
        assert reader.drops() == {"labels_queue": 5}
        assert reader.count("restarts") == reader.count("log") == 1
        assert reader.run()["rig"] == "simulated"


@pytest.mark.parametrize(
    ("raised", "state"),
    [
        pytest.param(None, RunState.FINISHED, id="in order"),
        pytest.param(KeyboardInterrupt(), RunState.INTERRUPTED, id="ctrl-c"),
        pytest.param(ValueError("a lamp broke"), RunState.FAILED, id="error"),
    ],
)
def test_the_end_is_told(tmp_path: Path, raised: BaseException | None, state: RunState) -> None:
    path = tmp_path / "journal.sqlite"
    try:
        with Journal(path):
            with JournalReader(path) as reader:
                assert reader.run()["state"] == RunState.RUNNING
            if raised:
                raise raised
    except (KeyboardInterrupt, ValueError):
        assert raised is not None
    with JournalReader(path) as reader:
        run = reader.run()
    assert run["state"] == state
    assert ("a lamp broke" in run["reason"]) == isinstance(raised, ValueError)


def test_finish_wins_over_the_error_that_follows(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with pytest.raises(ValueError, match="later"), Journal(path) as journal:  # noqa: PT012
        journal.finish(RunState.INTERRUPTED, "Ctrl-C")
        raise ValueError("later")
    with JournalReader(path) as reader:
        assert reader.run()["reason"] == "Ctrl-C"


def test_it_beats_while_nothing_happens(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path):
        beats = set()
        deadline = time.monotonic() + 5
        while len(beats) < 3 and time.monotonic() < deadline:
            with JournalReader(path) as reader:
                beats.add(reader.run().get("heartbeat_unix"))
            time.sleep(0.05)
    assert len(beats) >= 3


def test_many_threads_hand_in_rows(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path, max_queued=50) as journal:

        def work(base: int) -> None:
            for number in range(200):
                journal.add_times(base + number, {"captured": 1})

        threads = [threading.Thread(target=work, args=(base,)) for base in (0, 1000, 2000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    with JournalReader(path) as reader:
        assert reader.count("ledger") == 600


def test_a_journal_that_exists_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path):
        pass
    with pytest.raises(JournalError, match="belongs to one run"), Journal(path):
        pass


def test_outside_its_block_it_says_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    with pytest.raises(JournalError, match="with block"):
        journal.add_log("a", "b")
    with journal:
        pass
    with pytest.raises(JournalError, match="with block"):
        journal.add_log("a", "b")


def test_a_row_that_cannot_be_written_ends_the_journal_loudly(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    with pytest.raises(JournalError, match=r"cannot be written.*UNIQUE"), journal:  # noqa: PT012
        journal.announce(frame_row(1))
        ticket = journal.announce(frame_row(1))
        journal.wait_committed(ticket, 5.0)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be written"), Journal(tmp_path / "no" / "j"):
        pass


def test_a_full_queue_is_an_error_after_its_timeout(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path, max_queued=2, timeout_s=0.3) as journal:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        try:
            with pytest.raises(JournalError, match="rows wait for the disk"):  # noqa: PT012
                for number in range(100):
                    journal.add_log("a", str(number))
        finally:
            blocker.execute("ROLLBACK")
            blocker.close()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                journal.flush()
                break
            except JournalError:
                time.sleep(0.05)


def test_reading_what_is_no_journal(tmp_path: Path) -> None:
    missing, text, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    text.write_text("not a database, only words " * 50)
    connection = sqlite3.connect(other)
    connection.execute("PRAGMA user_version = 77")
    connection.execute("CREATE TABLE x (y)")
    connection.commit()
    connection.close()
    for path, says in ((missing, "missing"), (text, "cannot be read"), (other, "version 77")):
        with pytest.raises(JournalError, match=says), JournalReader(path):
            pass


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "j"):
        pass
    with JournalReader(tmp_path / "j") as reader:
        assert all(reader.count(table) >= 0 for table in TABLES)
        with pytest.raises(JournalError, match="no table"):
            reader.count("frames; DROP TABLE frames")
