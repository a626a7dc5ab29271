"""What `parfocal check` finds before the light goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import useq

from drivers.rig import RigInfo
from drivers.settings import MicroManagerSettings
from live.checks.check import CheckReport, check_experiment
from live.errors import ExitCode, Problem
from live.experiment.loading import load_experiment, load_pipeline_settings, load_rig
from live.experiment.settings import ExperimentSettings
from live.experiment.yamlfile import key_text, yaml_from_path
from live.plan.facts import plan_facts, plan_problems

INFO = RigInfo(
    "micromanager",
    "Camera",
    channel_group="Channel",
    presets={"Channel": ("DAPI", "FITC"), "Objective": ("10X",)},
)
RULE = {"name": "r", "when": "divided", "then": {"frames": 5}}


def experiment(plan: dict[str, Any], rig: Any = None, **rest: Any) -> ExperimentSettings:
    return ExperimentSettings(
        rig=rig or MicroManagerSettings(),
        pipeline=rest.pop("pipeline", None) or load_pipeline_settings("threshold"),
        plan=useq.MDASequence.model_validate(plan),
        **rest,
    )


def told(settings: ExperimentSettings, info: RigInfo | None = INFO) -> list[str]:
    found = plan_problems(settings, plan_facts(settings.plan), info)
    return [f"{key_text(key)}: {message}" for key, message in found]


@pytest.mark.parametrize(
    ("plan", "frames", "interval_s"),
    [
        ({}, 0, 0.0),
        ({"channels": ["DAPI"]}, 1, 0.0),
        ({"time_plan": {"interval": 0.5, "loops": 7}}, 7, 0.5),
        ({"channels": ["DAPI", "FITC"], "time_plan": {"interval": 2, "loops": 5}}, 10, 2.0),
        ({"channels": ["DAPI"], "z_plan": {"range": 4, "step": 1}}, 5, 0.0),
        ({"channels": ["DAPI"], "time_plan": {"interval": 0.25, "loops": 10**7}}, 10**7, 0.25),
    ],
)
def test_facts_of_a_plan(plan: dict[str, Any], frames: int, interval_s: float) -> None:
    facts = plan_facts(useq.MDASequence.model_validate(plan))
    assert (facts.frames, facts.interval_s) == (frames, interval_s)


def test_a_good_plan_has_no_problem() -> None:
    settings = experiment(
        {
            "channels": [{"config": "DAPI", "exposure": 10}],
            "time_plan": {"interval": 1, "loops": 3},
        },
        rules=[RULE],
    )
    assert told(settings) == []


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        pytest.param({}, "plan: takes no frame", id="empty"),
        pytest.param(
            {"channels": ["FITC", "DAPY"]},
            "plan.channels[1]: no preset 'DAPY' in group 'Channel'; did you mean 'DAPI'? "
            "(allowed: DAPI, FITC)",
            id="preset",
        ),
        pytest.param(
            {"channels": [{"config": "10X", "group": "Objectiv"}]},
            "no group 'Objectiv' on this rig; did you mean 'Objective'?",
            id="group",
        ),
        pytest.param(
            {"stage_positions": [{"x": 9000, "y": 0}]}, "goes to x = 9000 µm", id="stage-limit"
        ),
        pytest.param(
            {"channels": [{"config": "DAPI", "exposure": 600}]},
            "exposes DAPI for 600 ms, the rig allows 500",
            id="exposure-limit",
        ),
        pytest.param(
            {
                "channels": [
                    {"config": "DAPI", "exposure": 60},
                    {"config": "FITC", "exposure": 60},
                ],
                "time_plan": {"interval": 0.1, "loops": 3},
            },
            "plan.time_plan: the exposures of one time point add up to 120 ms",
            id="too-fast",
        ),
        pytest.param(
            {"channels": ["DAPI"], "autofocus_plan": {"axes": ["p"]}},
            "plan.autofocus_plan: hardware autofocus is not carried out",
            id="autofocus",
        ),
        pytest.param(
            {"channels": ["DAPI"], "setup": {"roi": [0, 0, 64, 64]}},
            "plan.setup: set-up events are not carried out",
            id="setup",
        ),
        pytest.param(
            {"channels": ["DAPI"], "keep_shutter_open_across": ["c"]},
            "plan.keep_shutter_open_across: the shutter opens",
            id="shutter",
        ),
        pytest.param(
            {"channels": [{"config": "DAPI", "camera": "Camera 2"}]},
            "plan.channels[0].camera: one run uses one camera",
            id="camera",
        ),
    ],
)
def test_what_a_rig_cannot_do_is_told(plan: dict[str, Any], says: str) -> None:
    limits = {"x_um": [-100, 100], "max_exposure_ms": 500}
    rig = MicroManagerSettings.model_validate({"limits": limits})
    (problem,) = told(experiment(plan, rig))
    assert says in problem


def test_a_rule_needs_a_pipeline_that_follows() -> None:
    pipeline = load_pipeline_settings("denoise")
    (problem,) = told(experiment({"channels": ["DAPI"]}, pipeline=pipeline, rules=[RULE]))
    assert "rules[0].when: 'divided' needs objects that are followed" in problem


def test_presets_are_not_judged_without_the_rig() -> None:
    assert told(experiment({"channels": ["anything"]}), None) == []


def test_exit_code_tells_hardware_from_mistakes() -> None:
    problem = Problem("f.yaml", "rig", "no camera")
    assert CheckReport().exit_code == ExitCode.OK
    assert CheckReport((problem,), hardware_failed=True).exit_code == ExitCode.HARDWARE
    assert CheckReport((problem, problem), hardware_failed=True).exit_code == ExitCode.BAD_INPUT


def test_everything_at_once_on_the_real_demo_camera(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        """\
rig: demo-camera
pipeline: threshold
plan:
  channels:
    - {config: DAPPI, exposure: 10}
  time_plan: {interval: 0.005, loops: 10}
