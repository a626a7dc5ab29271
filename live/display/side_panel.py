"""What stands right of the picture: view options, contrast, rules, events."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from live.display import theme
from live.display.class_panel import ClassPanel
from live.display.control_panel import ControlPanel
from live.display.denoise_panel import DenoisePanel
from live.display.histogram import HistogramPanel
from live.display.image_view import ViewOptions
from live.display.view_model import RuleLine
from live.display.wording import say

EVENTS_KEPT = 50
RULES_SHOWN = 12

_BOXES = (
    ("outlines", "Outlines", "O", "Draw the outline of every object, coloured by track"),
    ("ids", "Ids", "I", "Write the track id above every object"),
    ("tails", "Tails", "L", "Draw where each track was in the last 20 results"),
    ("denoised", "Denoised", "D", "Denoised picture right of the blue line; drag the line"),
    ("residual", "Residual", "E", "Raw minus denoised in units of the noise, right of the line"),
    ("by_class", "By class", "C", "Colours of outlines and ids tell classes instead of tracks"),
)


class SidePanel(QWidget):
    """Controls and lists; holds no state of the run."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setMinimumWidth(270)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 10, 12, 10)
        layout.setSpacing(7)

        layout.addWidget(_heading("VIEW"))
        self.source = QLabel("–")
        self.source.setWordWrap(True)
        self.source.setTextFormat(Qt.TextFormat.PlainText)
        layout.addWidget(self.source)
        grid = QGridLayout()
        self.boxes: dict[str, QCheckBox] = {}
        defaults = ViewOptions()
        for place, (key, text, letter, tip) in enumerate(_BOXES):
            box = QCheckBox(f"{text}  ({letter})")
            box.setToolTip(tip)
            box.setChecked(bool(getattr(defaults, key)))
            # otherwise the space bar would toggle a box instead of pausing
            box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            self.boxes[key] = box
            grid.addWidget(box, place // 2, place % 2)
        # one picture lies right of the line
        denoised, residual = self.boxes["denoised"], self.boxes["residual"]
        denoised.toggled.connect(partial(_clear, residual))
        residual.toggled.connect(partial(_clear, denoised))
        layout.addLayout(grid)
        row = QHBoxLayout()
        self.pause = _button("Pause view", "Hold the picture on screen (space). Imaging goes on.")
        self.pause.setCheckable(True)
        self.snapshot = _button("Snapshot", "Save the picture with its overlay as PNG (S)")
        self.fit = _button("Fit", "Show the whole picture again (R)")
        for button in (self.pause, self.snapshot, self.fit):
            row.addWidget(button)
        layout.addLayout(row)

        self.denoise = DenoisePanel()
        layout.addWidget(self.denoise)

        self.classes = ClassPanel()
        layout.addWidget(self.classes)

        layout.addWidget(_heading("CONTRAST"))
        self.histogram = HistogramPanel()
        self.histogram.auto.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        layout.addWidget(self.histogram)

        self.control = ControlPanel()
        layout.addWidget(self.control)

        layout.addWidget(_heading("RULES"))
        self.rules = QLabel("none")
        self.rules.setWordWrap(True)
        self.rules.setTextFormat(Qt.TextFormat.RichText)
        self.rules.setToolTip("Rules of this experiment, how often each fired, and its last cause")
        layout.addWidget(self.rules)

        layout.addWidget(_heading("EVENTS"))
        self.events = QPlainTextEdit()
        self.events.setReadOnly(True)
        self.events.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.events.setMaximumBlockCount(EVENTS_KEPT)
        self.events.setPlaceholderText("Nothing happened yet")
        self.events.setToolTip(f"The last {EVENTS_KEPT} events of the run, newest at the bottom")
        layout.addWidget(self.events, 1)
        self._events: tuple[str, ...] = ()
        self._rules: tuple[RuleLine, ...] = ()

    def options(self) -> ViewOptions:
        """What the boxes say."""
        return ViewOptions(**{key: box.isChecked() for key, box in self.boxes.items()})

    def show_next(self) -> None:
        """From raw to denoised, to the residual, and back to raw."""
        denoised, residual = self.boxes["denoised"], self.boxes["residual"]
        if denoised.isChecked() and residual.isEnabled():
            residual.setChecked(True)
        elif denoised.isChecked() or residual.isChecked():
            denoised.setChecked(False)
            residual.setChecked(False)
        else:
            denoised.click()

    def set_available(self, *, denoised: bool, residual: bool, classes: bool) -> None:
        """Grey boxes out where the pipeline does not denoise, or not classify."""
        self.boxes["denoised"].setEnabled(denoised)
        self.boxes["residual"].setEnabled(residual)
        self.boxes["by_class"].setEnabled(classes)

    def set_rules(self, rules: Sequence[RuleLine]) -> None:
        """List the rules; the first ``RULES_SHOWN`` of them."""
        lines = tuple(rules)
        if lines == self._rules:
            return
        self._rules = lines
        self.rules.setText(say("".join(_rule_html(line) for line in lines[:RULES_SHOWN])) or "none")
        if len(lines) > RULES_SHOWN:
            self.rules.setText(f"{self.rules.text()}and {len(lines) - RULES_SHOWN} more")

    def set_events(self, events: Sequence[str]) -> None:
        """List the events, newest at the bottom; stays put when someone scrolled up to read."""
        lines = tuple(say(" ".join(event.split())) for event in events[-EVENTS_KEPT:])
        if lines == self._events:
            return
        self._events = lines
        bar = self.events.verticalScrollBar()
        follow, place = bar.value() >= bar.maximum() - 2, bar.value()
        self.events.setPlainText("\n".join(lines))
        bar.setValue(bar.maximum() if follow else place)

    def release(self) -> None:
        """Let go of what has a scene."""
        self.histogram.release()


def _clear(box: QCheckBox, other: bool) -> None:
    if other:
        box.setChecked(False)


def _heading(text: str) -> QLabel:
    label = QLabel(text)
    label.setObjectName("heading")
    return label


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return button


def _rule_html(line: RuleLine) -> str:
    colour = theme.GOOD if line.armed else theme.DIM
    ready = {"observe": "only watches", "suggest": "asks first"}.get(line.mode, "armed")
    state = ready if line.armed else "waiting"
    fired = f"fired {line.fired}×" if line.fired else "not fired yet"
    cause = f"<br><span style='color:{theme.DIM}'>{escape(line.last_text)}</span>"
    return (
        f"<p style='margin:0 0 5px 0'><span style='color:{colour}'>●</span> "
        f"<b>{escape(line.name)}</b> <span style='color:{theme.DIM}'>{state} · </span>"
        f"<span style='color:{theme.WARN if line.fired else theme.DIM}'>{fired}</span>"
        f"{cause if line.last_text else ''}</p>"
    )
