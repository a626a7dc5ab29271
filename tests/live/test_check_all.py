"""One bad file with every mistake in it: `parfocal check` tells all of them at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import useq
from typer.testing import CliRunner

from drivers import LimitSettings, MotionSettings
from drivers.protect_checks import Present
from live.checks.check import check_experiment, check_file
from live.checks.dose import foresee
from live.cli import app
from live.errors import ExitCode
from live.experiment.loading import load_experiment
from live.light.settings import LightSettings
from live.plan.facts import plan_facts
from live.plan.times import intervals, point_times

BAD = """\
rig:
  driver: simulated
  limits:
    x_um: [-300, 300]
    z_um: [-50, 50]
    max_exposure_ms: 100
    max_step_xy_um: 250
    z_um_by_objective: {20X: [-50, 50], 60X: [-50, 50]}
pipeline:
  name: mine
  segment: {kind: network, model: nucleii}
  classify: {model: phases}
  track: {}
plan:
  channels:
    - {config: DAPPI, exposure: 20}
    - {config: FITC, exposure: 150}
  stage_positions:
    - {x: 0, y: 0, z: 0}
    - {x: 290, y: 0, z: 0}
    - {x: 400, y: 0, z: 0}
  time_plan: {interval: 0.2, loops: 10000000}
rules:
  - name: mitosis
    when: became
    of_class: mitotik
    then: {kind: burst, frames: 5, exposure_ms: 500, preset: DAPY}
  - name: asked in sql
    when: "class = 'mitotc' AND p > 0.8"
    then:
      - {kind: zstack, range_um: 300, step_um: 2}
      - {kind: set_property, device: Objectiv, property: State, value: 1}
light:
  cap_per_position: 5
  power: {DAPY: 2}
