"""What users get wrong: one sentence, a non-zero exit, and nothing that looks whole."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from drivers.errors import SettingsError
from live.cli import main
from live.errors import ExitCode
from live.recording.errors import OutputExists
from live.recording.runfolder import RunFolder, status

ROOT = Path(__file__).parents[1]
CAMERA = "{driver: micromanager, config: demo, adapters: mm-test-adapters}"
PLAN = "{channels: [{config: DAPI, exposure: 5}], time_plan: {interval: 0.05, loops: 5}}"


def parfocal(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run the command in ``folder`` as users do; exit code and stderr."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    environment.pop("DISPLAY", None)
    done = subprocess.run(
        [sys.executable, "-m", "live.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        env=environment,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.returncode, done.stderr


def parfocal_here(folder: Path, *arguments: str) -> tuple[int, str]:
    """The same in this process: quick, for what is refused before anything starts."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main(arguments)
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return int(ended.value.code or 0), err.getvalue()


def assert_refused(
    folder: Path,
    *arguments: str,
    code: int = ExitCode.BAD_INPUT,
    call: Callable[..., tuple[int, str]] = parfocal,
) -> str:
    """Refused in one sentence, with no output that could be taken for a result."""
    before = {path for path in folder.rglob("*") if "cache" not in path.name}
    found, err = call(folder, *arguments)
    assert found == code, err
    (sentence,) = err.strip().splitlines()
    assert sentence.startswith("parfocal: ")
    new = {path for path in folder.rglob("*") if "cache" not in path.name} - before
    assert_nothing_looks_whole(new)
    return sentence


def assert_nothing_looks_whole(new: set[Path]) -> None:
    folders = {path.parent for path in new if path.name == "journal.sqlite"}
    for run in folders:
        assert status(run, now_unix=time.time()).state != "finished"
    left = {path for path in new if not any(run in (path, *path.parents) for run in folders)}
    assert not left, f"left behind: {left}"


def experiment(folder: Path, **parts: str) -> str:
    keys = {"rig": CAMERA, "pipeline": "threshold", "plan": PLAN} | parts
    text = "".join(f"{key}: {value}\n" for key, value in keys.items())
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    return "mine.yaml"


def run(
    folder: Path,
    *options: str,
    call: Callable[..., tuple[int, str]] = parfocal,
    **parts: str,
) -> str:
    name = experiment(folder, **parts)
    arguments = ("run", name, "--headless", "--out", "OUT", *options)
    return assert_refused(folder, *arguments, call=call)


def test_the_experiment_used_here_is_good(tmp_path: Path) -> None:
    name = experiment(tmp_path)
    code, err = parfocal(tmp_path, "run", name, "--headless", "--out", "OUT", "--json", "R.json")
    assert code == 0, err
    assert (tmp_path / "R.json").is_file()


def test_missing_cfg(tmp_path: Path) -> None:
    says = run(tmp_path, rig="{driver: micromanager, config: none.cfg}")
    assert "none.cfg does not exist" in says


def test_broken_cfg(tmp_path: Path) -> None:
    (tmp_path / "broken.cfg").write_text("Device,Camera,NoSuchAdapter,DCam\n")
    says = run(
        tmp_path, rig="{driver: micromanager, config: broken.cfg, adapters: mm-test-adapters}"
    )
    assert "broken.cfg" in says
    assert "NoSuchAdapter" in says


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"plann": "{}"}, "plann: unknown key; did you mean 'plan'?"),
        ({"rig": "{driver: simulated, sede: 1}"}, "rig.sede: unknown key; did you mean 'seed'?"),
        ({"plan": "{chanels: [DAPI]}"}, "plan.chanels: unknown key; did you mean 'channels'?"),
        (
            {"plan": "{channels: [{config: DAPI, exposre: 5}]}"},
            "plan.channels[0].exposre: unknown key; did you mean 'exposure'?",
        ),
        ({"record": "{label: true}"}, "record.label: unknown key; did you mean 'labels'?"),
        ({"pipeline": "{name: x, segmnt: {}}"}, "did you mean 'segment'?"),
    ],
)
def test_unknown_key(tmp_path: Path, parts: dict[str, str], says: str) -> None:
    assert says in run(tmp_path, call=parfocal_here, **parts)