inference: {ring_mb: 16}
record: {reserve_mb: 1000000000}
""",
        encoding="utf-8",
    )
    report = check_experiment(load_experiment(path), source=yaml_from_path(path))
    told = {problem.key: str(problem) for problem in report.problems}
    assert set(told) >= {"plan.channels[0]", "plan.time_plan", "record.reserve_mb"}
    assert told["plan.channels[0]"].startswith(f"{path}:5: plan.channels[0]: no preset 'DAPPI'")
    for preset in ("Cy5", "DAPI", "FITC", "Rhodamine"):
        assert preset in told["plan.channels[0]"]
    assert report.exit_code == ExitCode.BAD_INPUT
    assert any("MMConfig_demo.cfg" in note for note in report.notes)
    assert any(note.startswith("device adapters from") for note in report.notes)


def test_a_good_experiment_on_the_real_demo_camera(tmp_path: Path) -> None:
    settings = ExperimentSettings(
        rig=load_rig("demo-camera"),
        pipeline=load_pipeline_settings("threshold"),
        plan=useq.MDASequence(channels=["DAPI"], time_plan={"interval": 1, "loops": 3}),
    )
    report = check_experiment(settings, out=tmp_path / "new")
    assert report.problems == ()
    assert report.to_json()["ok"] is True
    assert not (tmp_path / "new").exists()


def test_a_rig_that_does_not_open_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    settings = experiment(
        {"channels": ["DAPI"]}, MicroManagerSettings(config=str(tmp_path / "none.cfg"))
    )
    report = check_experiment(settings)
    assert [problem.key for problem in report.problems] == ["rig"]
    assert "none.cfg" in report.problems[0].message
    assert report.exit_code == ExitCode.HARDWARE


def test_an_output_that_exists_is_told(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    report = check_experiment(experiment({"channels": ["DAPI"]}), hardware=False, out=tmp_path)
    assert any("exists and holds something" in str(problem) for problem in report.problems)
