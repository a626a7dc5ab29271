"""The closed loop as a user has it: a run whose rule sets the exposure from every frame."""

from __future__ import annotations

import pytest

from live.experiment.settings import ExperimentSettings
from live.recording.journal_reader import JournalReader
from live.session import run_experiment

pytestmark = pytest.mark.slow


def rule(name: str, when: str, exposure_ms: float) -> dict[str, object]:
    then = {"kind": "exposure", "exposure_ms": exposure_ms}
    more = {"per": "frame", "while_true": True, "max_firings": 100_000}
    return {"name": name, "when": when, "then": then, **more}


def test_decisions_reach_the_camera_while_its_sequence_runs(tmp_path):
    settings = ExperimentSettings.model_validate(
        {
            "rig": {
                "driver": "micromanager",
                "config": "demo",
                "adapters": "mm-test-adapters",
                "exposure_in_sequence": True,
                "startup": [["Camera", "FastImage", "1"]],
            },
            "pipeline": {"name": "threshold", "segment": {"kind": "threshold"}, "track": {}},
            "plan": {
                "channels": [{"config": "DAPI", "exposure": 20}],
                "time_plan": {"interval": 0, "loops": 300},
            },
            "rules": [
                rule("shorter", "exposure_ms > 15", 10),
                rule("longer", "exposure_ms < 15", 20),
            ],
            "latency_budget_ms": 0.001,
        }
    )
    report = run_experiment(settings, out=tmp_path / "run")
    assert report.exit_code == 0, report.problems
    assert report.frames["captured"] == report.frames["recorded"] == 300
    assert report.latency_budget["over"] == report.frames["analysed"] > 0
    outcomes = [fired["outcome"] for fired in report.rules]
    assert outcomes.count("done") > 10
    with JournalReader(tmp_path / "run" / "journal.sqlite") as journal:
        found = {float(str(ms)) for (ms,) in journal.rows("SELECT exposure_ms FROM frames")}
        alarms = journal.count("log", "text LIKE '%latency_budget_ms%'")
    assert found == {10.0, 20.0}
    assert alarms == 1
