"""A child process: started, watched, started again with growing pauses, and given up at last.

Children are plain ``python -m`` processes that get two words on their command line and the rest
through the control socket, so nothing is pickled and Windows works the same way. They are put into
a process group of their own: Ctrl-C in the terminal reaches the rig process alone, which then ends
them in order.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from drivers.ahead import Turns
from live.processes.foremost import in_line
from live.processes.messages import Message
from live.processes.pastcaches import through_caches

TOKEN_VARIABLE = "PARFOCAL_TOKEN"
AHEAD_VARIABLE = "PARFOCAL_AHEAD"
"""Port of the rig at which it takes words ahead of what follows by the control socket."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 8.0
RESTARTS_ALLOWED = 6
LOSSES_ALLOWED = 3
"""The same for a child whose device was lost: beginning anew helps at once or not at all."""
RESTART_WINDOW_S = 120.0
SILENCE_ALLOWED_S = 30.0
DEVICE_LOST = 75
"""Exit code of an inference process whose engine only a new process can use again."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to start and what to tell it once it has said hello."""

    role: str
    module: str
    configure: Callable[[], Message]
    environment: dict[str, str] = field(default_factory=dict)
    restart: bool = True
    """False for a child that does one piece of work and ends."""
    silence_s: float = SILENCE_ALLOWED_S
    """Longest silence before it counts as hung; one that gives way to all others needs more."""
    instead: Callable[[str], str] | None = None
    """Asked before the child is given up, with why: gives what is done in its place, then it is
    started again with what ``configure`` gives by then; or nothing."""


class Child:
    """One child process. The supervisor's thread alone uses it."""

    def __init__(
        self, spec: ChildSpec, address: str, token: str, log: Path, ahead: int = 0
    ) -> None:
        self.spec = spec
        self._address = address
        self._told = {TOKEN_VARIABLE: token, AHEAD_VARIABLE: str(ahead)}
        self.turns = Turns()
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.identity: bytes | None = None
        self.ready = False
        self.given_up = ""
        self.starts: list[float] = []
        self.last_heard = 0.0
        self.next_start = 0.0
        self._counted_from = 0.0
        self.peak_mb = 0.0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def restarts(self) -> int:
        """Starts after the first."""
        return max(0, len(self.starts) - 1)

    def start(self) -> None:
        """Start the process; its output goes to the log file."""
        command = [sys.executable, "-m", self.spec.module, "--control", self._address]
        environment = {**through_caches(os.environ), **self.spec.environment, **self._told}
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        with self._log.open("ab") as log:
            if sys.platform == "win32":
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                    creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
                )  # fmt: skip
            else:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                    start_new_session=True,
                )  # fmt: skip
        in_line(self._process.pid)
        now = time.monotonic()
        self.starts.append(now)
        self.last_heard = now
        self.identity = None
        self.turns = Turns()
        self.ready = False

    def watch(self, now: float) -> str | None:
        """Restart it when it is time; returns what happened, in a sentence, if something did.

        A child that is not to be started again is given up, silently when it ended in order.
        """
        if self.given_up:
            return None
        if self._process is None:
            if now >= self.next_start:
                self.start()
            return None
        code = self._process.poll()
        silent_s = now - self.last_heard
        if code is None and silent_s <= self.spec.silence_s:
            return None
        lost = code == DEVICE_LOST
        what = f"ended with code {code}" if code is not None else f"was silent for {silent_s:.0f} s"
        what += ", its device was lost" if lost else ""
        self._reap()
        if not self.spec.restart:
            self.given_up = "its work is done" if code == 0 else what
            return None if code == 0 else f"{self.spec.role} {what}; the run goes on without it"
        since = max(now - RESTART_WINDOW_S, self._counted_from)
        recent = [start for start in self.starts if start > since]
        if len(recent) > (LOSSES_ALLOWED if lost else RESTARTS_ALLOWED):
            why = f"{what}, {len(recent)} times in {RESTART_WINDOW_S:.0f} s"
            self.give_up(why)
            told = "it is not started again" if self.given_up else "it is started otherwise"
            return f"{self.spec.role} {why}; {told}"
        pause = min(FIRST_PAUSE_S * 2 ** max(0, len(recent) - 1), LONGEST_PAUSE_S)
        self.next_start = now + pause
        return f"{self.spec.role} {what}; it is started again in {pause:.2f} s"

    def sample_memory(self) -> None:
        """Keep the largest memory seen."""
        if self._process is None or self._process.poll() is not None:
            return
        try:
            rss = psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return
        self.peak_mb = max(self.peak_mb, rss / 2**20)

    def wait(self, timeout_s: float) -> bool:
        """True when it has ended by itself in time."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> None:
        """End it now, whatever it does."""
        self._reap()

    def give_up(self, why: str) -> None:
        """Do not start it again, or otherwise where ``spec.instead`` knows how."""
        self._reap()
        if self.spec.instead is not None and self.spec.instead(why):
            self._counted_from = self.next_start = time.monotonic()
            return
        self.given_up = why

    def _reap(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5.0)
        self._process = None
        self.identity = None
        self.ready = False
