"""A small process that closes the shutters when the process that images was killed.

It waits at a pipe from the imaging process. ``done`` on it means that all was closed in order. An
end without that word means that its owner died with, perhaps, the light on: then it opens the
shutters' part of the configuration, closes them, and writes down what it did.

It can do so where a shutter stays as it is when nobody holds it, and only once the driver lets
another process have it. A cut of power or a hung operating system it cannot help against: for those
use a light source that the camera triggers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

DONE = b"done\n"
TOLD = "lights-off.txt"
"""In the folder of a run that was killed: what became of its shutters."""
ATTEMPTS = 3
PAUSE_S = 2.0
OWNER_GONE_S = 10.0


class LightGuard:
    """Keeps the guard running while its ``with`` block lasts. Only for hardware in this process.

    Parameters
    ----------
    config, adapters
        What to open; empty starts no guard.
    folder
        Where it tells what it did.
    """

    def __init__(self, config: str, adapters: str, folder: Path) -> None:
        self._what = {
            "config": config, "adapters": adapters, "folder": str(folder), "owner": os.getpid()
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._what["config"]:
            self._process = _start()
            self._say(json.dumps(self._what).encode() + b"\n")
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.write(DONE)
            process.stdin.close()
        except OSError:
            pass  # it ended before us; there is nothing left for it to guard
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5.0)

    @property
    def pid(self) -> int | None:
        """Of the guard while it runs."""
        return None if self._process is None else self._process.pid

    def _say(self, line: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except OSError as error:
            from drivers.errors import RigError

            raise RigError(f"the guard of the light did not start: {error}") from error


def _start() -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "live.light.guard"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if sys.platform == "win32":
        quiet["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        quiet["start_new_session"] = True  # Ctrl-C is for its owner
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, **quiet)


def main() -> int:
    """Wait for the owner's word or its end; 0 when nothing had to be done or all was closed."""
    first = sys.stdin.buffer.readline()
    if not first:
        return 0
    what = json.loads(first)
    if sys.stdin.buffer.readline() == DONE:
        return 0
    _await_end(int(what["owner"]))
    outcome = _close(Path(what["config"]), Path(what["adapters"]))
    lines = [time.strftime("%Y-%m-%d %H:%M:%S the imaging process died; its shutters:")]
    lines += [f"{shutter}: {sentence}" for shutter, sentence in outcome.items()]
    Path(what["folder"], TOLD).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if set(outcome.values()) == {"closed"} else 1


def _await_end(owner: int) -> None:
    """Its devices are free once it is gone."""
    import psutil

    deadline = time.monotonic() + OWNER_GONE_S
    while time.monotonic() < deadline:
        try:
            if psutil.Process(owner).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.05)


def _close(config: Path, adapters: Path) -> dict[str, str]:
    from drivers.errors import ScopeError
    from drivers.lightsoff import close_shutters_of

    outcome: dict[str, str] = {}
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S)  # a port may stay taken for a moment
        try:
            outcome = close_shutters_of(config, adapters)
        except ScopeError as error:
            outcome = {str(config): f"not closed: {error}"}
        if all(sentence == "closed" for sentence in outcome.values()):
            break
    return outcome


if __name__ == "__main__":
    sys.exit(main())
