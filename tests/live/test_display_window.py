"""The live window itself, drawn offscreen: real widgets, real pixels."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from display_feeds import PIXEL_SIZE_UM, Cells, ScriptedFeed
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from live.display import RuleLine, ShownResult
from live.display.outlines import PALETTE, colour_index
from live.display.readout import Tone
from live.display.theme import apply_theme
from live.display.window import LiveWindow
from models.result import OBJECT_DTYPE

Open = Callable[..., LiveWindow]


@pytest.fixture(scope="module")
def app() -> QApplication:
    running = QApplication.instance() or QApplication(["test"])
    assert isinstance(running, QApplication)
    apply_theme()
    return running


@pytest.fixture
def open_window(app: QApplication) -> Iterator[Open]:
    windows: list[LiveWindow] = []

    def build(feed: ScriptedFeed, **settings: object) -> LiveWindow:
        window = LiveWindow(feed, title="test", **settings)  # type: ignore[arg-type]
        window.show()
        windows.append(window)
        return window

    yield build
    for window in windows:
        window.close()
        window.release()
        window.deleteLater()
    windows.clear()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    app.processEvents()
    assert QApplication.topLevelWidgets() == []


def tick(window: LiveWindow, times: int = 1) -> None:
    for _ in range(times):
        # text and plots have their own slower rates; a test cannot wait for them
        window._next_text_s = window._next_plots_s = 0.0
        window.tick()
        QApplication.processEvents()


def show(window: LiveWindow, feed: ScriptedFeed, cells: Cells, seqs: range) -> None:
    for seq in seqs:
        feed.frame, feed.result = cells.picture(seq)
        tick(window)


def picture_of(widget: QWidget) -> NDArray[np.uint8]:
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGBA8888)
    flat = np.frombuffer(image.constBits(), np.uint8)
    return flat.reshape(image.height(), image.width(), 4)[..., :3].copy()


def count_of(picture: NDArray[np.uint8], track: int) -> int:
    colour = PALETTE[colour_index(np.array([track]))[0]][:3]
    return int((picture == colour).all(-1).sum())


def test_picture_has_cells_and_outlines_and_the_strip_has_numbers(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    feed.now = replace(feed.now, drops={"camera": 2}, recorded=8, captured=9, phase="burst")
    show(window, feed, cells, range(5))
    picture = picture_of(window.view)
    assert (picture > 200).all(-1).sum() > 2000
    for track in range(1, 7):
        assert count_of(picture, track) > 60
    assert window.strip.text("camera") == "98 Hz"
    assert window.strip.text("engine") == "onnxruntime fp32"
    assert window.strip.text("drops") == "camera 2"
    assert window.strip.tone("drops") is Tone.BAD
    assert window.strip.text("recorded") == "8/9"
    assert window.strip.text("phase") == "burst"
    assert 40 <= float(window.strip.text("age").removesuffix(" ms")) < 500
    assert window.strip.tone("age") is Tone.GOOD
    assert window.view.badges.scale.bar.text.endswith("µm")
    assert len(window.timeline.objects) == 5
    assert window.timeline.objects[-1][1] == 6


def test_boxes_and_keys_switch_what_is_drawn(open_window: Open, app: QApplication) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    show(window, feed, cells, range(3))
    assert window.view.overlay is not None
    window.activateWindow()
    app.processEvents()
    for key, box in (("o", "outlines"), ("i", "ids"), ("l", "tails")):
        before = window.side.boxes[box].isChecked()
        QTest.keyClick(window, key)
        assert window.side.boxes[box].isChecked() is not before
    tick(window)
    assert window.view.overlay is None
    assert sum(count_of(picture_of(window.view), track) for track in range(1, 7)) == 0


def test_outlines_sit_on_the_cells_after_the_stage_moved(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells(count=1)
    window = open_window(feed)
    show(window, feed, cells, range(3))
    before = window.view.overlay_rect
    cells.x_um = 20.0
    feed.frame, _ = cells.picture(3)
    tick(window)
    after = window.view.overlay_rect
    assert after[0] - before[0] == pytest.approx(-20.0 / PIXEL_SIZE_UM)
    assert window.view.badges.note.text() == "overlay −1 frame"
    overlay, grey = window.view.overlay, window.view.grey
    assert overlay is not None
    assert grey is not None
    y, x = np.nonzero(overlay[..., 3])
    cell = grey[np.median(y).astype(int), round(float(np.median(x) + after[0]))]
    assert cell > 150


def test_outlines_hide_when_it_is_not_known_where_they_belong(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    frame, result = cells.picture(10)
    feed.frame, feed.result = frame, replace(result, seq=7)
    tick(window)
    assert window.view.overlay is None
    assert "hidden" in window.view.badges.note.text()


def test_only_the_newest_is_drawn_and_the_rest_is_counted(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    for seq in range(0, 50, 10):
        feed.frame, feed.result = cells.picture(seq)
    tick(window)
    assert window.scene.frame is not None
    assert window.scene.frame.seq == 40
    assert feed.polls == 1
    feed.frame, _ = cells.picture(50)
    tick(window)
    assert window.scene.passed_over == 9
    assert window.strip.text("drops") == "display 9"
    assert window.strip.tone("drops") is Tone.DIM


def test_an_old_picture_turns_red_while_nothing_new_comes(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells()
    clock = [time.monotonic_ns()]
    window = open_window(feed, clock_ns=lambda: clock[0])
    show(window, feed, cells, range(2))
    assert window.scene.frame is not None
    clock[0] = window.scene.frame.captured_ns + 2_000_000_000
    tick(window)
    assert window.strip.text("age") == "2.0 s"
    assert window.strip.tone("age") is Tone.BAD


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_size_and_depth_may_change_in_mid_run(open_window: Open, dtype: type[np.generic]) -> None:
    feed = ScriptedFeed()
    window = open_window(feed)
    show(window, feed, Cells(256), range(2))
    small = Cells(128, count=2, dtype=dtype)
    feed.frame, _ = small.picture(2)
    tick(window)
    assert window.view.overlay is None
    assert "picture size changed" in window.view.badges.note.text()
    show(window, feed, small, range(3, 6))
    assert window.view.overlay is not None
    assert (picture_of(window.view) > 200).all(-1).sum() > 1000


def test_zoom_is_kept_until_someone_fits(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells(2048, count=300)
    window = open_window(feed)
    show(window, feed, cells, range(3))
    thinned = window.view.grey
    assert thinned is not None
    assert thinned.size < 2048**2 / 2
    assert "150 of 300 ids" in window.view.badges.note.text()
    window.view.zoom_to((200, 500), (200, 450))
    show(window, feed, cells, range(3, 6))
    full = window.view.grey
    assert full is not None
    assert full.shape[0] < 700
    assert window.view.overlay is not None
    assert window.view.badges.note.text() == ""
    window.view.fit()
    tick(window)
    fitted = window.view.grey
    assert fitted is not None
    assert fitted.shape == thinned.shape


def test_before_the_first_frame_the_window_says_what_it_waits_for(open_window: Open) -> None:
    window = open_window(ScriptedFeed())
    tick(window, 3)
    assert window.view.badges.middle.text() == "waiting for the first picture"
    assert window.strip.text("age") == "–"
    assert window.view.grey is None


def test_frames_without_results_and_results_without_frames(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    _, feed.result = cells.picture(0)
    tick(window)
    feed.frame, _ = cells.picture(1)
    tick(window)
    assert window.view.grey is not None
    empty = ShownResult(2, np.zeros((256, 256), np.int32), np.zeros(0, OBJECT_DTYPE))
    feed.frame, feed.result = cells.picture(2)[0], empty
    tick(window)
    assert window.view.overlay is not None
    assert window.timeline.objects[-1][1] == 0


def test_denoised_is_drawn_right_of_the_line_and_only_where_there_is_one(
    open_window: Open,
) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    show(window, feed, cells, range(2))
    assert not window.side.boxes["denoised"].isEnabled()
    frame, result = cells.picture(2)
    flat = np.full_like(frame.pixels, 65535)
    feed.frame, feed.result = frame, replace(result, denoised=flat)
    tick(window)
    window.side.boxes["denoised"].click()
    window.side.boxes["outlines"].setChecked(False)
    tick(window)
    picture = picture_of(window.view)
    middle = picture.shape[1] // 2
    bright = (picture > 250).all(-1)
    height = picture.shape[0]
    assert bright[height // 4 : 3 * height // 4, middle + 20 : middle + 150].mean() > 0.9
    assert bright[height // 4 : 3 * height // 4, middle - 150 : middle - 20].mean() < 0.5
    assert "raw | denoised" in window.view.badges.note.text()


def test_pause_holds_the_view_and_lets_go(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    show(window, feed, cells, range(2))
    window.side.pause.setChecked(True)
    show(window, feed, cells, range(2, 5))
    assert window.scene.frame is not None
    assert window.scene.frame.seq == 1
    assert "view paused" in window.view.badges.note.text()
    window.side.pause.setChecked(False)
    tick(window)
    assert window.scene.frame.seq == 4


def test_dragged_levels_hold_until_auto(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    show(window, feed, cells, range(2))
    window.side.histogram.levels_dragged.emit(0.0, 10.0)
    show(window, feed, cells, range(2, 4))
    grey = window.view.grey
    assert grey is not None
    assert grey.min() == 255
    assert "held" in window.side.histogram.note.text()
    window.side.histogram.auto.click()
    show(window, feed, cells, range(4, 6))
    grey = window.view.grey
    assert grey is not None
    assert np.median(grey) < 60
    assert "auto" in window.side.histogram.note.text()


def test_rules_events_and_warnings_are_shown_bounded_and_harmless(open_window: Open) -> None:
    feed = ScriptedFeed()
    window = open_window(feed)
    feed.now = replace(
        feed.now,
        rules=[RuleLine("<b>odd</b> & name", 3, "track 7 → burst", armed=False)],
        events=[f"event {number}" for number in range(500)],
        warning="inference restarted",
    )
    tick(window)
    assert "&lt;b&gt;odd" in window.side.rules.text()
    assert "fired 3×" in window.side.rules.text()
    lines = window.side.events.toPlainText().splitlines()
    assert (len(lines), lines[-1]) == (50, "event 499")
    assert window.warning.isVisible()
    feed.now = replace(feed.now, warning="")
    tick(window)
    assert not window.warning.isVisible()


def test_burst_target_and_new_daughters_are_ringed(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    feed.frame, result = cells.picture(0)
    result.objects["divided"][2] = True
    feed.result = result
    feed.now = replace(feed.now, target_um=(5.0, 5.0))
    tick(window)
    picture = picture_of(window.view).astype(int)
    pink = (abs(picture - (255, 95, 210)) < 40).all(-1).sum()
    yellow = (abs(picture - (255, 224, 102)) < 40).all(-1).sum()
    assert pink > 50
    assert yellow > 50


def test_snapshots_get_new_names(open_window: Open, tmp_path: Path) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed, snapshot_dir=tmp_path)
    show(window, feed, cells, range(2))
    window.side.snapshot.click()
    window.side.snapshot.click()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["snapshot-000001-2.png", "snapshot-000001.png"]


def test_a_picture_that_cannot_be_saved_is_reported_and_the_view_goes_on(
    open_window: Open, tmp_path: Path
) -> None:
    feed, cells = ScriptedFeed(), Cells()
    (tmp_path / "file").write_text("in the way")
    window = open_window(feed, screenshot=tmp_path / "file" / "window.png")
    show(window, feed, cells, range(3))
    assert "picture not saved" in window.view.badges.note.text()
    assert window.scene.frame is not None
    assert window.scene.frame.seq == 2
