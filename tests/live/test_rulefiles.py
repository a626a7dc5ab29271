"""Rules in files of their own: shipped ones, one's own, and what is wrong with them, by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drivers import FrameMeta
from live.errors import SettingsProblems
from live.experiment.configfiles import shipped
from live.experiment.loading import load_experiment
from live.rules.decisions import RuleBook
from live.rules.settings import RuleSettings
from models import OBJECT_DTYPE

HEAD = "rig: simulated\npipeline: nuclei-preview\nplan: {channels: [DAPI]}\nrules:\n"


def experiment(folder: Path, rules: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(HEAD + rules)
    return path


def test_a_rule_is_one_line_and_can_have_keys_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_text("when: area > 500\nthen: {kind: burst, frames: 3}\n")
    rules = """
  - mitosis-burst
  - {file: mitosis-burst, name: slower, cooldown_s: 30}
  - {file: big.yaml, max_firings: 2}
  - {name: written out, when: divided, then: {kind: stop}}
"""
    settings = load_experiment(experiment(tmp_path, rules))
    assert [rule.name for rule in settings.rules] == [
        "mitosis-burst",
        "slower",
        "big",
        "written out",
    ]
    assert [rule.max_firings for rule in settings.rules] == [20, 20, 2, 10]
    assert settings.rules[1].cooldown_s == 30
    copy = tmp_path / "copy.yaml"
    copy.write_text(settings.to_yaml())
    assert load_experiment(copy) == settings


def test_what_is_wrong_is_said_where_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("when: arae > 500\nthen: {kind: burst, frames: 3}\n")
    rules = """
  - mitosis-brst
  - {file: bad.yaml}
  - {file: mitosis-burst, cooldown: 3}
  - {name: written out, when: divides, then: {kind: stop}}
"""
    with pytest.raises(SettingsProblems) as caught:
        load_experiment(experiment(tmp_path, rules))
    found = {
        (Path(problem.file).name, problem.line, problem.key): problem.message
        for problem in caught.value.problems
    }
    assert list(found) == [
        ("bad.yaml", 1, "when"),
        ("mine.yaml", 6, "rules[0]"),
        ("mine.yaml", 8, "rules[2].cooldown"),
        ("mine.yaml", 9, "rules[3].when"),
    ]
    unknown, misnamed, misspelt, event = found.values()
    assert "no column 'arae'; did you mean 'area'" in unknown
    assert "did you mean 'mitosis-burst'" in misnamed
    assert "did you mean 'cooldown_s'" in misspelt
    assert "did you mean 'divided'" in event


PLUGIN = """
def crowded(table, *, least):
    return table["n"] * (table["class"] == "") >= least
"""


def test_a_condition_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crowding.py").write_text(PLUGIN)
    about = tmp_path / "crowding-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: crowding\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[parfocal.rules]\ncrowded = crowding:crowded\n")
    monkeypatch.syspath_prepend(tmp_path)
    then = "then: {kind: stop}, max_firings: 9"
    rules = f"  - {{name: r, when: {{plugin: crowded, params: {{least: 2}}}}, {then}}}\n"
    settings = load_experiment(experiment(tmp_path, rules))
    copy = tmp_path / "copy.yaml"
    copy.write_text(settings.to_yaml())
    assert load_experiment(copy) == settings
    book = RuleBook(settings.rules)
    fired = []
    for seq, count in enumerate((1, 2, 2, 0)):
        objects = np.zeros(count, OBJECT_DTYPE)
        objects["track_id"], objects["class_id"] = np.arange(count) + 1, -1
        meta = FrameMeta(seq=seq, captured_ns=seq, popped_ns=0, exposure_ms=20.0)
        fired.append([d.track_id for d in book.judge(objects, meta, (64, 64), seq + 1)])
    assert fired == [[], [1, 2], [], []]
    wrong = f"  - {{name: r, when: {{plugin: crowdd}}, {then}}}\n"
    with pytest.raises(SettingsProblems, match="did you mean 'crowded'"):
        load_experiment(experiment(tmp_path, wrong))
    needs = RuleSettings.model_validate(
        {"name": "r", "when": {"plugin": "crowded"}, "then": {"kind": "stop"}}
    )
    (failed,) = RuleBook([needs]).judge(objects, meta, (64, 64), 9)
    assert "missing 1 required keyword-only argument: 'least'" in failed.because


@pytest.mark.parametrize("name", sorted(shipped("rules")))
def test_shipped_rules_can_be_used_and_written_down(name: str, tmp_path: Path) -> None:
    settings = load_experiment(experiment(tmp_path, f"  - {name}\n"))
    copy = tmp_path / "copy.yaml"
    copy.write_text(settings.to_yaml())
    assert load_experiment(copy) == settings
    (rule,) = settings.rules
    assert isinstance(rule, RuleSettings)
    book = RuleBook([rule])
    objects = np.zeros(3, OBJECT_DTYPE)
    objects["track_id"] = [1, 2, 3]
    for seq in range(3):
        meta = FrameMeta(seq=seq, captured_ns=seq, popped_ns=0, exposure_ms=20.0)
        book.judge(objects, meta, (64, 64), seq + 1)
    assert book.status()[0][3]  # no condition failed


def test_for_and_guard_are_read_as_people_write_them() -> None:
    told = {"name": "a", "when": "area > 3", "then": {"kind": "burst", "frames": 3}}
    rule = RuleSettings.model_validate({**told, "for": 3, "guard": {"cooldown_s": 2}})
    assert (rule.for_frames, rule.cooldown_s) == (3, 2.0)
    for wrong in ({"guard": {"cooldwn_s": 2}}, {"guard": 3}, {"for": 2, "for_frames": 2},
                  {"guard": {"cooldown_s": 1}, "cooldown_s": 1}):  # fmt: skip
        with pytest.raises(ValueError, match=r"cooldwn_s|guard holds|given twice"):
            RuleSettings.model_validate({**told, **wrong})
