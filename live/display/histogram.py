"""Histogram of the picture with levels to drag, and the button that lets them follow again."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from live.display import theme
from live.display.contrast import Histogram, Levels
from live.display.wording import say


class HistogramPanel(QWidget):
    """Counts on a log scale between the picture's extremes; the blue band is black to white."""

    levels_dragged = Signal(float, float)
    auto_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self._plot = pg.PlotWidget(background=theme.PANEL)
        self._plot.setFixedHeight(96)
        self._plot.setMenuEnabled(False)
        self._plot.setMouseEnabled(x=False, y=False)
        self._plot.hideButtons()
        self._plot.hideAxis("left")
        self._plot.getAxis("bottom").setPen(theme.LINE)
        self._plot.getAxis("bottom").setTextPen(theme.DIM)
        self._plot.setToolTip("Brightness of the picture. Drag the edges to set black and white.")
        self._curve = self._plot.plot(
            [0, 1], [0], stepMode="center", fillLevel=0, brush=(76, 194, 255, 90), pen=None
        )
        self._band = pg.LinearRegionItem(
            brush=(255, 255, 255, 22),
            hoverBrush=(255, 255, 255, 34),
            pen=pg.mkPen(theme.ACCENT, width=2),
        )
        self._plot.addItem(self._band, ignoreBounds=True)
        layout.addWidget(self._plot)
        row = QHBoxLayout()
        self.auto = QPushButton("Auto")
        self.auto.setToolTip("Let the contrast follow the picture again (A)")
        self.auto.clicked.connect(self.auto_asked)
        self.note = QLabel()
        self.note.setToolTip("Counts drawn as black and white, and how many pixels are saturated")
        self.note.setStyleSheet(f"color: {theme.DIM};")
        row.addWidget(self.note, 1)
        row.addWidget(self.auto)
        layout.addLayout(row)
        self._setting = False
        self._dragging = False
        self._band.sigRegionChanged.connect(self._on_region)
        self._band.sigRegionChangeFinished.connect(self._on_finished)

    def show_histogram(self, histogram: Histogram, levels: Levels, manual: bool) -> None:
        """Draw a histogram (sample counts) and the levels in use."""
        self._curve.setData(histogram.edges, np.log1p(histogram.counts))
        low = min(float(histogram.edges[0]), levels.low)
        high = max(float(histogram.edges[-1]), levels.high)
        self._plot.setXRange(low, high, padding=0.02)
        self._plot.setYRange(0, max(float(np.log1p(histogram.counts.max())), 1.0), padding=0.02)
        if not self._dragging:
            self._setting = True
            self._band.setRegion((levels.low, levels.high))
            self._setting = False
        mode = "held" if manual else "auto"
        text = f"{levels.low:.0f} – {levels.high:.0f}  ({mode})"
        if histogram.saturated > 0:
            text += f"  ·  {100 * histogram.saturated:.2g} % full"
        self.note.setText(say(text))
        colour = theme.BAD if histogram.saturated > 0.001 else theme.DIM
        self.note.setStyleSheet(f"color: {colour};")

    def release(self) -> None:
        """Let go of the plot's scene."""
        # pyqtgraph's close takes a widget out of its window, so it has to be deleted by itself
        self._plot.close()
        self._plot.deleteLater()

    def _on_region(self) -> None:
        if not self._setting:
            self._dragging = True
            low, high = self._band.getRegion()
            self.levels_dragged.emit(float(low), float(high))

    def _on_finished(self) -> None:
        self._dragging = False
