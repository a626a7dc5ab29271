"""Steering from the window: what each key and button says, and what is shown."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from display_feeds import ScriptedFeed
from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from live.display import RuleLine, ShownQuestion, ShownStatus
from live.display.theme import apply_theme
from live.display.window import LiveWindow

RULES = (RuleLine("mitosis", 2, "frame 3: cell 4 divided"), RuleLine("edge", 0, mode="suggest"))


@pytest.fixture
def said() -> list[tuple[str, ...]]:
    return []


@pytest.fixture
def window(said: list[tuple[str, ...]]) -> Iterator[LiveWindow]:
    app = QApplication.instance() or QApplication(["test"])
    apply_theme()
    found = LiveWindow(
        ScriptedFeed(), title="test", on_steer=lambda words: said.append(words) is None
    )
    found.show()
    found.activateWindow()
    app.processEvents()
    yield found
    found.close()
    found.release()
    found.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    app.processEvents()


def press(window: LiveWindow, key: Qt.Key) -> None:
    QTest.keyClick(window, key)
    QApplication.processEvents()


def show(window: LiveWindow, **status: object) -> None:
    window.side.control.set_state(ShownStatus(rules=RULES, **status))  # type: ignore[arg-type]


def test_without_a_way_to_steer_there_are_no_controls(window):
    window.side.control.set_steer(None)
    assert not window.side.control.isVisible()
    window.side.control.disarm_all()


def test_one_key_disarms_everything(window, said):
    show(window)
    press(window, Qt.Key.Key_Escape)
    window.side.control.red.click()
    assert said == [("disarm-all",), ("disarm-all",)]


def test_pause_becomes_resume(window, said):
    show(window, phase="plan")
    press(window, Qt.Key.Key_P)
    show(window, phase="paused")
    assert window.side.control.pause.text() == "Resume imaging"
    press(window, Qt.Key.Key_P)
    assert said == [("pause",), ("resume",)]


def test_one_key_accepts_the_suggestion_that_is_shown(window, said):
    show(window)
    press(window, Qt.Key.Key_Y)
    assert said == []
    question = ShownQuestion(7, "edge", "cell 9 entered: burst?", 4.2)
    show(window, asked=(question,))
    assert "cell 9 entered" in window.side.control.question.text()
    assert window.side.control.yes.isVisible()
    press(window, Qt.Key.Key_Y)
    press(window, Qt.Key.Key_N)
    assert said == [("accept", "7"), ("refuse", "7")]
    show(window)
    assert not window.side.control.yes.isVisible()


def test_a_rule_climbs_the_ladder(window, said):
    show(window)
    panel = window.side.control
    assert panel.mode.currentText().startswith("auto")
    panel.rule.setCurrentIndex(1)
    panel.rule.activated.emit(1)
    assert panel.mode.currentText().startswith("suggest")
    panel.mode.activated.emit(0)
    panel.mode.activated.emit(3)
    assert said == [("disarm", "edge"), ("arm", "edge", "auto")]
