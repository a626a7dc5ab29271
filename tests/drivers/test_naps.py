"""Looks at the camera's buffer are frequent when a frame is due, and rare otherwise."""

from __future__ import annotations

import pytest

from drivers.mmcore_naps import DUE_S, Naps


@pytest.mark.parametrize(
    ("since_last_s", "due"),
    [
        pytest.param(0.002, False, id="just-after-a-frame"),
        pytest.param(0.019, True, id="a-moment-before-the-next"),
        pytest.param(0.023, True, id="a-little-late"),
        pytest.param(0.5, False, id="the-camera-has-stopped"),
    ],
)
def test_short_naps_when_the_next_frame_is_due(since_last_s, due):
    naps = Naps()
    for frame in range(3):
        naps.came(1_000_000_000 + frame * 20_000_000)
    assert (naps.next_s(10.0, 1.04 + since_last_s) == DUE_S) == due


@pytest.mark.parametrize(("exposure_ms", "nap_s"), [(0.0, 0.0002), (10.0, 0.0005), (500.0, 0.001)])
def test_before_any_interval_is_known_the_exposure_sets_the_nap(exposure_ms, nap_s):
    assert Naps().next_s(exposure_ms, 5.0) == pytest.approx(nap_s)
