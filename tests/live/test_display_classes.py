"""Classes, trust and teaching in the window: real widgets, real clicks, drawn offscreen."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from display_feeds import Cells, ScriptedFeed
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from test_display_window import Open, app, open_window, picture_of, tick

from live.display import ShownResult
from live.display.class_panel import ClassPanel
from live.display.classes import ClassLine, class_lines, legend_html, object_text, trust_text
from live.display.outlines import CLASS_COLOURS, PALETTE, class_colour, colours_of
from live.display.window import LiveWindow
from models.result import OBJECT_DTYPE, Verdict

__all__ = ["app", "open_window"]

CLASSES = ("interphase", "<mitotic>", "dead")


def classified(result: ShownResult, verdict: Verdict | None = None) -> ShownResult:
    """Six cells: interphase, mitotic, dead, twice; the last of no class."""
    result.objects["class_id"] = np.arange(len(result.objects)) % 3
    result.objects["class_id"][-1] = -1
    result.objects["class_probability"], result.objects["uncertainty"] = 0.875, -1
    return replace(result, classes=CLASSES, verdict=verdict)


def feed_one(
    window: LiveWindow, feed: ScriptedFeed, cells: Cells, seq: int, verdict: Verdict | None = None
) -> ShownResult:
    feed.frame, result = cells.picture(seq)
    feed.result = classified(result, verdict)
    shown = feed.result
    tick(window)
    return shown


def count_of_class(window: LiveWindow, number: int) -> int:
    return int((picture_of(window.view) == CLASS_COLOURS[number]).all(-1).sum())


def click(window: LiveWindow, row: np.void) -> None:
    view = window.view
    scene = view._box.mapViewToScene(QPointF(float(row["x_px"]) + 0.5, float(row["y_px"]) + 0.5))
    place = view._graphics.mapFromScene(scene)
    QTest.mouseClick(
        view._graphics.viewport(),
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
        place,
    )
    tick(window)


def test_c_colours_by_class_and_back_and_the_legend_counts(
    open_window: Open, app: QApplication
) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    window.side.boxes["ids"].setChecked(False)
    for seq in range(3):
        feed_one(window, feed, cells, seq)
    assert [count_of_class(window, number) for number in range(3)] == [0, 0, 0]
    window.activateWindow()
    app.processEvents()
    QTest.keyClick(window, "c")
    tick(window)
    assert window.side.boxes["by_class"].isChecked()
    assert all(count_of_class(window, number) > 30 for number in range(3))
    legend = window.side.classes.legend
    assert legend.isVisible()
    assert "&lt;mitotic&gt;<b> 2</b>" in legend.text()
    assert "dead<b> 1</b>" in legend.text()
    QTest.keyClick(window, "c")
    tick(window)
    assert [count_of_class(window, number) for number in range(3)] == [0, 0, 0]


def test_without_classes_there_is_no_legend_and_no_switch(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    feed.frame, feed.result = cells.picture(0)
    tick(window)
    assert not window.side.boxes["by_class"].isEnabled()
    assert not window.side.classes.isVisible()
    assert not window.view.badges.trust.isVisible()


def test_frames_unlike_training_raise_an_alarm_and_others_a_small_number(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    badges = window.view.badges
    feed_one(window, feed, cells, 0, Verdict(0, 0.42, ""))
    assert badges.trust.text() == "strangeness 0.42"
    assert badges.trust.isVisible()
    assert not badges.alarm.isVisible()
    feed_one(window, feed, cells, 1, Verdict(1, 3.25, "objects are 4 times larger"))
    assert badges.alarm.text() == "UNLIKE TRAINING: objects are 4 times larger  (strangeness 3.2)"
    assert badges.alarm.isVisible()
    assert not badges.trust.isVisible()
    red = picture_of(window.view).astype(int)
    assert ((red[..., 0] > 120) & (red[..., 1] < 60) & (red[..., 2] < 60)).sum() > 2000
    feed_one(window, feed, cells, 2, Verdict(2, 0.5, ""))
    assert not badges.alarm.isVisible()


def test_the_object_under_the_pointer_tells_its_class(open_window: Open) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    result = feed_one(window, feed, cells, 0)
    result.objects["uncertainty"][1] = 0.125
    click(window, result.objects[1])
    row = result.objects[1]
    scene = window.view._box.mapViewToScene(QPointF(float(row["x_px"]), float(row["y_px"])))
    window.view._on_pointer(scene)
    tick(window)
    text = window.view.badges.pointer.text()
    assert "track 2, 254 px" in text
    assert "<mitotic> 0.88" in text
    assert "uncertainty 0.12" in text


def test_clicks_teach_move_and_are_taken_back(
    open_window: Open, app: QApplication, tmp_path: Path
) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed, taught_dir=tmp_path / "taught")
    panel = window.side.classes
    for seq in range(2):
        result = feed_one(window, feed, cells, seq)
    click(window, result.objects[0])
    assert window.teacher.counts() == {}  # not in teach mode
    window.activateWindow()
    app.processEvents()
    QTest.keyClick(window, "t")
    assert panel.teaching
    assert panel.names.isVisible()
    QTest.keyClick(window, "3")
    click(window, result.objects[0])
    assert window.view.badges.note.text() == "dead: 1"
    assert "dead<b> 1</b>" in panel.legend.text()
    assert "taught 1" in panel.legend.text()
    panel.names.setFocus()
    panel.names.lineEdit().selectAll()
    QTest.keyClicks(panel.names.lineEdit(), "odd cut")  # o, d, c, u, t switch nothing while typing
    QTest.keyClick(panel.names.lineEdit(), Qt.Key.Key_Return)
    assert panel.teaching
    assert panel.chosen == "odd cut"
    assert not panel.names.lineEdit().hasFocus()
    click(window, result.objects[0])
    assert window.view.badges.note.text() == "dead → odd cut: 1"
    click(window, result.objects[4])
    assert window.teacher.counts() == {"odd cut": 2}
    assert count_of_class(window, 3) > 40  # the dots of the fourth class
    assert panel.chosen == "odd cut"
    assert len(list((tmp_path / "taught" / "odd cut").glob("*.tif"))) == 2
    QTest.keyClick(window, "u")
    QTest.keyClick(window, "u")
    tick(window)
    assert window.teacher.counts() == {"dead": 1}
    panel.names.setCurrentText("no/slash")
    click(window, result.objects[2])
    assert "because of '/'" in window.view.badges.note.text()
    QTest.keyClick(window, "t")
    tick(window)
    assert not panel.names.isVisible()
    assert count_of_class(window, 2) == 0


def test_a_window_without_a_folder_does_not_offer_to_teach(
    open_window: Open, app: QApplication
) -> None:
    feed, cells = ScriptedFeed(), Cells()
    window = open_window(feed)
    result = feed_one(window, feed, cells, 0)
    window.activateWindow()
    app.processEvents()
    QTest.keyClick(window, "t")
    QTest.keyClick(window, "u")
    click(window, result.objects[0])
    assert not window.side.classes.teach.isVisible()
    assert not window.side.classes.teaching


def test_many_classes_are_cut_short_and_what_was_typed_stays(app: QApplication) -> None:
    panel = ClassPanel()
    panel.names.setCurrentText("mine")
    panel.set_lines([ClassLine(f"c{n}", 25, 1, 0) for n in range(20)])
    assert "and 8 more" in panel.legend.text()
    assert panel.chosen == "mine"
    panel.deleteLater()


def test_words_and_colours() -> None:
    row = np.zeros(1, OBJECT_DTYPE)[0]
    row["class_id"], row["uncertainty"], row["track_id"] = -1, -1, 4
    assert object_text(row, CLASSES) == "track 4, 0 px"
    row["class_id"] = 7
    assert "class 7 0.00" in object_text(row, CLASSES)
    assert trust_text(None) == ("", False)
    assert trust_text(Verdict(1, 1.0, "")) == ("strangeness 1.00", False)
    assert trust_text(Verdict(1, 1.2, "dark"))[1]
    assert class_lines(None, {}) == ()
    assert class_lines(None, {"a": 2}) == (ClassLine("a", class_colour(0), None, 2),)
    assert "taught 2" in legend_html(class_lines(None, {"a": 2}))
    objects = np.zeros(40, OBJECT_DTYPE)
    objects["class_id"] = np.arange(40) - 1
    colours = colours_of(objects, by_class=True)
    assert colours[0] == 0
    assert colours.max() < len(PALETTE)
    assert colours.tolist() == [class_colour(n) for n in range(-1, 39)]


@pytest.mark.parametrize("number", range(len(CLASS_COLOURS)))
def test_colours_of_classes_differ_from_each_other(number: int) -> None:
    others = [c for n, c in enumerate(CLASS_COLOURS) if n != number]
    apart = np.abs(np.array(others) - np.array(CLASS_COLOURS[number])).sum(1)
    assert apart.min() > 80
