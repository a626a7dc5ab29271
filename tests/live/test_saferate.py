"""The model behind the safe frame rate: what must hold whatever the numbers are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.doctor.findings import PipelineRow, StageRow
from live.doctor.rates import Measured
from live.doctor.saferate import (
    HEADROOM,
    MOST_BUSY,
    SHARED,
    SPARE,
    Stage,
    lost_at_start,
    safe_rate,
)
from live.doctor.table import rate_text
from live.doctor.timing import Timing

TIMES = st.floats(0.01, 5000)
STAGES = st.builds(Stage, TIMES, TIMES, check_ms=st.floats(0, 5000), check_every=st.integers(0, 50))
PLAIN = st.builds(Stage, st.floats(0, 5000), TIMES)
OTHERS = st.fixed_dictionaries({"camera": PLAIN, "recorder": PLAIN})
CORES = st.integers(1, 64)
SLOWDOWN = st.floats(1, 4)


def rate(analysis: Stage, others: dict[str, Stage], cores: int, slowdown: float) -> float:
    return safe_rate(analysis, others, cores=cores, slowdown=slowdown).rate_hz


def no_higher(one: float, other: float) -> bool:
    return one <= other * (1 + 1e-9)


@given(STAGES, OTHERS, CORES, st.integers(0, 16), SLOWDOWN)
def test_more_cores_are_never_slower(
    analysis: Stage, others: dict[str, Stage], cores: int, more: int, slowdown: float
) -> None:
    fewer = rate(analysis, others, cores, slowdown)
    assert no_higher(fewer, rate(analysis, others, cores + more, slowdown))


@given(
    STAGES, OTHERS, CORES, SLOWDOWN, st.sampled_from(["analysis", "camera", "recorder"]),
    st.sampled_from(["p95_ms", "cpu_ms", "check_ms"]), st.floats(1, 10),
)  # fmt: skip
def test_a_slower_stage_never_raises_the_rate(
    analysis: Stage, others: dict[str, Stage], cores: int, slowdown: float, which: str, what: str,
    times: float,
) -> None:  # fmt: skip
    stages = {"analysis": analysis, **others}
    before = rate(analysis, others, cores, slowdown)
    stages[which] = replace(stages[which], **{what: getattr(stages[which], what) * times})
    slower = stages.pop("analysis")
    assert no_higher(rate(slower, stages, cores, slowdown), before)


@given(STAGES, OTHERS, CORES, SLOWDOWN)
def test_the_bottleneck_is_what_needs_most_and_sets_the_rate(
    analysis: Stage, others: dict[str, Stage], cores: int, slowdown: float
) -> None:
    found = safe_rate(analysis, others, cores=cores, slowdown=slowdown)
    most = max(found.needs_ms.values())
    assert found.needs_ms[found.bottleneck] == most
    assert most == pytest.approx(1e3 / found.rate_hz, rel=1e-6)


@given(STAGES, OTHERS, CORES, SLOWDOWN)
def test_leaves_head_room_over_every_stage(
    analysis: Stage, others: dict[str, Stage], cores: int, slowdown: float
) -> None:
    interval_ms = 1e3 / rate(analysis, others, cores, slowdown)
    for stage in (analysis, *others.values()):
        assert interval_ms >= stage.p95_ms * HEADROOM * (1 - 1e-9)
    busy = analysis.cpu_ms + sum(stage.cpu_ms for stage in others.values())
    assert busy <= interval_ms * cores * MOST_BUSY * (1 + 1e-9)


CASES = [
    pytest.param(Stage(100), {"camera": Stage(20)}, 4, "analysis", 110.0, id="slow network"),
    pytest.param(Stage(10), {"camera": Stage(20)}, 4, "camera", 22.0, id="slow camera"),
    pytest.param(Stage(10), {"recorder": Stage(50)}, 4, "recorder", 55.0, id="slow disk"),
    pytest.param(
        Stage(100, 100), {"camera": Stage(90, 90)}, 1, SHARED, 190 / MOST_BUSY, id="one core"
    ),
    pytest.param(
        Stage(100, 0, 100, 20), {}, 4, "analysis", 200 / (2 - SPARE) * HEADROOM, id="checked"
    ),
]


@pytest.mark.parametrize(("analysis", "others", "cores", "bottleneck", "interval_ms"), CASES)
def test_what_sets_the_rate(
    analysis: Stage, others: dict[str, Stage], cores: int, bottleneck: str, interval_ms: float
) -> None:
    found = safe_rate(analysis, others, cores=cores)
    assert found.bottleneck == bottleneck
    assert 1e3 / found.rate_hz == pytest.approx(interval_ms)


def test_busy_neighbours_slow_the_analysis() -> None:
    others = {"camera": Stage(10, 60)}
    alone = rate(Stage(100, 100), others, 2, 1.0)
    beside = rate(Stage(100, 100), others, 2, 1.5)
    assert beside < alone
    assert beside > alone / 1.5  # the camera leaves its core some time


def test_frames_lost_while_the_size_is_found() -> None:
    assert lost_at_start(350, 10) == 2  # three came meanwhile, the newest is looked at next
    assert lost_at_start(90, 10) == 0
    assert lost_at_start(1e6, 0) == 0


@pytest.mark.parametrize(
    ("rate_hz", "text"),
    [
        (0.0, "none"),
        (0.0457, "0.045"),
        (0.999, "0.99"),
        (9.96, "9.9"),
        (25.9, "25"),
        (480.0, "480"),
    ],
)
def test_rates_are_rounded_down(rate_hz: float, text: str) -> None:
    assert rate_text(rate_hz) == text


def test_a_larger_image_is_estimated_by_its_pixels_and_never_faster() -> None:
    timing = Timing(80, 100, 90, 9)
    stages = [
        StageRow("camera", 512, Timing(10, 12, 5, 9)),
        StageRow("recorder", 512, None, failed="no disk"),
    ]
    measured = Measured(stages, cores=2, slowdown=1.2, window=True)
    small = PipelineRow("nuclei", 512, rate_hz=5.0, timing=timing, first_ms=300)
    large = measured.estimate(small, 1024)
    assert large.estimated_from == 512
    assert large.timing is not None
    assert large.timing.p95_ms >= 400
    assert 0 < large.rate_hz < 2.5
    assert large.bottleneck == "analysis"
    assert measured.others(1024)["camera"].p95_ms == pytest.approx(48)
    assert "recorder" not in measured.others(1024)
