"""Asks for one measurement in a process of its own, and takes no for an answer.

The answer comes through a file, since libraries write what they like to the terminal.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

MODULE = "live.doctor.probe"
TOO_LATE = "no answer"
"""A failure that begins so is one of time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe found, or why it found nothing."""

    found: dict[str, Any] = field(default_factory=dict)
    failed: str = ""
    """In one sentence; empty when all went well."""
    took_s: float = 0.0


def ask(kind: str, question: Mapping[str, Any], *, limit_s: float, module: str = MODULE) -> Answer:
    """Run a probe; blocks for ``limit_s`` at most, and a little more where it must be killed.

    Parameters
    ----------
    kind
        Name of the probe, see ``live.doctor.probe``.
    question
        Plain values.
    limit_s
        The probe and all that it started are killed after this time.
    module
        What is run as ``python -m``.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="parfocal-probe-", ignore_cleanup_errors=True) as work:
        answer, said = Path(work) / "answer.json", Path(work) / "said.txt"
        with said.open("wb") as listening:
            process = psutil.Popen(
                [sys.executable, "-m", module, kind, json.dumps(question), str(answer)],
                stdin=subprocess.DEVNULL, stdout=listening, stderr=listening,
            )  # fmt: skip
            try:
                code = process.wait(limit_s)
            except psutil.TimeoutExpired:
                failed = f"{TOO_LATE} in {limit_s:.0f} s"
                return Answer(failed=failed, took_s=time.monotonic() - began)
            finally:
                _end(process)
        took_s = time.monotonic() - began
        if answer.is_file():
            found = json.loads(answer.read_text(encoding="utf-8"))
            return Answer(found.get("found") or {}, found.get("failed") or "", took_s)
        return Answer(failed=_why(code, said), took_s=took_s)


def _why(code: int | None, said: Path) -> str:
    lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = f": {lines[-1][:200]}" if lines else ""
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with {code}"
    return f"the process that measured it {how}{last}"


def _end(process: psutil.Popen) -> None:
    """Kill what still runs of it and of all that it started."""
    try:
        started = process.children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    for one in (*started, process):
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs([*started, process], timeout=5)
