"""Commands to a run: their words, who may give them, and what they do to a real one."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import yaml
import zmq

from live.errors import UsageError
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder
from live.steering.client import ask
from live.steering.commands import USAGE, Command, CommandError, parse
from live.steering.messages import MAX_BYTES, Answer, Door, Request, decode_answer, encode
from live.steering.server import CtlServer

RULES = ("mitosis", "cell enters")


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("pause",), Command("pause")),
        (("arm", "mitosis"), Command("arm", "mitosis")),
        (("arm", "cell enters", "suggest"), Command("arm", "cell enters", "suggest")),
        (("disarm", "mitosis"), Command("disarm", "mitosis")),
        (("set", "mitosis", "cooldown_s", "3"),
         Command("set", "mitosis", key="cooldown_s", value="3")),
        (("add-position", "1", "-2.5"), Command("add-position", x_um=1, y_um=-2.5)),
        (("add-position", "1", "2", "3"), Command("add-position", x_um=1, y_um=2, z_um=3)),
        (("add-position", "1", "2", "well"), Command("add-position", x_um=1, y_um=2, label="well")),
        (("add-position", "1", "2", "3", "w"),
         Command("add-position", x_um=1, y_um=2, z_um=3, label="w")),
        (("accept", "12"), Command("accept", number=12)),
        (("refuse",), Command("refuse")),
    ],
)  # fmt: skip
def test_words_become_commands(words, command):
    assert parse(words, RULES) == command


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "no command"),
        (("pase",), "did you mean 'pause'"),
        (("pause", "now"), "write: pause"),
        (("arm", "mitoses"), "did you mean 'mitosis'"),
        (("arm", "mitosis", "automatic"), "did you mean 'auto'"),
        (("set", "mitosis", "cooldown_s"), "write: set RULE KEY VALUE"),
        (("add-position", "here", "2"), "X_UM: got 'here'"),
        (("add-position", "nan", "2"), "X_UM: got 'nan'"),
        (("add-position", "1", "2", "up", "name"), "Z_UM: got 'up'"),
        (("accept", "-1"), "need the number"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_was_meant(words, sentence):
    with pytest.raises(CommandError, match=sentence.replace("?", ".")):
        parse(words, RULES)


def test_every_command_can_be_written_as_its_usage_says():
    assert all(usage.split()[0] == name for name, usage in USAGE.items())


@pytest.fixture
def server(tmp_path):
    refused: list[str] = []
    context = zmq.Context()

    def do(words: tuple[str, ...], by: str) -> Answer:
        if words == ("break",):
            raise RuntimeError("inside")
        return Answer(ok=True, text=f"{' '.join(words)} by {by}", data={"n": 1})

    with CtlServer(context, tmp_path, do, refused.append) as found:
        found.told = refused
        yield found
    context.destroy(0)


def test_a_command_is_answered_and_the_file_goes_with_the_run(tmp_path, server):
    answer = ask(tmp_path, ("pause",))
    assert (answer.ok, answer.text, answer.data) == (True, "pause by parfocal ctl", {"n": 1})
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "ctl.json").stat().st_mode) == 0o600
    assert Door.read(tmp_path).address.startswith("tcp://127.0.0.1:")
    server.__exit__(None, None, None)
    with pytest.raises(UsageError, match="not the folder of a run that goes on"):
        ask(tmp_path, ("pause",))
    with pytest.raises(UsageError, match="no such folder"):
        ask(tmp_path / "nowhere", ("pause",))


def test_strangers_and_nonsense_are_refused_and_the_next_is_served(tmp_path, server):
    door = Door.read(tmp_path)
    context = zmq.Context()
    wrong = [
        encode(Request(token="guess", words=("stop",))),
        encode(Request(token=door.token, words=("stop",), version=99)),
        b"\xc1 nonsense",
        msgspec.msgpack.encode({"token": 3}),
    ]
    for data in wrong:
        with context.socket(zmq.REQ) as socket:
            socket.connect(door.address)
            socket.send(data)
            assert socket.poll(2000)
            assert not decode_answer(socket.recv()).ok
    with context.socket(zmq.REQ) as socket:  # too big: the connection is cut
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(door.address)
        socket.send(b"x" * (2 * MAX_BYTES))
        assert not socket.poll(300)
    context.destroy(0)
    assert server.refused == len(wrong)
    assert ask(tmp_path, ("resume",)).ok


def test_a_fault_inside_is_told_and_the_server_lives(tmp_path, server):
    assert "inside" in ask(tmp_path, ("break",)).text
    assert any("inside" in sentence for sentence in server.told)
    assert ask(tmp_path, ("resume",)).ok


def test_a_run_that_died_is_said_to_be_silent(tmp_path):
    Door("tcp://127.0.0.1:9", "token").write(tmp_path)
    with pytest.raises(UsageError, match="does not answer"):
        ask(tmp_path, ("status",), timeout_s=0.3)


EXPERIMENT = {
    "name": "steered",
    "rig": {
        "driver": "simulated",
        "seed": 5,
        "width": 128,
        "height": 128,
        "limits": {"x_um": [-200, 200]},
    },
    "pipeline": "threshold",
    "plan": {
        "channels": [{"config": "DAPI", "exposure": 5}],
        "time_plan": {"interval": 0.1, "loops": 5},
    },
    "open_ended": True,
    "rules": [
        {
            "name": "new cell",
            "when": "appeared",
            "mode": "suggest",
            "ask_s": 30,
            "max_evidence_age_ms": 30000,
            "then": {"frames": 2, "interval_ms": 0},
        }
    ],
    "record": {"reserve_mb": 10},
}


def test_a_real_run_is_paused_asked_answered_and_stopped(tmp_path):
    """An open-ended run in a process of its own, steered as a person would."""
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(yaml.safe_dump(EXPERIMENT))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "live.cli", "run", str(experiment), "--headless", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        state = until(out, process, lambda state: state["captured"] > 8 and state["suggestions"])
        assert state["rules"][0]["mode"] == "suggest"
        number = state["suggestions"][0]["number"]
        assert ask(out, ("accept", str(number))).ok
        until(out, process, lambda state: accepted(out, number))
        assert not ask(out, ("accept", str(number))).ok

        assert ask(out, ("pause",)).ok
        time.sleep(0.3)
        before = ask(out, ("status",)).data
        time.sleep(0.5)
        assert before["phase"] == "paused"
        assert ask(out, ("status",)).data["captured"] == before["captured"]
        assert ask(out, ("set", "new cell", "cooldown_s", "1.5")).ok
        wrong = ask(out, ("set", "new cell", "cooldwn_s", "1"))
        assert "did you mean 'cooldown_s'" in wrong.text
        assert "greater than or equal" in ask(out, ("set", "new cell", "cooldown_s", "-1")).text
        assert "outside the rig's limit x_um" in ask(out, ("add-position", "201", "0")).text
        assert ask(out, ("add-position", "20", "20", "second")).ok
        assert ask(out, ("resume",)).ok
        until(out, process, lambda state: state["captured"] > before["captured"] + 6)
        assert ask(out, ("disarm-all",)).ok
        assert not ask(out, ("status",)).data["rules"][0]["armed"]
        assert ask(out, ("arm", "new cell", "observe")).ok
        assert ask(out, ("stop",)).ok
        text = process.communicate(timeout=60)[0]
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    assert process.returncode == 0, text
    report = json.loads((out / "report.json").read_text())
    assert report["exit_reason"] == "stopped by parfocal ctl"
    assert not (out / "ctl.json").exists()
    with JournalReader(RunFolder(out).journal) as journal:
        said = [json.loads(row[0]) for row in journal.rows(
            "SELECT text FROM log WHERE kind = 'command'")]  # fmt: skip
        places = dict(journal.rows("SELECT pos_name, count(*) FROM frames GROUP BY pos_name"))
    assert said[0] == {"by": "parfocal ctl", "words": ["accept", str(number)]}
    assert ["pause"] in [entry["words"] for entry in said]
    assert places["second"] >= 2


def accepted(out: Path, number: int) -> bool:
    with JournalReader(RunFolder(out).journal) as journal:
        rows = list(journal.rows(f"SELECT outcome FROM decisions WHERE number = {number}"))
        taken = list(journal.rows(f"SELECT seq FROM frames WHERE decision = {number}"))
    return rows == [("done",)] and len(taken) == 2


def until(out: Path, process: subprocess.Popen, ready, timeout_s: float = 60) -> dict:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        if (out / "ctl.json").exists():
            state = ask(out, ("status",)).data
            if ready(state):
                return state
        time.sleep(0.1)
    raise AssertionError("waited in vain")