@pytest.mark.parametrize("kind", ["rig", "pipeline"])
def test_unknown_key_in_a_file_that_is_named(tmp_path: Path, kind: str) -> None:
    text = {
        "rig": "driver: micromanager\nconfigg: demo\n",
        "pipeline": "name: x\nsegment:\n  kind: threshold\n  min_aera_px: 3\n",
    }[kind]
    (tmp_path / "part.yaml").write_text(text)
    says = run(tmp_path, call=parfocal_here, **{kind: "part.yaml"})
    assert "part.yaml:" in says
    assert "did you mean" in says


def test_preset_that_does_not_exist(tmp_path: Path) -> None:
    found, err = parfocal(
        tmp_path,
        "run",
        experiment(tmp_path, plan="{channels: [DAPPI]}"),
        "--headless",
        "--out",
        "OUT",
    )
    assert found in (ExitCode.BAD_INPUT, ExitCode.HARDWARE)
    for name in ("DAPPI", "did you mean 'DAPI'", "Cy5", "FITC", "Rhodamine"):
        assert name in err
    assert_nothing_looks_whole(set((tmp_path / "OUT").rglob("*")))


def test_output_that_exists(tmp_path: Path) -> None:
    (tmp_path / "OUT").mkdir()
    (tmp_path / "OUT" / "precious.txt").write_text("mine")
    assert "OUT exists and holds something" in run(tmp_path, call=parfocal_here)
    assert [path.name for path in (tmp_path / "OUT").iterdir()] == ["precious.txt"]


def test_output_that_exists_for_files(tmp_path: Path) -> None:
    (tmp_path / "OUT").mkdir()
    (tmp_path / "OUT" / "precious.txt").write_text("mine")
    image = str(ROOT / "tests" / "data" / "nuclei" / "000_img.png")
    says = assert_refused(tmp_path, "infer", image, "--pipeline", "threshold", "--out", "OUT")
    assert "OUT" in says


def test_no_numbered_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "OUT").mkdir()
    (tmp_path / "OUT" / "x").touch()
    assert RunFolder.create(tmp_path / "OUT", numbered=True).path.name == "OUT_1"
    with pytest.raises(OutputExists):
        RunFolder.create(tmp_path / "OUT")
    assert issubclass(OutputExists, SettingsError)


def unreadable(folder: Path) -> Path:
    path = folder / "in" / "broken.tif"
    path.write_bytes(b"II*\x00this is not a picture")
    return path


def in_float(folder: Path) -> Path:
    path = folder / "in" / "float.tif"
    tifffile.imwrite(path, np.zeros((3, 32, 32), np.float32), photometric="minisblack")
    return path


def empty(folder: Path) -> Path:
    return folder / "in"


@pytest.mark.parametrize(
    ("make", "says"), [(unreadable, "broken.tif"), (in_float, "float"), (empty, "in")]
)
@pytest.mark.parametrize("command", ["run", "infer"])
def test_pictures_that_cannot_be_used(
    tmp_path: Path, command: str, make: object, says: str
) -> None:
    (tmp_path / "in").mkdir()
    path = make(tmp_path)  # type: ignore[operator]
    if command == "run":
        sentence = run(tmp_path, rig=f"{{driver: replay, path: '{path}', timing: fast}}")
    else:
        sentence = assert_refused(
            tmp_path, "infer", str(path), "--pipeline", "threshold", "--out", "OUT",
            call=parfocal_here,
        )  # fmt: skip
    assert says in sentence


def test_full_disk(tmp_path: Path) -> None:
    says = run(tmp_path, record="{reserve_mb: 1000000000}")
    assert "free" in says


@pytest.fixture
def occupied() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_occupied_port(tmp_path: Path, occupied: int) -> None:
    says = run(tmp_path, inference=f"{{port: {occupied}}}")
    assert str(occupied) in says


def test_rig_named_on_the_command_line_that_does_not_exist(tmp_path: Path) -> None:
    says = run(tmp_path, "--rig", "simulatd", call=parfocal_here)
    assert "did you mean 'simulated'" in says
