"""Engines that fail in a real run: imaging goes on, and every fault is named and written down."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from live import load_experiment, run_experiment
from live.errors import ExitCode
from live.processes.children import DEVICE_LOST, Child, ChildSpec
from live.processes.enginefaults import EngineFaults
from live.processes.messages import EngineFault, decode, encode
from live.recording.journal import Journal
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder
from live.report import RunReport
from models import PipelineSettings
from tests import faulty_engine

EXPERIMENT = """
name: faults
rig: {driver: simulated, seed: 5, width: SIDE, height: SIDE}
pipeline:
  name: faulty
  segment: {kind: network, model: MODEL, engine: "ENGINE"}
  track: {}
  MORE
plan:
  channels: [{config: DAPI, exposure: 10}]
  time_plan: {interval: 0.25, loops: LOOPS}
inference: {policy: every, ring_mb: 32}
record: {reserve_mb: 10}
"""


def faults_of(folder: RunFolder) -> list[tuple[str, str]]:
    with JournalReader(folder.journal) as journal:
        return [(row[0], row[1]) for row in journal.rows("SELECT fault, step FROM engine_events")]


@pytest.fixture
def run_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives a function that runs with a plan of faults: report and faults in the journal."""
    site = faulty_engine.install(tmp_path)
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), str(site)]))
    monkeypatch.setenv(faulty_engine.VARIABLE, str(tmp_path))
    monkeypatch.syspath_prepend(str(site))

    def run(
        plan: dict[str, Any], frames: int = 24, more: str = "", **given: str
    ) -> tuple[RunReport, list[tuple[str, str]]]:
        words = {"SIDE": "192", "MODEL": "nuclei", "ENGINE": "plugin:faulty", "MORE": more}
        text = EXPERIMENT
        for word, value in {**words, "LOOPS": str(frames), **given}.items():
            text = text.replace(word, value)
        (tmp_path / "FAULTS.json").write_text(json.dumps(plan))
        written = tmp_path / "experiment.yaml"
        written.write_text(text)
        report = run_experiment(load_experiment(written), out=tmp_path / "run")
        assert report.frames["captured"] == report.frames["recorded"] == frames
        return report, faults_of(RunFolder(tmp_path / "run"))

    return run


@pytest.mark.slow
def test_answers_that_are_no_numbers_cost_their_frames_alone(run_with: Any) -> None:
    report, faults = run_with({"nan": [12, 13, 14]})
    names = [fault for fault, _ in faults]
    assert names == ["value"] * 3
    assert [step for _, step in faults].count("the engine is opened again") == 1
    assert report.engine_faults == {"value": 3}
    assert report.restarts["inference"] == 0
    assert 0 < report.frames["analysed"] <= 24 - 3
    assert report.exit_code == ExitCode.ANALYSIS_FAILED
    assert "no numbers" in " ".join(report.problems)


@pytest.mark.slow
def test_a_lost_device_starts_inference_again_with_the_same_ids(run_with: Any) -> None:
    report, faults = run_with({"lost": [14]}, frames=40)
    assert [fault for fault, _ in faults] == ["device_lost"]
    assert report.restarts["inference"] == 1
    with JournalReader(RunFolder(Path(report.out)).journal) as journal:
        rows = [
            (int(seq), {int(track) for track in tracks.split(",")})
            for seq, tracks in journal.rows(
                "SELECT seq, group_concat(track_id) FROM objects GROUP BY seq ORDER BY seq"
            )
        ]
        (lost,) = [int(row[0]) for row in journal.rows("SELECT seq FROM engine_events")]
    before = max(pair for pair in rows if pair[0] < lost)[1]
    after = min(pair for pair in rows if pair[0] > lost)[1]
    assert len(before & after) >= 0.8 * len(before)


@pytest.mark.slow
def test_a_device_lost_for_good_ends_the_analysis_and_not_the_imaging(run_with: Any) -> None:
    report, faults = run_with({"always_lost_from": 14}, frames=60)
    assert faults[-1] == ("given_up", "imaging goes on without analysis")
    assert report.engine_faults["device_lost"] >= 3
    assert report.exit_code == ExitCode.ANALYSIS_FAILED
    assert report.engine["name"] == "onnxruntime"


