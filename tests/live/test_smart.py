"""The ready experiments, and bursts at divisions against the truth."""

from __future__ import annotations

import pytest

from benchmarks.smart_mitosis import run_mitosis
from drivers.simulated.settings import SimulatedSettings
from live.experiment.loading import load_experiment


@pytest.mark.parametrize("name", ["mitosis", "rare-object", "follow", "screening", "spike"])
def test_ready_experiments_can_be_loaded(name):
    settings = load_experiment(name)
    assert settings.rules
    assert isinstance(settings.rig, SimulatedSettings)


@pytest.mark.slow
def test_divisions_of_a_sample_are_recognised():
    found = run_mitosis(1, 120).score
    assert found.countable >= 5
    assert found.countable_recognised >= 0.9 * found.countable
    assert found.fired_right == found.fired > 0
    assert max(found.late_frames) <= 2