inference: {policy: sometimes}
"""
EXPECTED = {
    "rig.limits.z_um_by_objective.60X": (8, "did you mean '40X'"),
    "pipeline.segment.model": (11, "did you mean 'nuclei'"),
    "plan": (14, "choose another --out"),
    "plan.channels[0]": (16, "did you mean 'DAPI'"),
    "plan.channels[1]": (17, "the rig allows 100; expose shorter"),
    "plan.stage_positions[1]": (20, "over limits.max_step_xy_um = 250"),
    "plan.stage_positions[2]": (21, "stay within, or widen limits.x_um"),
    "plan.time_plan": (22, "200 ms apart"),
    "rules[0].of_class": (26, "did you mean 'mitotic'"),
    "rules[0].then.exposure_ms": (27, "exposes for 500 ms, the rig allows 100"),
    "rules[0].then.preset": (27, "did you mean 'DAPI'"),
    "rules[1].when": (29, "did you mean 'mitotic'"),
    "rules[1].then[0].range_um": (31, "leaves the rig's z limits of -50 to 50"),
    "rules[1].then[1]": (32, "did you mean 'Objective'"),
    "light.cap_per_position": (34, "over the cap of 5, which is reached after 14 of"),
    "light.power.DAPY": (35, "did you mean 'DAPI'"),
    "inference.policy": (36, "allowed: every, newest, wait"),
}


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD, encoding="utf-8")
    return path


def test_every_mistake_of_one_file_is_told_at_once(bad: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    done = CliRunner().invoke(app, ["check", str(bad), "--json", str(out)])
    assert done.exit_code == ExitCode.BAD_INPUT == 2
    told = json.loads(out.read_text())
    found = {p["key"]: p for p in told["problems"]}
    assert found.keys() == EXPECTED.keys()
    for key, (line, hint) in EXPECTED.items():
        problem = found[key]
        assert problem["file"] == str(bad)
        assert problem["line"] == line, key
        assert hint in problem["message"], key
        assert f"{bad}:{line}: {key}: " in done.output.replace("\n", " ")
    assert not told["ok"]
    assert told["summary"]["frames"] == 60_000_000
    for row in ("frames", "duration", "data", "travel of the stage", "most at one place"):
        assert row in done.output


def test_what_is_wrong_in_a_part_that_cannot_be_left_out_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD.replace("driver: simulated", "driver: simulatd"), encoding="utf-8")
    report = check_file(path)
    assert {p.key for p in report.problems} == {"rig.driver", "inference.policy"}
    assert report.exit_code == ExitCode.BAD_INPUT
    (problem,) = check_file(tmp_path / "none.yaml").problems
    assert "no such experiment file" in problem.message


def test_the_shipped_experiments_are_ready_to_run() -> None:
    report = check_experiment(load_experiment("demo"))
    assert report.problems == ()
    light = report.summary["light"]
    assert light["total"] == pytest.approx(14_400 * 0.02)
    assert light["positions"] == [{"x_um": 0.0, "y_um": 0.0, "dose": pytest.approx(288)}]
    assert report.summary["duration_s"] == pytest.approx(3600, rel=0.01)


def start_of(**values: Any) -> Present:
    return Present(x_um=0.0, y_um=0.0, z_um=0.0, exposure_ms=10.0, **values)


def test_a_time_point_is_exposures_moves_and_the_way_back() -> None:
    motion = MotionSettings(
        xy_um_per_s=1000, xy_settle_ms=50, z_um_per_s=100, z_settle_ms=5, preset_ms=20, frame_ms=1
    )
    plan = useq.MDASequence.model_validate(
        {
            "channels": [{"config": "DAPI", "exposure": 10}, {"config": "FITC", "exposure": 30}],
            "stage_positions": [{"x": 0, "y": 0, "z": 0}, {"x": 300, "y": 400, "z": 10}],
            "time_plan": {"interval": 2, "loops": 3},
        }
    )
    point = point_times(plan_facts(plan).events, start_of(), motion)
    assert point.exposures_s == pytest.approx(0.08)
    assert point.travel_um == pytest.approx(1000)
    moves = 2 * (0.5 + 0.05) + 2 * (0.1 + 0.005)
    assert point.seconds == pytest.approx(0.08 + moves + 4 * 0.02 + 4 * 0.001)
    assert intervals(plan) == [(2.0, 3)]


@pytest.mark.parametrize(
    ("times", "phases"),
    [
        ({"interval": 0.5, "loops": 4}, [(0.5, 4)]),
        ({"duration": 9, "loops": 10}, [(1.0, 10)]),
        ([{"interval": 1, "loops": 3}, {"interval": 0.1, "loops": 5}], [(1.0, 3), (0.1, 5)]),
    ],
)
def test_intervals_of_every_phase(times: Any, phases: list[tuple[float, int]]) -> None:
    plan = useq.MDASequence.model_validate({"channels": ["DAPI"], "time_plan": times})
    assert [(pytest.approx(step), count) for step, count in intervals(plan)] == phases


def test_an_interval_that_only_the_moves_exceed() -> None:
    settings = load_experiment("demo").model_copy(
        update={
            "plan": useq.MDASequence.model_validate(
                {
                    "channels": [{"config": "DAPI", "exposure": 10}],
                    "stage_positions": [{"x": -300, "y": 0}, {"x": 300, "y": 0}],
                    "time_plan": {"interval": 0.1, "loops": 10},
                }
            )
        }
    )
    (problem,) = check_experiment(settings, hardware=False).problems
    assert problem.key == "plan.time_plan"
    assert "of travel" in problem.message
    assert "give an interval of 0.15 s or more" in problem.message


def test_light_that_was_given_before_counts(tmp_path: Path) -> None:
    light = LightSettings(cap_total=1.0, carry_over=str(tmp_path / "none"))
    _, ((key, message),) = foresee(light, [start_of()], 10, None)
    assert key == ("light", "carry_over")
    assert "not a recorded run" in message


def test_limits_without_order_are_refused() -> None:
    for wrong in ({"z_um_by_objective": {"10X": [5, -5]}}, {"x_um": [3, 3]}):
        with pytest.raises(ValueError, match="lower limit comes first"):
            LimitSettings.model_validate(wrong)
