"""What the README says is so: its Python runs, its YAML loads, its commands exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import useq

from drivers.settings import RigSettings
from live.errors import ExitCode
from live.experiment.didyoumean import key_problems
from live.experiment.settings import RuleSettings
from live.experiment.validation import checked
from live.experiment.yamlfile import yaml_from_text

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def test_every_block_says_its_language() -> None:
    assert len(re.findall(r"^```", README, re.MULTILINE)) == 2 * len(BLOCKS)
    assert {kind for kind, _ in BLOCKS} <= {"bash", "python", "yaml", "text"}


def test_begins_with_the_two_commands() -> None:
    assert blocks("bash")[0] == "python -m pip install . && parfocal demo\n"
    assert '[test]" && python -m pytest\n' in blocks("bash")[-1]


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_has_no_key_that_nobody_reads(text: str) -> None:
    file = yaml_from_text(text, Path("README.md"))
    if "driver" in file.data:
        assert checked(RigSettings, file.data, file)[1] == []
        return
    assert key_problems(useq.MDASequence, file.data["plan"]) == []
    assert checked(list[RuleSettings], file.data["rules"], file)[1] == []


def commands() -> list[str]:
    lines = "".join(blocks("bash")).splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("parfocal")]


@pytest.mark.parametrize("line", sorted({" ".join(c.split()[:2]) for c in commands()}))
def test_commands_exist(line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "live.cli", *line.split()[1:], "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_files_that_it_links_to_exist() -> None:
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", README)
    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert missing == []


def test_exit_codes_are_those_of_the_program() -> None:
    table = README.split("## Exit codes")[1].split("##")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == set(ExitCode)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tour_works(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen"}
    environment.pop("DISPLAY", None)
    (tmp_path / "tests").symlink_to(ROOT / "tests", target_is_directory=True)
    for line in commands():
        done = subprocess.run(
            [sys.executable, "-m", "live.cli", *line.split()[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
