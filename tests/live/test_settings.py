"""Settings files: what is refused, what is suggested, what survives a round trip."""

from __future__ import annotations

from pathlib import Path

import pytest
import useq
from hypothesis import given
from hypothesis import strategies as st

from drivers import open_rig
from live.errors import SettingsProblems
from live.experiment.configfiles import config_folder, shipped
from live.experiment.didyoumean import key_problems, nearest
from live.experiment.loading import load_experiment, load_pipeline_settings, load_rig
from live.experiment.settings import BurstAction, ExperimentSettings, RuleSettings
from live.experiment.validation import checked
from live.experiment.yamlfile import key_text, yaml_from_path, yaml_from_text

RULE = {"name": "r", "when": "divided", "then": {"kind": "burst", "frames": 3}}


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(SettingsProblems) as caught:
        load_experiment(path)
    return [str(problem) for problem in caught.value.problems]


def plan_keys(plan: dict[str, object]) -> dict[str, str]:
    return {key_text(p.key): p.message for p in key_problems(useq.MDASequence, plan)}


@pytest.mark.parametrize(
    ("plan", "key", "says"),
    [
        pytest.param({"chanels": ["DAPI"]}, "chanels", "'channels'", id="top"),
        pytest.param(
            {"channels": ["A", {"config": "B", "exposre": 3}]},
            "channels[1].exposre",
            "'exposure'",
            id="list-with-short-forms",
        ),
        pytest.param({"channels": [{"confg": "A"}]}, "channels[0].confg", "'config'", id="needed"),
        pytest.param(
            {"time_plan": {"interval": 1, "lops": 4}}, "time_plan.lops", "'loops'", id="union"
        ),
        pytest.param(
            {"time_plan": [{"interval": 1, "loops": 4}, {"interval": 1, "loop": 2}]},
            "time_plan[1].loop",
            "'loops'",
            id="phases-as-list",
        ),
        pytest.param(
            {"time_plan": {"phases": [{"intervall": 1, "loops": 4}]}},
            "time_plan.phases[0].intervall",
            "'interval'",
            id="phases",
        ),
        pytest.param(
            {"time_plan": {"interval": {"second": 1}, "loops": 4}},
            "time_plan.interval.second",
            "'seconds'",
            id="duration",
        ),
        pytest.param(
            {"time_plan": {"interval": 1}}, "time_plan", "'duration' or 'loops'", id="tie"
        ),
        pytest.param({"z_plan": {"range": 3}}, "z_plan.step", "missing", id="z-incomplete"),
        # useq reads this as one bare position and images no grid at all.
        pytest.param({"grid_plan": {"rows": 2}}, "grid_plan.columns", "missing", id="grid-lost"),
        pytest.param(
            {"grid_plan": {"rows": 2, "colums": 3}}, "grid_plan.colums", "'columns'", id="grid"
        ),
        pytest.param(
            {"stage_positions": [{"x": 1, "sequence": {"z_plan": {"range": 3, "stp": 1}}}]},
            "stage_positions[0].sequence.z_plan.stp",
            "'step'",
            id="nested-sequence",
        ),
        pytest.param(
            {"stage_positions": {"plate": "96-well", "a1_center_xy": [0, 0], "well_points": {}}},
            "stage_positions.well_points",
            "'well_points_plan'",
            id="plate",
        ),
        pytest.param(
            {"autofocus_plan": {"axes": ["p"], "autofocus_motor_ofset": 3}},
            "autofocus_plan.autofocus_motor_ofset",
            "'autofocus_motor_offset'",
            id="autofocus",
        ),
        pytest.param({"setup": {"channel": {"confg": "A"}}}, "setup.channel.confg", "'config'"),
    ],
)
def test_plan_keys_that_useq_drops_are_refused(
    plan: dict[str, object], key: str, says: str
) -> None:
    found = plan_keys(plan)
    assert list(found) == [key]
    assert says in found[key]


