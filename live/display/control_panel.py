"""Steering the run from the window: pause, modes of the rules, suggestions, the red button."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from live.display import theme
from live.display.view_model import RuleLine, ShownStatus
from live.display.wording import say

Steer = Callable[[tuple[str, ...]], bool]
"""Sends a command in the words of ``parfocal ctl``; False when the rig did not take it."""

_MODES = (
    ("disarm", "off"),
    ("observe", "observe: only log"),
    ("suggest", "suggest: ask first"),
    ("auto", "auto: act"),
)
_RED = (
    f"QPushButton {{ background: #7d1f1f; border: 1px solid {theme.BAD}; color: #ffffff;"
    " font-weight: 600; }"
    "QPushButton:hover { background: #a32626; }"
)
_ASKED = (
    f"QLabel {{ background: #40330f; border: 1px solid {theme.WARN}; border-radius: 4px;"
    " padding: 5px; }"
)


class ControlPanel(QWidget):
    """Hidden until it is given a way to steer; knows nothing but the newest status."""

    def __init__(self) -> None:
        super().__init__()
        self._steer: Steer | None = None
        self._rules: tuple[RuleLine, ...] = ()
        self._asked = 0
        self._paused = False
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(5)
        heading = QLabel("CONTROL")
        heading.setObjectName("heading")
        layout.addWidget(heading)
        self.pause = _button("Pause imaging", "Take no more frames until resumed (P)")
        self.red = _button(
            "Disarm all",
            "No rule acts any more: what runs for one ends with its frame, what waits is dropped "
            "(Esc)",
        )
        self.red.setStyleSheet(_RED)
        layout.addLayout(_row(self.pause, self.red))
        self.rule, self.mode = _choice("Rule whose mode is shown"), _choice("What it may do")
        for _, text in _MODES:
            self.mode.addItem(text)
        layout.addLayout(_row(self.rule, self.mode))
        self.question = QLabel()
        self.question.setWordWrap(True)
        self.question.setTextFormat(Qt.TextFormat.PlainText)
        self.question.setStyleSheet(_ASKED)
        layout.addWidget(self.question)
        self.yes = _button("Accept  (Y)", "Do what the rule suggests")
        self.no = _button("Refuse  (N)", "Do not")
        layout.addLayout(_row(self.yes, self.no))
        self.pause.clicked.connect(self.toggle_pause)
        self.red.clicked.connect(self.disarm_all)
        self.yes.clicked.connect(self.accept)
        self.no.clicked.connect(self.refuse)
        self.rule.activated.connect(self._show_mode)
        self.mode.activated.connect(self._set_mode)
        self._show_question("")
        self.hide()

    def set_steer(self, steer: Steer | None) -> None:
        """Offer the controls; None offers none."""
        self._steer = steer
        self.setVisible(steer is not None)

    def keys(self) -> dict[str, Callable[[], object]]:
        """Key -> what it does."""
        return {
            "P": self.toggle_pause,
            "Y": self.accept,
            "N": self.refuse,
            "Esc": self.disarm_all,
        }

    def set_state(self, status: ShownStatus) -> None:
        """Show the newest status."""
        self._paused = status.phase == "paused"
        self.pause.setText("Resume imaging" if self._paused else "Pause imaging")
        self._set_rules(tuple(status.rules))
        first = status.asked[0] if status.asked else None
        self._asked = first.number if first is not None else 0
        self._show_question(
            "" if first is None else f"{first.rule}: {first.text}  ({first.left_s:.0f} s)"
        )

    def toggle_pause(self) -> None:
        """Pause imaging, or go on."""
        self._send("resume" if self._paused else "pause")

    def disarm_all(self) -> None:
        """Let no rule act any more."""
        self._send("disarm-all")

    def accept(self) -> None:
        """Say yes to the suggestion that is shown; nothing when none is."""
        if self._asked:
            self._send("accept", str(self._asked))

    def refuse(self) -> None:
        """Say no to the suggestion that is shown; nothing when none is."""
        if self._asked:
            self._send("refuse", str(self._asked))

    def _send(self, *words: str) -> None:
        if self._steer is not None:
            self._steer(words)

    def _set_rules(self, rules: Sequence[RuleLine]) -> None:
        if tuple(rules) == self._rules:
            return
        names = [line.name for line in rules]
        if names != [line.name for line in self._rules]:
            self.rule.clear()
            self.rule.addItems(names)
        self._rules = tuple(rules)
        self.rule.setVisible(bool(names))
        self.mode.setVisible(bool(names))
        self.red.setEnabled(bool(names))
        if not self.mode.view().isVisible():  # somebody is choosing
            self._show_mode()

    def _show_mode(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            now = chosen.mode if chosen.armed else "disarm"
            self.mode.setCurrentIndex([mode for mode, _ in _MODES].index(now))

    def _set_mode(self, at: int) -> None:
        chosen, mode = self._chosen(), _MODES[at][0]
        if chosen is None:
            return
        if mode == "disarm":
            self._send("disarm", chosen.name)
        else:
            self._send("arm", chosen.name, mode)

    def _chosen(self) -> RuleLine | None:
        at = self.rule.currentIndex()
        return self._rules[at] if 0 <= at < len(self._rules) else None

    def _show_question(self, text: str) -> None:
        text = say(text)
        if self.question.text() != text:
            self.question.setText(text)
        for part in (self.question, self.yes, self.no):
            part.setVisible(bool(text))


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return button


def _choice(tip: str) -> QComboBox:
    box = QComboBox()
    box.setToolTip(tip)
    box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    box.setMinimumContentsLength(8)
    return box


def _row(*parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for part in parts:
        row.addWidget(part, 1)
    return row
