"""``parfocal whatif``: recorded runs asked again, by their own rules and by others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from recording import frame, objects, recording

from live.cli import main
from live.errors import SettingsProblems
from live.experiment.settings import ExperimentSettings
from live.recording.journal_schema import DecisionRow
from live.rules.decisions import Action, Decision, RuleBook
from live.whatif.ask import ask

MS = 1_000_000
FRAMES = 40
RULE = {
    "name": "large", "when": "area > 100", "then": {"frames": 4, "interval_ms": 50},
    "cooldown_s": 0.5, "max_firings": 3,
}  # fmt: skip


def experiment(rules: Sequence[dict[str, Any]]) -> ExperimentSettings:
    """An experiment on the simulated rig; light counts double with DAPI."""
    return ExperimentSettings.model_validate(
        {
            "name": "test", "rig": {"driver": "simulated"}, "pipeline": PIPELINE,
            "plan": {
                "channels": [{"config": "DAPI", "exposure": 20}],
                "time_plan": {"interval": 0.1, "loops": FRAMES},
            },
            "rules": list(rules), "light": {"power": {"DAPI": 2.0}},
        }
    )  # fmt: skip


PIPELINE = {"name": "threshold", "segment": {"kind": "threshold"}, "track": {}}


def areas(seq: int) -> np.ndarray:
    """Three objects that are large in turn."""
    table = objects(3)
    table["area_px"] = 50
    table["area_px"][seq % 3] = 150 if seq % 4 == 0 else 60
    table["x_um"], table["y_um"], table["uncertainty"] = 5.0, 6.0, -1.0
    table["confidence"] = 0.9
    return table


def record(path: Path, rules: Sequence[dict[str, Any]], disarm_at: int = -1) -> list[Decision]:
    """A run, decided by a rule book as a run does it; its decisions.

    Every third frame came too late to be analysed; an action ends 150 ms after its decision.
    """
    settings = experiment(rules)
    book = RuleBook(settings.rules)
    made: list[Decision] = []
    ends: list[tuple[int]] = []
    with recording(path) as (folder, journal, recorder):
        run = {"clock_unix_ns": 0, "clock_monotonic_ns": 0}
        journal.set_run(**run)
        folder.experiment.write_text(settings.to_yaml(), encoding="utf-8")
        for seq in range(FRAMES):
            taken = frame(seq)
            recorder.submit(taken)
            now_ns = taken.meta.captured_ns + 30 * MS
            if seq % 3 == 2:
                continue
            if seq == disarm_at:
                book.disarm("large", "disarmed by someone")
                row = ((now_ns - MS) / 1e9, "command", '{"by": "someone", "words": ["disarm-all"]}')
                journal.put("log", [row])
            for end in [one for one in ends if one[0] <= now_ns]:
                ends.remove(end)
                book.finished("large", end[0])
            table = areas(seq)
            decided = book.judge(table, taken.meta, taken.pixels.shape, now_ns)
            recorder.submit_result(seq, labels=None, objects=table)
            journal.add_times(seq, {"captured": 1, "decided": now_ns + 1000})
            for one in decided:
                made.append(one)
                fired = one.action is Action.BURST
                done_ns = now_ns + 150 * MS if fired else 0
                ends += [(done_ns,)] if fired else []
                journal.add_decision(
                    DecisionRow(
                        one.number, seq, one.rule, "burst", one.because, track_id=one.track_id,
                        outcome="done" if fired else "held back", decided_ns=now_ns,
                        done_ns=done_ns,
                    )
                )  # fmt: skip
    return made


def parfocal(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one call in this process."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Decision]]:
    """A run and what it decided."""
    path = tmp_path_factory.mktemp("whatif") / "run"
    return path, record(path, [RULE])


def test_its_own_rules_decide_as_they_did(run: tuple[Path, list[Decision]]) -> None:
    path, made = run
    answer = ask(path)
    assert answer.own
    assert not answer.differences
    assert answer.replayed.decisions == made
    assert {one.action for one in made} == {Action.BURST, Action.HOLD}, "a guard was at work too"
    assert answer.replayed.skipped == {"never analysed in the run": FRAMES // 3}


def test_what_a_person_commanded_is_replayed(tmp_path: Path) -> None:
    made = record(tmp_path / "run", [RULE], disarm_at=10)
    assert all(one.action is Action.HOLD for one in made if one.seq >= 10)
    answer = ask(tmp_path / "run")
    assert [one.because for one in answer.replayed.decisions] == [one.because for one in made]


def test_a_changed_journal_is_told_from_the_run(
    run: tuple[Path, list[Decision]], tmp_path: Path
) -> None:
    import sqlite3

    changed = tmp_path / "changed"
    shutil.copytree(run[0], changed)
    with sqlite3.connect(changed / "journal.sqlite") as connection:
        connection.execute("UPDATE objects SET area_px = 50 WHERE seq = ?", (run[1][0].seq,))
    connection.close()
    differences = ask(changed).differences
    assert f"frame {run[1][0].seq}, rule 'large'" in differences[0]


def test_other_rules_cost_what_their_actions_take(
    run: tuple[Path, list[Decision]], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n- name: often\n  when: area > 100\n  max_firings: 2\n"
        "  then: {frames: 5, interval_ms: 0, exposure_ms: 100}\n",
        encoding="utf-8",
    )
    answer = ask(run[0], str(rules))
    found = answer.to_json()
    assert not answer.own
    assert [one["frames"] for one in found["rules"]] == [5, 5]
    assert found["light"]["plan"] == pytest.approx(FRAMES * 0.020 * 2)
    assert found["light"]["rules"] == pytest.approx(10 * 0.100 * 2)
    assert found["disk_mb"]["rules"] == pytest.approx(10 * 32 * 48 * 2 / 1e6)
    assert {"rule", "seq", "object", "action"} <= found["rules"][0].keys()


def test_a_killed_run_can_be_asked(run: tuple[Path, list[Decision]], tmp_path: Path) -> None:
    import sqlite3

    killed = tmp_path / "killed"
    shutil.copytree(run[0], killed)
    with sqlite3.connect(killed / "journal.sqlite") as connection:
        connection.execute("DELETE FROM run WHERE key IN ('ended_unix', 'reason')")
        connection.execute("UPDATE run SET value = 'running' WHERE key = 'state'")
        connection.execute("INSERT INTO arriving SELECT * FROM frames WHERE seq >= 30")
        connection.execute("DELETE FROM frames WHERE seq >= 30")
        connection.execute("DELETE FROM results WHERE seq = 36")
    connection.close()
    answer = ask(killed)
    assert answer.frames == FRAMES
    assert answer.replayed.skipped["analysed, but its objects were not kept"] == 1


def test_the_command_writes_table_json_and_timeline(
    run: tuple[Path, list[Decision]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, picture = tmp_path / "w.json", tmp_path / "w.png"
    code, out, err = parfocal(
        capsys, "whatif", str(run[0]), "--json", str(told), "--picture", str(picture)
    )
    assert (code, err) == (0, "")
    assert "the run's own rules decide here as they did in the run" in out
    fired = [one for one in run[1] if one.action is Action.BURST]
    assert [one["seq"] for one in json.loads(told.read_text())["rules"]] == [o.seq for o in fired]
    with Image.open(picture) as drawn:
        colours = {tuple(one) for one in np.asarray(drawn).reshape(-1, 3).tolist()}
    assert {(86, 180, 233), (230, 159, 0)} <= colours


def test_mistakes_in_rules_are_told_as_check_tells_them(
    run: tuple[Path, list[Decision]], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n- {name: a, when: area > 1, then: {frames: 2}, coldown_s: 3}\n"
        "- {name: b, when: class = 'mitotic', then: {frames: 2}}\n",
        encoding="utf-8",
    )
    with pytest.raises(SettingsProblems, match=r"rules.yaml:2: rules\[0\].coldown_s.*cooldown_s"):
        ask(run[0], str(rules))
    rules.write_text("when: class = 'mitotic'\nthen: {frames: 2}\n", encoding="utf-8")
    with pytest.raises(SettingsProblems, match=r"rules\.yaml:1: when: 'mitotic' is a class"):
        ask(run[0], str(rules))


def test_what_is_no_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = parfocal(capsys, "whatif", str(tmp_path))
    assert code == 2
    assert "is not a recorded run" in err


def test_an_experiment_with_no_rules_never_fires(tmp_path: Path) -> None:
    record(tmp_path / "run", [])
    answer = ask(tmp_path / "run")
    assert not answer.firings
    assert not answer.differences


@pytest.mark.slow
@pytest.mark.parametrize("analyse", [False, True])
def test_a_real_run_decides_again_as_it_did(tmp_path: Path, analyse: bool) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--headless", "--seconds", "15", "--seed", "1", "--out", str(tmp_path / "r")])
    assert not ended.value.code
    answer = ask(tmp_path / "r", analyse=analyse)
    assert answer.own is not analyse
    assert not answer.differences
    report = json.loads((tmp_path / "r" / "report.json").read_text(encoding="utf-8"))
    assert report["rules"]
    if analyse:
        assert answer.replayed.judged == report["frames"]["analysed"]
        return
    now = answer.to_json()["rules"]
    for then, found in zip(report["rules"], now, strict=True):
        assert found | then == found
