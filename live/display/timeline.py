"""The last minute in two small plots: how many objects, how old the picture and the decisions."""

from __future__ import annotations

from collections import deque

import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QWidget

from live.display import theme

SPAN_S = 60.0
POINTS = 400

Series = deque[tuple[float, float]]


class Timeline(QWidget):
    """Bounded history of a few numbers, seconds before now on the x axis."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 2)
        self.objects: Series = deque(maxlen=POINTS)
        self.age_ms: Series = deque(maxlen=POINTS)
        self.decision_ms: Series = deque(maxlen=POINTS)
        self._plots = [_plot("objects in view"), _plot("ms")]
        for plot in self._plots:
            layout.addWidget(plot)
        self._curves = [
            (self._plots[0].plot(pen=pg.mkPen(theme.GOOD, width=1.5)), self.objects),
            (self._plots[1].plot(pen=pg.mkPen(theme.DIM, width=1.5)), self.age_ms),
            (self._plots[1].plot(pen=pg.mkPen(theme.ACCENT, width=1.5)), self.decision_ms),
        ]
        self._plots[0].setToolTip("Number of objects in the newest result, last minute")
        self._plots[1].setToolTip(
            "Grey: age of the picture on screen. Blue: median time from camera to decision."
        )

    def add(
        self, now_s: float, objects: int | None, age_ms: float | None, decision_ms: float | None
    ) -> None:
        """Take one reading in; None leaves a series as it is."""
        for series, value in (
            (self.objects, objects),
            (self.age_ms, age_ms),
            (self.decision_ms, decision_ms),
        ):
            if value is not None:
                series.append((now_s, float(value)))
            while series and now_s - series[0][0] > SPAN_S:
                series.popleft()

    def redraw(self, now_s: float) -> None:
        """Draw what was taken in."""
        tops = {0: 1.0, 1: 1.0}
        for number, (curve, series) in enumerate(self._curves):
            curve.setData([t - now_s for t, _ in series], [value for _, value in series])
            plot = min(number, 1)
            tops[plot] = max([tops[plot], *(value for _, value in series)])
        for plot, top in tops.items():
            self._plots[plot].setYRange(0, 1.15 * top, padding=0)

    def release(self) -> None:
        """Let go of the plots' scenes."""
        for plot in self._plots:
            # pyqtgraph's close takes a widget out of its window, so it is deleted by itself
            plot.close()
            plot.deleteLater()


def _plot(unit: str) -> pg.PlotWidget:
    plot = pg.PlotWidget(background=theme.PANEL)
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.setXRange(-SPAN_S, 0, padding=0.01)
    plot.showGrid(y=True, alpha=0.15)
    for side in ("left", "bottom"):
        plot.getAxis(side).setPen(theme.LINE)
        plot.getAxis(side).setTextPen(theme.DIM)
    plot.getAxis("left").setWidth(52)
    plot.setLabel("left", unit, color=theme.DIM, **{"font-size": "8pt"})
    plot.getAxis("bottom").setTickSpacing(20, 10)
    return plot