@pytest.mark.parametrize(
    "plan",
    [
        {"channels": ["DAPI", {"config": "FITC", "exposure": 5}]},
        {"time_plan": {"interval": "0:00:01", "loops": 3}, "metadata": {"free": {"form": 1}}},
        {"time_plan": [{"interval": 1, "loops": 4}, {"interval": {"minutes": 1}, "duration": 600}]},
        {"z_plan": {"top": 1, "bottom": 0, "step": 0.1, "go_up": False}, "channels": ["A"]},
        {"z_plan": {"relative": [0, 1, 3]}, "channels": ["A"]},
        {"grid_plan": {"rows": 2, "columns": 3, "overlap": [0, 1], "fov_width": 3}},
        {"grid_plan": {"num_points": 5, "max_width": 3, "random_seed": 1}},
        {
            "stage_positions": [
                {"x": 1, "y": 2, "sequence": {"grid_plan": {"rows": 1, "columns": 2}}}
            ]
        },
        {"stage_positions": {"plate": "96-well", "a1_center_xy": [0, 0], "rotation": 3}},
        {"setup": {"properties": [["Camera", "Binning", "2"]], "roi": [0, 0, 64, 64]}},
        {"axis_order": "tpcz", "keep_shutter_open_across": ["z"]},
    ],
)
def test_good_plans_pass_and_survive_a_round_trip(plan: dict[str, object]) -> None:
    assert plan_keys(plan) == {}
    before = useq.MDASequence.model_validate(plan)
    settings = ExperimentSettings(
        rig=load_rig("simulated"), pipeline=load_pipeline_settings("threshold"), plan=before
    )
    again = yaml_from_text(settings.to_yaml(), Path("again.yaml"))
    found, problems = checked(ExperimentSettings, again.data, again)
    assert problems == []
    assert list(found.plan) == list(before)
    assert found.rig == settings.rig
    assert found.pipeline == settings.pipeline


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """\
name: bad/name
rig: simulatd
pipeline: threshold
plan:
  chanels: [DAPI]
rules:
  - name: r
    when: divides
    then: {frames: 0, rate_fctor: 4}
inference: {policy: newst}
""",
    )
    text = "\n".join(problems_of(path))
    for line, says in (
        (1, "name: got 'bad/name'"),
        (2, "rig: no rig is called 'simulatd'; did you mean 'simulated'?"),
        (5, "plan.chanels: unknown key; did you mean 'channels'?"),
        (8, "rules[0].when: got 'divides'; did you mean 'divided'?"),
        (9, "rules[0].then.frames: got 0; need greater than 0"),
        (9, "rules[0].then.rate_fctor: unknown key; did you mean 'rate_factor'?"),
        (10, "inference.policy: got 'newst'; did you mean 'newest'?"),
    ):
        assert f"{path}:{line}: {says}" in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "the file is empty", id="empty"),
        pytest.param("- a\n- b\n", "got a list", id="list"),
        pytest.param("a: 1\nb: [1,\n", "not valid YAML", id="broken"),
        pytest.param("rig: a\nrig: b\n", "written twice, first on line 1", id="twice"),
        pytest.param("plan: {channels: [a], channels: [b]}\n", "written twice", id="twice-nested"),
        pytest.param("on: 1\n", "write 'on' in quotes", id="key-on"),
        pytest.param("a: !!python/object/apply:os.getcwd []\n", "not valid YAML", id="object"),
        pytest.param("a: &x [*x]\n", "more than", id="endless"),
        pytest.param(
            "a: &a [1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"{k}: &{k} [{','.join(9 * [f'*{chr(ord(k) - 1)}'])}]\n" for k in "bcdefg"),
            "more than",
            id="bomb",
        ),
    ],
)
def test_yaml_that_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsProblems, match=says) as caught:
        yaml_from_path(path)
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsProblems, match="no such file"):
        yaml_from_path(tmp_path / "none.yaml")
    with pytest.raises(SettingsProblems, match="a folder"):
        yaml_from_path(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xb5m\n")
    with pytest.raises(SettingsProblems, match="not UTF-8"):
        yaml_from_path(tmp_path / "latin.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(SettingsProblems, match="1,000,001 bytes"):
        yaml_from_path(tmp_path / "big.yaml")


@pytest.mark.parametrize("kind", ["rigs", "experiments", "pipelines"])
def test_all_that_ships_is_valid(kind: str) -> None:
    load = {"rigs": load_rig, "experiments": load_experiment, "pipelines": load_pipeline_settings}
    names = shipped(kind)  # type: ignore[arg-type]
    assert names, f"nothing in {config_folder() / kind}"
    for name in names:
        load[kind](name)


def test_demo_does_what_it_promises() -> None:
    settings = load_experiment("demo")
    rule = settings.rules[0]
    assert settings.rig.driver == "simulated"
    assert settings.pipeline.name == "nuclei-preview"
    assert (rule.when, rule.then[0].frames, rule.then[0].rate_factor) == ("divided", 12, 4)
    assert (rule.cooldown_s, rule.max_firings) == (3, 5)


def test_paths_start_from_the_file_that_says_them(tmp_path: Path) -> None:
    (tmp_path / "rigs").mkdir()
    written(tmp_path / "rigs", "driver: replay\npath: ../movie.tif\n", "r.yaml")
    path = written(tmp_path, "rig: rigs/r.yaml\npipeline: threshold\nplan: {channels: [A]}\n")
    assert Path(load_experiment(path).rig.path) == (tmp_path / "movie.tif").resolve()
    inline = written(
        tmp_path,
        "rig: {driver: micromanager, config: my.cfg}\npipeline: threshold\nplan: {}\n",
        "inline.yaml",
    )
    assert Path(load_experiment(inline).rig.config) == (tmp_path / "my.cfg").resolve()
    assert load_rig("demo-camera").config == "demo"


def test_a_rig_given_beside_the_experiment_wins(tmp_path: Path) -> None:
    path = written(tmp_path, "rig: simulatd\npipeline: threshold\nplan: {channels: [A]}\n")
    assert load_experiment(path, rig="demo-camera").rig.driver == "micromanager"


def test_problems_of_a_named_file_carry_its_name(tmp_path: Path) -> None:
    rig = written(tmp_path, "driver: simulatd\n", "rig.yaml")
    path = written(tmp_path, "rig: rig.yaml\npipeline: threshold\nplan: {channels: [A]}\n")
    (problem,) = problems_of(path)
    assert problem.startswith(f"{rig}:1: driver: got 'simulatd'; did you mean 'simulated'?")


def test_engine_of_the_experiment_reaches_the_pipeline(tmp_path: Path) -> None:
    head = "rig: simulated\nplan: {channels: [A]}\n"
    path = written(tmp_path, head + "pipeline: nuclei\ninference: {threads: 2}\n")
    assert load_experiment(path).pipeline.segment.threads == 2
    path = written(tmp_path, head + "pipeline: threshold\ninference: {threads: 2}\n")
    assert "inference.threads" in problems_of(path)[0]


def test_a_burst_has_one_rate() -> None:
    assert BurstAction(frames=3).rate_factor == 4
    assert BurstAction(frames=3, interval_ms=50).rate_factor is None
    with pytest.raises(ValueError, match="give one of them"):
        BurstAction(frames=3, interval_ms=50, rate_factor=2)


def test_two_rules_may_not_share_a_name() -> None:
    rule = RuleSettings.model_validate(RULE)
    with pytest.raises(ValueError, match="two rules are called 'r'"):
        ExperimentSettings(
            rig=load_rig("simulated"),
            pipeline=load_pipeline_settings("threshold"),
            plan=useq.MDASequence(),
            rules=(rule, rule),
        )


NAMES = sorted(useq.MDASequence.model_fields)


@given(st.sampled_from(NAMES), st.integers(0, 30), st.sampled_from("abcxyz_"))
def test_one_wrong_letter_is_always_found_and_mended(name: str, place: int, letter: str) -> None:
    wrong = name[: place % len(name)] + letter + name[place % len(name) + 1 :]
    if wrong in NAMES:
        return
    assert nearest(wrong, NAMES) == name
    assert list(plan_keys({wrong: None})) == [wrong]


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=5)))
def test_no_unknown_key_gets_through(plan: dict[str, object]) -> None:
    found = {p.key for p in key_problems(useq.MDASequence, plan)}
    assert {(key,) for key in plan if key not in NAMES} <= found


def test_the_demo_camera_that_ships_gives_a_picture_and_no_black_frame() -> None:
    with open_rig(load_rig("demo-camera")) as rig:
        pixels = rig.snap().pixels
    assert pixels.shape == (2048, 2048)
    assert pixels.std() > 100
