"""Legend of classes, and naming objects by clicks: a part of the side panel."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from live.display.classes import ClassLine, legend_html
from live.display.wording import say

LINES_SHOWN = 12
HINT = "Click an outlined object to keep it as:"


class ClassPanel(QWidget):
    """Shows classes and says which one a click means; keeps nothing itself."""

    teach_toggled = Signal(bool)
    undo_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(5)
        heading = QLabel("CLASSES")
        heading.setObjectName("heading")
        layout.addWidget(heading)
        self.legend = QLabel()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        self.legend.setToolTip(
            "Classes with the number of objects in the newest result, and of examples that were "
            "kept by clicks. C colours the outlines by class."
        )
        layout.addWidget(self.legend)
        row = QHBoxLayout()
        self.teach = _button(
            "Teach  (T)", "Name objects by clicks, to train a classifier of your own with them"
        )
        self.teach.setCheckable(True)
        self.undo = _button("Undo  (U)", "Take the last click back")
        row.addWidget(self.teach)
        row.addWidget(self.undo)
        layout.addLayout(row)
        self.hint = QLabel(HINT)
        self.hint.setWordWrap(True)
        layout.addWidget(self.hint)
        self.names = QComboBox()
        self.names.setEditable(True)
        self.names.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.names.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.names.setToolTip(
            "Class that a click means: choose one (keys 1 to 9), or type a new name and press Enter"
        )
        edit = self.names.lineEdit()
        assert edit is not None
        edit.setPlaceholderText("name of a class")
        edit.setMaxLength(80)
        edit.returnPressed.connect(self.clearFocus)
        edit.returnPressed.connect(self.names.clearFocus)
        layout.addWidget(self.names)
        self._lines: tuple[ClassLine, ...] = ()
        self._offered = True
        self.teach.toggled.connect(self._on_teach)
        self.undo.clicked.connect(self.undo_asked)
        self._on_teach(False)

    @property
    def teaching(self) -> bool:
        """Whether clicks name objects."""
        return bool(self.teach.isChecked())

    @property
    def chosen(self) -> str:
        """Name of the class that a click means, as typed."""
        return str(self.names.currentText())

    def choose(self, number: int) -> None:
        """Take the class at this place of the list, from 0; nothing where there is none."""
        if self.teaching and 0 <= number < self.names.count():
            self.names.setCurrentIndex(number)

    def set_available(self, available: bool) -> None:
        """Offer teaching or not."""
        self._offered = available
        self._arrange()

    def set_lines(self, lines: Sequence[ClassLine]) -> None:
        """Show these classes; what is typed or chosen stays."""
        now = tuple(lines)
        if now == self._lines:
            return
        names = [line.name for line in now]
        if names != [line.name for line in self._lines]:
            typed = self.chosen
            self.names.clear()
            self.names.addItems(names)
            self.names.setCurrentText(typed or (names[0] if names else ""))
        self._lines = now
        more = len(now) - LINES_SHOWN
        text = legend_html(now[:LINES_SHOWN]) + (f"and {more} more" if more > 0 else "")
        self.legend.setText(say(text))
        self._arrange()

    def _on_teach(self, on: bool) -> None:
        self.hint.setVisible(on)
        self.names.setVisible(on)
        self._arrange()
        self.teach_toggled.emit(on)

    def _arrange(self) -> None:
        self.setVisible(self._offered or bool(self._lines))
        self.legend.setVisible(bool(self._lines))
        for button in (self.teach, self.undo):
            button.setVisible(self._offered)
        self.teach.setEnabled(self._offered)
        self.undo.setEnabled(any(line.taught for line in self._lines))


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    # otherwise the space bar would press a button instead of pausing
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return button
