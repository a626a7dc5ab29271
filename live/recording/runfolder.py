"""The folder of one run: what lies where, and whether its writer still lives.

::

    OUT/raw-000.ome.zarr        frames (t, y, x); raw-001... after a change of size or depth
        labels/cells            label images on the same t axis
        denoised-000.ome.zarr   where the run keeps denoised images
        journal.sqlite          what happened, at every instant
        frames.parquet, objects.parquet, decisions.parquet    the tables, at the end
        taught/CLASS/               crops of objects that someone named by clicks in the window
    experiment.yaml, report.json, log.txt, truth.json
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil

from drivers.errors import SettingsError
from live.recording.errors import OutputExists
from live.recording.journal import RunState
from live.recording.journal_reader import JournalReader

_MOST_NUMBERED: Final = 10_000
# The journal writes a sign of life every 0.5 s; a stalled disk may take a while.
_SILENCE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths inside the folder of one run."""

    path: Path

    @classmethod
    def create(cls, out: Path, *, numbered: bool = False) -> Self:
        """Make the folder of a new run; what exists is never overwritten.

        Parameters
        ----------
        out
            Folder to make; an empty one is taken as it is.
        numbered
            Where ``out`` holds something, take ``out_1``, ``out_2``... instead of refusing.

        Raises
        ------
        OutputExists
            When ``out`` holds something and ``numbered`` is False.
        SettingsError
            When the folder cannot be made.
        """
        out = out.expanduser()
        for number in range(_MOST_NUMBERED):
            path = out if number == 0 else out.with_name(f"{out.name}_{number}")
            if cls._claim(path):
                return cls(path.resolve())
            if not numbered:
                raise OutputExists(
                    f"{path} exists and holds something; nothing is overwritten, "
                    "choose another --out or move it away"
                )
        raise OutputExists(f"{out} and {_MOST_NUMBERED - 1} numbered folders exist; clear some")

    @classmethod
    def open(cls, path: Path) -> Self:
        """The folder of a recorded run; ``SettingsError`` when ``path`` is none."""
        folder = cls(path.expanduser().resolve())
        if not folder.journal.is_file():
            raise SettingsError(f"{path} is not a recorded run: it has no {folder.journal.name}")
        return folder

    @staticmethod
    def _claim(path: Path) -> bool:
        try:
            if path.is_dir():
                return not any(path.iterdir())
            path.mkdir(parents=True)
        except FileExistsError:
            return False
        except OSError as error:
            raise SettingsError(
                f"cannot make the output folder {path}: {error.strerror or error}; choose another"
            ) from error
        return True

    @property
    def journal(self) -> Path:
        """SQLite file of `live.recording.journal.Journal`."""
        return self.path / "journal.sqlite"

    @property
    def frames_table(self) -> Path:
        """Parquet, one row per captured frame."""
        return self.path / "frames.parquet"

    @property
    def objects_table(self) -> Path:
        """Parquet, one row per object and frame."""
        return self.path / "objects.parquet"

    @property
    def decisions_table(self) -> Path:
        """Parquet, one row per decision."""
        return self.path / "decisions.parquet"

    @property
    def report(self) -> Path:
        """Report JSON of the run."""
        return self.path / "report.json"

    @property
    def experiment(self) -> Path:
        """The experiment as it was run."""
        return self.path / "experiment.yaml"

    @property
    def log(self) -> Path:
        """Log for people."""
        return self.path / "log.txt"

    @property
    def truth(self) -> Path:
        """What the simulated sample really did."""
        return self.path / "truth.json"

    @property
    def picture(self) -> Path:
        """Last picture of the window."""
        return self.path / "window.png"

    @property
    def taught(self) -> Path:
        """Objects that someone named by clicks: a folder for each class."""
        return self.path / "taught"

    def raw(self, store: int) -> Path:
        """Raw frames; ``store`` counts changes of size or depth."""
        return self.path / f"raw-{store:03d}.ome.zarr"

    def labels(self, store: int) -> Path:
        """Label images of the raw frames of the same number."""
        return self.raw(store) / "labels" / "cells"

    def denoised(self, store: int) -> Path:
        """Denoised images of the raw frames of the same number."""
        return self.path / f"denoised-{store:03d}.ome.zarr"

    def stores(self) -> list[int]:
        """Numbers of the raw images that exist, in order."""
        names = (item.name for item in self.path.iterdir())
        found = (re.fullmatch(r"raw-(\d{3,})\.ome\.zarr", name) for name in names)
        return sorted(int(match[1]) for match in found if match)


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What the journal and the process table say of a run."""

    state: RunState
    """As written; ``running`` also when the writer died."""
    writer_alive: bool
    frames: int
    """Frames whose pixels are known to lie complete on disk."""
    arriving: int
    """Frames captured whose pixels are not, or not yet, known to be there."""
    heartbeat_unix: float
    reason: str = ""

    @property
    def dead(self) -> bool:
        """The run never ended in order and nobody writes any more: it was killed."""
        return self.state is RunState.RUNNING and not self.writer_alive

    def line(self) -> str:
        """One line for people."""
        if self.dead:
            return (
                f"killed: the writer is gone; {self.frames} frames are whole, "
                f"{self.arriving} were captured and may lack pixels"
            )
        text = f"{self.state}: {self.frames} frames written, {self.arriving} on their way"
        return f"{text} ({self.reason})" if self.reason else text


def status(path: Path, *, now_unix: float) -> RunStatus:
    """Status of the run in folder ``path``, at wall-clock time ``now_unix``.

    On the host that wrote the run its process is looked up; elsewhere, a journal that is silent
    for 30 s counts as dead.
    """
    folder = RunFolder.open(path)
    with JournalReader(folder.journal) as journal:
        run = journal.run()
        frames, arriving = journal.count("frames"), journal.count("arriving")
    heartbeat = float(run.get("heartbeat_unix", run.get("started_unix", "0")))
    state = RunState(run.get("state", RunState.RUNNING))
    alive = False
    if state is RunState.RUNNING:
        if run.get("host") == platform.node():
            alive = _same_process(int(run.get("pid", "0")), float(run.get("pid_created", "0")))
        else:
            alive = now_unix - heartbeat < _SILENCE_S
    return RunStatus(state, alive, frames, arriving, heartbeat, run.get("reason", ""))


def _same_process(pid: int, created: float) -> bool:
    # A number is used again after a process died; the time of its start tells them apart.
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < 1.0
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
