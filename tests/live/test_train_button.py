"""The window's training button, pressed in the window of a real run, and what comes of it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from live import session as running
from live.denoising.denoising import Denoising
from live.display.availability import missing_library
from live.experiment.settings import ExperimentSettings
from live.processes.children import ChildSpec
from live.recording.runfolder import RunFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_library(True)), reason="Qt cannot be loaded here"),
]

NETS = Path(__file__).parents[1] / "data" / "denoise"
MOST_S = 120.0


def rows(out: Path, query: str) -> list[sqlite3.Row]:
    # read only, as otherwise a journal would be made where the run is only beginning
    connection = sqlite3.connect(f"{(out / 'journal.sqlite').as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def pressed(specs: Callable[..., list[ChildSpec]]) -> Callable[..., list[ChildSpec]]:
    """The processes of a run, with a window whose button is pressed."""

    def made(*args: Any, **named: Any) -> list[ChildSpec]:
        return [
            replace(spec, module="tests.live.pressing_window") if spec.role == "display" else spec
            for spec in specs(*args, **named)
        ]

    return made


def test_a_press_of_the_button_ends_in_new_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    network = {"kind": "network", "model": str(NETS / "average.onnx")}
    settings = ExperimentSettings.model_validate(
        {
            "name": "test",
            "rig": {"driver": "simulated", "seed": 5, "width": 128, "height": 128},
            "pipeline": {"name": "d", "denoise": network},
            "plan": {
                "channels": [{"config": "DAPI", "exposure": 5}],
                "time_plan": {"interval": 0.1, "loops": 100_000},
            },
            "inference": {"policy": "every", "ring_mb": 16},
            "record": {"reserve_mb": 10},
        }
    )
    monkeypatch.setattr(running, "child_specs", pressed(running.child_specs))
    session = running.Session(
        settings, RunFolder.create(out), headless=False, offscreen=True, seconds=MOST_S
    )
    session._denoising = Denoising(
        out, settings.pipeline, "DAPI", window=True, trainer="tests.live.quick_trainer"
    )

    def watch() -> None:
        deadline = time.monotonic() + MOST_S
        while time.monotonic() < deadline:
            time.sleep(0.5)
            try:
                found = rows(out, "SELECT outcome FROM trainings")
            except sqlite3.OperationalError:
                continue  # the run is only beginning
            if found and found[0]["outcome"].startswith(("swapped", "failed")):
                time.sleep(1.0)
                session.end("the test has seen enough")
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    report = session.run()
    watcher.join(5)
    frames = report.frames
    assert frames["captured"] == frames["recorded"]
    (row,) = rows(out, "SELECT * FROM trainings")
    assert (row["asked_by"], row["outcome"]) == ("the window", "swapped")
    assert 0 < row["first_seq"] < frames["captured"]
    models = {r["seq"]: r["model"] for r in rows(out, "SELECT seq, model FROM results")}
    assert "denoise-1@" in models[max(models)]
    assert "average@" in models[min(models)]
    assert report.restarts.get("display", 0) == 0
    texts = [r["text"] for r in rows(out, "SELECT text FROM log")]
    assert any("asked for by the window" in text for text in texts)
    assert any("the denoiser was swapped" in text for text in texts)