@pytest.mark.slow
def test_another_engine_runs_only_where_the_pipeline_names_it(run_with: Any) -> None:
    report, faults = run_with({"always_lost_from": 14}, 80, "fallback: onnxruntime")
    assert ("fallback", "from now on onnxruntime runs, as fallback says") in faults
    assert faults[-1][0] == "fallback"
    with JournalReader(RunFolder(Path(report.out)).journal) as journal:
        ((last,),) = journal.rows("SELECT max(seq) FROM engine_events WHERE seq >= 0")
        ((after,),) = journal.rows(f"SELECT count(*) FROM results WHERE seq > {last}")
    assert after > 3


@pytest.mark.slow
def test_memory_that_runs_out_makes_the_tiles_smaller(run_with: Any) -> None:
    report, faults = run_with({"too_large": 460**2}, frames=6, SIDE="512")
    assert report.exit_code == ExitCode.OK, report.problems
    assert report.frames["analysed"] > 0
    # it ran out as it warmed up, so what is told to everyone has it from the first frame on
    assert "tiles of 256 px" in report.engine["device"]
    assert not faults


@pytest.mark.slow
def test_memory_that_is_too_small_for_any_tile_ends_the_analysis(run_with: Any) -> None:
    report, faults = run_with({"too_large": 100}, frames=6)
    assert [fault for fault, _ in faults] == ["out_of_memory", "given_up"]
    assert report.frames["analysed"] == 0


@pytest.mark.slow
def test_a_model_file_that_is_damaged_is_named_before_the_first_frame(
    run_with: Any, tmp_path: Path
) -> None:
    from models.catalog import weights_path

    shipped = weights_path("nuclei")
    whole = shipped.read_bytes()
    (tmp_path / "nuclei.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "nuclei.md").write_bytes(shipped.with_suffix(".md").read_bytes())
    model = (tmp_path / "nuclei.onnx").as_posix()
    report, faults = run_with({}, 6, MODEL=f'"{model}"', ENGINE="onnxruntime")
    assert faults[0][0] == "file"
    assert report.exit_code == ExitCode.ANALYSIS_FAILED


def test_the_message_comes_through_whole() -> None:
    message = EngineFault(fault="value", step="the frame is left out", sentence="no", seq=7)
    assert decode(encode(message)) == message


def test_a_child_that_is_given_up_can_be_started_otherwise(tmp_path: Path) -> None:
    asked: list[str] = []

    def instead(why: str) -> str:
        asked.append(why)
        return "something else" if len(asked) == 1 else ""

    spec = ChildSpec("inference", "not.there", lambda: EngineFault(fault="", step="", sentence=""),
                     instead=instead)  # fmt: skip
    child = Child(spec, "tcp://127.0.0.1:1", "token", tmp_path / "log.txt")
    child.give_up("the device was lost")
    assert not child.given_up
    child.give_up("and again")
    assert child.given_up == "and again"
    assert asked == ["the device was lost", "and again"]
    assert DEVICE_LOST not in tuple(ExitCode)


@pytest.mark.parametrize("fallback", ["onnxruntime", None])
def test_the_rig_writes_down_shows_and_counts_what_it_hears(
    tmp_path: Path, fallback: str | None
) -> None:
    segment = {"kind": "network", "model": "nuclei", "engine": "openvino"}
    asked = PipelineSettings.model_validate({"name": "n", "segment": segment, "fallback": fallback})
    faults, said = EngineFaults(lambda: asked), []
    fault = EngineFault(fault="device_lost", step="it starts again", sentence="gone", seq=9)
    with Journal(tmp_path / "journal.sqlite") as journal:
        faults.begin(journal, said.append)
        assert not faults.heard("display", fault)
        assert faults.warning() == ""
        assert faults.heard("inference", fault)
        assert "device lost, frame 9" in faults.warning()
        assert faults.pipeline() is asked
        assert bool(faults.instead("lost 4 times")) is (fallback is not None)
        running = faults.pipeline().segment
        assert running is not None
        assert getattr(running, "engine", "") == (fallback or "openvino")
        assert faults.instead("and the other too") == ""
    counted = {"device_lost": 1, "given_up": 1 if fallback else 2}
    assert faults.counts() == counted | ({"fallback": 1} if fallback else {})
    with JournalReader(tmp_path / "journal.sqlite") as reader:
        first, *_ = reader.rows("SELECT seq, fault, text FROM engine_events")
        assert first == (9, "device_lost", "gone")
    assert len(said) == 3
