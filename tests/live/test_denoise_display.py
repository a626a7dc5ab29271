"""What the window shows of denoising: swipe, residual, noise model, alarms and training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import mahotas
import numpy as np
import pytest

from live.display import ShownTraining
from live.display.availability import missing_library
from live.display.denoise import (
    denoise_alarm,
    diverging,
    joined,
    noise_text,
    residual,
    training_text,
)
from models.result import DenoiseReport
from tests.live.display_feeds import Cells, ScriptedFeed

GOOD = DenoiseReport(1, 1, 0.4, "", 0.1, "", 0.5, 100.0, 4.0, 4.0, False, "", "net@1")

needs_qt = pytest.mark.skipif(bool(missing_library(True)), reason="Qt cannot be loaded here")


def test_residual_of_pure_noise_has_unit_spread() -> None:
    rng = np.random.default_rng(0)
    clean = np.linspace(120, 2000, 256 * 256).reshape(256, 256)
    electrons = (clean - GOOD.offset) / GOOD.gain
    raw = rng.poisson(electrons) * GOOD.gain + GOOD.offset + rng.normal(0, 2.0, clean.shape)
    found = residual(raw, clean, GOOD)
    assert abs(found.mean()) < 0.02
    assert found.std() == pytest.approx(1.0, abs=0.02)
    # alike in the dark and in the light
    assert found[:64].std() == pytest.approx(found[-64:].std(), abs=0.05)


def test_residual_without_a_gain_uses_the_flat_noise() -> None:
    flat = replace(GOOD, gain=math.nan, read_noise_e=math.nan, read_variance=9.0)
    raw, clean = np.full((4, 4), 106.0), np.full((4, 4), 100.0)
    assert residual(raw, clean, flat) == pytest.approx(2.0)
    assert "3 counts everywhere" in noise_text(flat)


def test_colours_are_blue_below_and_red_above() -> None:
    blue, nothing, red = diverging(np.array([[-1.0, 0.0, 3.0]]))[0].astype(int)
    assert blue[2] > blue[0] + 100
    assert red[0] > red[2] + 100
    assert nothing.max() < 30
    assert diverging(np.array([[np.nan]])).max() < 30


def test_words() -> None:
    assert noise_text(None) == ""
    assert "0.5 counts/e (2 e/count)" in noise_text(GOOD)
    assert "offset 100" in noise_text(GOOD)
    assert "read noise 4 e" in noise_text(GOOD)
    text, alarm = denoise_alarm(replace(GOOD, alarm=2.0, reason="edges"))
    assert alarm
    assert "edges" in text
    strange, alarm = denoise_alarm(replace(GOOD, strangeness=1.5, unlike_because="stripes"))
    assert alarm
    assert "stripes" in strange
    assert denoise_alarm(GOOD) == ("residual 0.40 of its limit", False)
    assert joined(("a", False), ("B", True)) == ("B", True)
    assert joined(("A", True), ("B", True)) == ("A\nB", True)
    assert joined(("a", False), ("", False)) == ("a", False)
    runs = ShownTraining("training", "", 0.5, 60.0, 1.0, 0.9, 40)
    assert training_text(runs) == "60 s left  ·  40 frames  ·  held-out loss 0.9 (-10.0 %)"


@pytest.fixture
def window() -> Iterator[object]:
    import os

    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtWidgets import QApplication

    from live.display.window import LiveWindow

    app = QApplication.instance() or QApplication([])
    asked: list[bool] = []
    feed = ScriptedFeed()
    made = LiveWindow(feed, title="t", on_train=lambda: asked.append(True) or True)
    made.test_feed, made.test_asked = feed, asked  # type: ignore[attr-defined]
    made.resize(900, 700)
    made.show()
    yield made
    made.close()
    made.release()
    made.deleteLater()
    app.processEvents()


def give(window: object, seq: int, report: DenoiseReport | None = GOOD) -> None:
    frame, result = Cells().picture(seq)
    soft = mahotas.gaussian_filter(frame.pixels.astype(float), 1.0).astype(frame.pixels.dtype)
    feed = window.test_feed  # type: ignore[attr-defined]
    feed.frame = frame
    feed.result = replace(
        result, denoised=soft, denoise=report, captured_ns=frame.captured_ns, x_um=0.0, y_um=0.0
    )
    window._next_text_s = 0.0  # type: ignore[attr-defined]
    window.tick()  # type: ignore[attr-defined]


@needs_qt
def test_d_goes_from_raw_to_denoised_to_residual_and_back(window) -> None:  # type: ignore[no-untyped-def]
    give(window, 1)
    give(window, 2)
    drawn = []
    for _ in range(4):
        view = window.view
        picture = view._denoised.image if view._denoised.isVisible() else None
        drawn.append("raw" if picture is None else "grey" if picture.ndim == 2 else "colour")
        window.side.show_next()
        window.tick()
    assert drawn == ["raw", "grey", "colour", "raw"]


@needs_qt
def test_alarm_is_red_and_training_is_shown(window) -> None:  # type: ignore[no-untyped-def]
    give(window, 1, replace(GOOD, alarm=3.0, reason="the residual shows edges"))
    assert "edges" in window.view.badges.alarm.text()
    assert not window.view.badges.alarm.isHidden()
    panel = window.side.denoise
    assert "counts/e" in panel.noise.text()
    panel.train.click()
    assert window.test_asked == [True]
    window.test_feed.now = replace(
        window.test_feed.now, training=ShownTraining("training", "", 0.25, 30.0, 1.0, 0.95, 12)
    )
    give(window, 2)
    assert not panel.train.isEnabled()
    assert panel.bar.value() == 250
    assert "30 s left" in panel.training.text()
    assert window.view.badges.alarm.isHidden()
    window.test_feed.now = replace(
        window.test_feed.now, training=ShownTraining("swapped", "denoised by x from frame 9 on")
    )
    give(window, 3)
    assert panel.train.isEnabled()
    assert "from frame 9 on" in panel.training.text()


@needs_qt
def test_nothing_is_shown_where_nothing_denoises(window) -> None:  # type: ignore[no-untyped-def]
    give(window, 1, None)
    assert window.side.denoise.isHidden()
    assert not window.side.boxes["residual"].isEnabled()
    assert window.side.boxes["denoised"].isEnabled()  # a Gaussian has no noise model
