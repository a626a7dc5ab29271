"""The simulated rig as a whole: stage, light, presets and truth."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import useq
from pydantic import ValidationError

from drivers import RigError, rig_settings
from drivers.simulated import SimulatedSettings, open_simulated
from drivers.simulated.rig import SimulatedRig

OFFSET = 100


def opened(**settings: Any) -> SimulatedRig:
    small = {"width": 256, "height": 256, "world_views": 2.0, "clock": "frames"}
    return open_simulated(SimulatedSettings(**(small | settings)))


def snaps(rig: SimulatedRig, count: int) -> np.ndarray:
    return np.stack([rig.snap().pixels for _ in range(count)]).astype(np.float64)


def test_the_same_seed_gives_the_same_pixels() -> None:
    def pictures(seed: int) -> np.ndarray:
        with opened(seed=seed) as rig:
            rig.apply(useq.MDAEvent(exposure=5))
            rig.snap()
            rig.start_sequence(5)
            frames = [rig.read(5).pixels for _ in range(5)]
            rig.stop()
            return np.stack(frames)

    first = pictures(1)
    assert np.array_equal(first, pictures(1))
    assert not np.array_equal(first, pictures(2))


def test_a_moved_stage_moves_the_picture() -> None:
    with opened(drift_um_per_min=0) as rig:
        rig.apply(useq.MDAEvent(x_pos=0, y_pos=0, exposure=5))
        before = rig.labels(rig.snap().meta.seq)
        rig.apply(useq.MDAEvent(x_pos=20, y_pos=-10))
        after = rig.labels(rig.snap().meta.seq)
    # 20 µm to the right of the sample is 40 px to the left of the picture.
    one, other = before[: 256 - 20, 40:] > 0, after[20:, : 256 - 40] > 0
    assert (one & other).sum() > 0.85 * one.sum() > 0


def test_true_outlines_lie_on_the_nuclei() -> None:
    with opened() as rig:
        frame = rig.snap()
        labels = rig.labels(frame.meta.seq)
        pixels = frame.pixels.astype(float)
        assert labels.shape == pixels.shape
        assert labels.max() > 0
        assert pixels[labels > 0].mean() > 2 * pixels[labels == 0].mean() - OFFSET
        with pytest.raises(RigError, match="frame 99 "):
            rig.labels(99)


def test_without_light_there_is_only_the_sensor() -> None:
    with opened() as rig:
        rig.apply(useq.MDAEvent(exposure=5))
        lit = snaps(rig, 3)
        rig.core.setAutoShutter(False)
        dark = snaps(rig, 3)
        assert dark.mean() == pytest.approx(OFFSET, abs=1)
        assert dark.std() < 8 < lit.std()
        rig.core.setShutterOpen(True)
        assert snaps(rig, 3).mean() == pytest.approx(lit.mean(), rel=0.1)
        # Who opened it by hand closes it by hand, save that leaving the block closes all.
        assert rig.core.getShutterOpen()


def test_presets_show_different_things() -> None:
    with opened() as rig:
        pictures = {}
        for preset in ("DAPI", "FITC", "Brightfield"):
            rig.apply(useq.MDAEvent(channel={"config": preset, "group": "Channel"}))
            frame = rig.snap()
            assert frame.meta.channel == preset
            pictures[preset] = frame.pixels.astype(float)
        assert pictures["Brightfield"].mean() > 3 * pictures["DAPI"].mean()
        bright = {name: (p > p.mean() + p.std()).sum() for name, p in pictures.items()}
        assert bright["FITC"] > 1.3 * bright["DAPI"]


def test_objectives_change_pixel_size_and_cells_in_view() -> None:
    with opened() as rig:
        seen = {}
        for objective, pixel_um in (("10X", 1.0), ("20X", 0.5), ("40X", 0.25)):
            rig.apply(useq.MDAEvent(channel={"config": objective, "group": "Objective"}))
            frame = rig.snap()
            assert frame.meta.pixel_size_um == pixel_um
            seen[objective] = len(np.unique(rig.labels(frame.meta.seq))) - 1
        assert seen["10X"] > 2 * seen["20X"] > 2 * seen["40X"] > 0


def test_focus_sharpens_the_picture() -> None:
    with opened() as rig:
        spread = {}
        for z_um in (0.0, 12.0):
            rig.apply(useq.MDAEvent(z_pos=z_um))
            spread[z_um] = np.percentile(rig.snap().pixels, 99.5)
        assert spread[12.0] < 0.8 * spread[0.0]


def test_light_bleaches() -> None:
    with opened(bleach_frames=4, seconds_per_frame=0.001) as rig:
        pictures = snaps(rig, 9)
        assert pictures[8].std() < 0.6 * pictures[0].std()


def test_a_roi_is_a_part_of_the_sensor() -> None:
    with opened(drift_um_per_min=0, seconds_per_frame=0.001) as rig:
        whole = rig.labels(rig.snap().meta.seq)
        rig.apply(useq.MDAEvent(roi=(100, 40, 120, 60)))
        cut = rig.labels(rig.snap().meta.seq)
    assert cut.shape == (60, 120)
    assert (cut != whole[40:100, 100:220]).mean() < 0.01


def test_the_interval_is_kept() -> None:
    with opened() as rig:
        rig.apply(useq.MDAEvent(exposure=5))
        rig.start_sequence(4, interval_ms=120)
        times = [rig.read(5).meta.captured_ns for _ in range(4)]
        rig.stop()
        assert np.diff(times) / 1e6 == pytest.approx([120] * 3, abs=40)


def test_a_long_exposure_ends_when_it_is_stopped() -> None:
    with opened() as rig:
        rig.apply(useq.MDAEvent(exposure=30_000))
        for _ in range(2):
            rig.start_live()
            before = time.monotonic()
            rig.stop()
            assert time.monotonic() - before < 1


def test_divisions_are_those_that_frames_show() -> None:
    with opened(cycle_s=30, seconds_per_frame=0.25) as rig:
        rig.apply(useq.MDAEvent(exposure=1))
        rig.start_sequence(80)
        frames = {}
        for _ in range(80):
            frame = rig.read(5)
            frames[frame.meta.seq] = (frame, rig.labels(frame.meta.seq))
        rig.stop()
    divisions = rig.divisions()  # also after the block
    assert len(divisions) >= 3
    assert [d.seq for d in divisions] == sorted(d.seq for d in divisions)
    complete = 0
    for division in divisions:
        frame, labels = frames[division.seq]
        assert division.captured_ns == frame.meta.captured_ns
        x = (division.x_um - frame.meta.x_um) / 0.5 + 127.5
        y = (division.y_um - frame.meta.y_um) / 0.5 + 127.5
        assert -1 <= x <= 256
        assert -1 <= y <= 256
        if not (25 < x < 230 and 25 < y < 230):
            continue  # daughters may lie outside
        complete += 1
        for daughter in division.daughters:
            rows, columns = np.nonzero(labels == daughter)
            assert np.hypot(rows.mean() - y, columns.mean() - x) < 25
        assert not (labels == division.parent).any()
        if division.seq - 1 in frames:
            before = frames[division.seq - 1][1]
            assert (before == division.parent).any()
            assert not np.isin(before, division.daughters).any()
    assert complete


def test_a_division_out_of_view_is_not_counted() -> None:
    with opened(cycle_s=10) as rig:
        rig.apply(useq.MDAEvent(exposure=1, x_pos=5000, y_pos=5000))
        snaps(rig, 30)
        assert rig.divisions() == []
        rig.core.setAutoShutter(False)
        rig.apply(useq.MDAEvent(x_pos=0, y_pos=0))
        snaps(rig, 20)
        assert rig.divisions() == []


def test_opened_again_there_is_a_new_sample() -> None:
    rig = opened()
    with rig:
        first = rig.snap().pixels
        with pytest.raises(RigError, match="open already"):
            rig.__enter__()
    with rig:
        assert np.array_equal(first, rig.snap().pixels)


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError, match="sede"):
        rig_settings({"driver": "simulated", "sede": 1})
    with pytest.raises(ValidationError, match="lower limit"):
        rig_settings({"driver": "simulated", "limits": {"x_um": [5, -5]}})
    limited = opened(limits={"z_um": [-5, 5]})
    with limited as rig, pytest.raises(RigError, match="outside the limit"):
        rig.apply(useq.MDAEvent(z_pos=50))
