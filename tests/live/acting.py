"""A real rig, recorder and acquisition in a folder, for tests of what actions do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import useq
from pydantic import TypeAdapter

from drivers import FrameRing, Rig, open_rig
from drivers.frame import FrameMeta
from live.acquire import Acquisition, Outlets
from live.actions.blocks import Cause, block_for
from live.actions.settings import Actions
from live.ledger import Ledger
from live.plan.blocks import Effect
from live.plan.plan import Late, Plan
from live.recording.journal import Journal
from live.recording.journal_reader import JournalReader
from live.recording.reconcile import reconcile
from live.recording.recorder import Recorder, RecorderSettings
from live.recording.runfolder import RunFolder

ACTIONS: TypeAdapter[Any] = TypeAdapter(Actions)


def cause(number: int = 1, **more: Any) -> Cause:
    """A decision on an object 30 µm right of a field at the origin."""
    meta = FrameMeta(
        seq=3,
        captured_ns=0,
        popped_ns=0,
        exposure_ms=5.0,
        channel="DAPI",
        pixel_size_um=0.5,
        index={"t": 3},
        **more.pop("meta", {}),
    )
    known = {
        "decision": number,
        "rule": "a rule",
        "because": "cell 7 divided",
        "meta": meta,
        "shape": (512, 512),
        "place_um": (30.0, 0.0),
        "place_px": (256.0, 316.0),
        "group": "Channel",
        "interval_s": 0.2,
        "experiment": "test",
    }
    return Cause(**{**known, **more})


def block(actions: Any, number: int = 1, **more: Any):
    """The block that the action, written as in YAML, becomes for `cause`."""
    return block_for(ACTIONS.validate_python(actions), cause(number, **more))


class Acting:
    """Runs a plan on a rig; ``during`` asks for blocks meanwhile."""

    def __init__(self, folder: Path, plan: useq.MDASequence, rig: Any, **plan_more: Any) -> None:
        self.folder = RunFolder.create(folder)
        self.plan = Plan(plan, **plan_more)
        self.settings = rig
        self.started: list[int] = []
        self.ended: list[tuple[int, str | None]] = []
        self.effects: list[Effect] = []
        self.late: list[Late] = []
        self.stop = threading.Event()
        self.rig: Any = None

    def open(self) -> AbstractContextManager[Rig]:
        return self.settings() if callable(self.settings) else open_rig(self.settings)

    def run(
        self, during: Callable[[Acquisition], None] | None = None, seconds: float = 30.0
    ) -> Acquisition:
        with (
            self.open() as rig,
            Journal(self.folder.journal) as journal,
            Recorder(self.folder, journal, RecorderSettings(reserve_bytes=0)) as recorder,
        ):
            self.rig = rig
            ring = FrameRing(64)
            loop = Acquisition(
                rig,
                self.plan,
                Outlets(ring, recorder, Ledger()),
                on_burst=lambda number, why: self.ended.append((number, why)),
                on_burst_start=self.started.append,
                on_effect=lambda effect: self.effects.append(effect) or "",
                on_late=self.late.append,
            )
            helper = threading.Thread(target=during or (lambda loop: None), args=(loop,))
            limit = threading.Timer(seconds, self.stop.set)
            limit.start()
            helper.start()
            try:
                loop.run(self.stop)
            finally:
                limit.cancel()
                limit.join()
                helper.join()
                ring.close()
        assert reconcile(self.folder.path, loop.counts.captured).ok
        return loop

    def frames(self, columns: str = "seq, decision, x_um, y_um, z_um, captured_ns") -> list[tuple]:
        with JournalReader(self.folder.journal) as journal:
            return list(journal.rows(f"SELECT {columns} FROM frames ORDER BY seq"))
