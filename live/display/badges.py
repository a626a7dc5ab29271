"""Small notes in the corners of the picture: what it is, how old the overlay, the scale."""

from __future__ import annotations

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QWidget

from live.display.readout import ScaleBar, scale_bar
from live.display.wording import say

EDGE = 10
WANTED_SCREEN_PX = 130


class ScaleBarWidget(QWidget):
    """A bar of a round length with its text, drawn in screen pixels."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setStyleSheet("background: transparent;")
        self.bar = ScaleBar(1.0, "")
        self._screen_px = 0
        self.resize(10, 34)

    def set_bar(self, bar: ScaleBar, screen_px: int) -> None:
        """Show another bar, ``screen_px`` long on the screen."""
        if (bar, screen_px) == (self.bar, self._screen_px):
            return
        self.bar, self._screen_px = bar, screen_px
        self.resize(max(screen_px, self.fontMetrics().horizontalAdvance(bar.text)) + 20, 34)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: ARG002
        """Draw the bar; called by Qt."""
        if not self.bar.text:
            return
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(10, 12, 15, 150))
        painter.fillRect(QRect(10, 24, self._screen_px, 4), QColor("#ffffff"))
        painter.setPen(QColor("#ffffff"))
        painter.drawText(
            QRect(10, 3, self.width() - 20, 18), Qt.AlignmentFlag.AlignLeft, say(self.bar.text)
        )
        painter.end()


class Badges:
    """Labels that float over a widget; empty ones are hidden."""

    def __init__(self, parent: QWidget) -> None:
        self._parent = parent
        self.scale = ScaleBarWidget(parent)
        self.title = _badge(parent)
        self.note = _badge(parent)
        self.pointer = _badge(parent)
        self.middle = _badge(parent)
        self.trust = _badge(parent)
        self.alarm = _badge(parent, "alarm")
        self.scale.hide()

    def set_title(self, text: str) -> None:
        """Top left: channel, objective."""
        self._set(self.title, text)

    def set_note(self, text: str) -> None:
        """Top right: what is not as one would expect, such as an overlay that lags."""
        self._set(self.note, text)

    def set_pointer(self, text: str) -> None:
        """Bottom right: what is under the pointer."""
        self._set(self.pointer, text)

    def set_trust(self, text: str, alarm: bool) -> None:
        """Below the title: whether the images are of a known kind; an alarm is red."""
        self._set(self.trust, "" if alarm else text)
        self._set(self.alarm, text if alarm else "")

    def set_middle(self, text: str) -> None:
        """Middle: why there is no picture."""
        self._set(self.middle, text)

    def set_scale(self, pixel_size_um: float, screen_px_per_px: float) -> None:
        """Bottom left: the scale bar for this zoom."""
        bar = scale_bar(pixel_size_um, WANTED_SCREEN_PX / max(screen_px_per_px, 1e-9))
        self.scale.set_bar(bar, round(bar.length_px * screen_px_per_px))
        self.scale.show()
        self.arrange()

    def arrange(self) -> None:
        """Put everything into its corner."""
        width, height = self._parent.width(), self._parent.height()
        self.title.move(EDGE, EDGE)
        for label in (self.trust, self.alarm):
            label.move(EDGE, EDGE + self.title.sizeHint().height() + 4)
        self.note.move(width - self.note.width() - EDGE, EDGE)
        self.scale.move(EDGE, height - self.scale.height() - EDGE)
        self.pointer.move(
            width - self.pointer.width() - EDGE, height - self.pointer.height() - EDGE
        )
        self.middle.move((width - self.middle.width()) // 2, (height - self.middle.height()) // 2)

    def _set(self, label: QLabel, text: str) -> None:
        text = say(text)
        if label.text() == text:
            return
        label.setText(text)
        label.adjustSize()
        label.setVisible(bool(text))
        self.arrange()


def _badge(parent: QWidget, name: str = "badge") -> QLabel:
    label = QLabel(parent)
    label.setObjectName(name)
    label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.hide()
    return label
