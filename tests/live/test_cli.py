"""The command line: help, speed, errors, and what it never loads."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from drivers.errors import FramesLost, RigError, SettingsError
from live.cli import main
from live.commands.options import check_json_target, write_json
from live.commands.report import report_table
from live.errors import (
    ExitCode,
    LiveError,
    Problem,
    SettingsProblems,
    UsageError,
    exit_code_of,
    is_users_own,
)
from models.errors import EngineError, PipelineError

COMMANDS = ("demo", "run", "check", "infer", "score", "bench", "version", "models")


def parfocal(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one call in this process."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.parametrize(
    "command", [(name,) for name in COMMANDS if name != "models"] + [("models", "list")]
)
def test_every_command_has_help_with_an_example(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = parfocal(capsys, *command, "--help")
    assert code == 0
    assert f"Example: parfocal {' '.join(command)}" in out


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    heavy = "numpy PySide6 pyqtgraph torch onnxruntime pymmcore_plus zmq useq pydantic duckdb"
    code = (
        "import sys, live.cli\n"
        f"print([name for name in {heavy.split()!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.slow
def test_help_answers_within_half_a_second() -> None:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "live.cli", "--help"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        times.append(time.perf_counter() - began)
    assert min(times) < 0.5, times


def test_version_names_what_it_stands_on(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = parfocal(capsys, "version")
    assert code == 0
    assert "onnxruntime" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rum",), "No such command 'rum'"),
        (("demo", "--second", "3"), "No such option"),
        (("demo", "--seconds", "0"), "0.1"),
        (("bench", "handovr"), "did you mean 'handover'?"),
        (("check", "no-such.yaml"), "no such experiment file"),
        (("check", "dmo"), "did you mean 'demo'?"),
        (("demo", "--json", "nowhere/r.json"), "there is no folder"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = parfocal(capsys, *arguments)
    assert code == ExitCode.BAD_INPUT
    assert says in " ".join(err.split())
    assert "Traceback" not in out + err


def test_debug_shows_the_traceback_in_any_place(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("--debug", "run", "no.yaml"), ("run", "no.yaml", "--debug")):
        _, _, err = parfocal(capsys, *arguments)
        assert "Traceback" in err
        assert "no such experiment file" in err


def test_bench_lists_what_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = parfocal(capsys, "bench")
    assert code == 0
    assert "handover" in out


@pytest.mark.parametrize(
    ("error", "code", "own"),
    [
        (SettingsError("x"), 2, True),
        (SettingsProblems([Problem("f.yaml", "a.b", "wrong", 3)]), 2, True),
        (UsageError("x"), 2, True),
        (RigError("x"), 3, True),
        (FramesLost("x"), 3, True),
        (EngineError("x"), 5, True),
        (PipelineError("x"), 2, True),
        (LiveError("x"), 1, True),
        (FileNotFoundError(2, "No such file", "a.tif"), 2, True),
        (KeyboardInterrupt(), 130, False),
        (KeyError("x"), 1, False),
    ],
)
def test_exit_codes(error: BaseException, code: int, own: bool) -> None:
    assert exit_code_of(error) == code
    assert is_users_own(error) is own


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    write_json(file, {"nan": float("nan"), "path": tmp_path, "nested": [{"a": (1, 2.5)}]})
    assert json.loads(file.read_text()) == {
        "nan": None,
        "path": str(tmp_path),
        "nested": [{"a": [1, 2.5]}],
    }
    with pytest.raises(TypeError):
        write_json(file, {"odd": object()})
    assert json.loads(file.read_text())["nan"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    with pytest.raises(UsageError, match="this is a folder"):
        check_json_target(tmp_path)


def test_report_table_shows_every_number() -> None:
    report = {
        "frames": {"captured": 81, "recorded": 81, "analysed": 79},
        "drops": {"inference_passed_over": 2, "labels_queue": 0},
        "latency_ms": {"camera_to_decision": {"p50": 31.4, "p95": 60.0, "p99": None}},
        "engine": {"name": "onnxruntime", "precision": "fp32", "device": "cpu"},
        "objects": {"mean_per_frame": 41.25, "tracks": 60, "divisions": 4},
        "rules": [{"rule": "a cell divides", "seq": 17, "object": 5, "action": "burst"}] * 25,
        "truth": {"precision": 1.0, "recall": None},
        "memory_mb": {"rig": 310.2},
        "restarts": {"inference": 1},
        "exit_reason": "time is over",
    }
    console = Console(width=120)
    with console.capture() as captured:
        console.print(report_table(report))
    text = captured.get()
    for words in (
        "81 captured, 81 recorded, 79 analysed",
        "inference_passed_over 2",
        "onnxruntime · fp32 · cpu",
        "p50 31.4  p95 60  p99 none",
        "25 fired",
        "frame 17, object 5: a cell divides → burst",
        "and 5 more",
        "recall none",
        "inference 1",
        "time is over",
    ):
        assert words in text
    assert "labels_queue" not in text


def test_report_table_needs_no_key() -> None:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(report_table({}))
    assert "unknown" in captured.get()
