"""Tails, track ids and rings, drawn in one item over the picture.

One item instead of hundreds: a text item per cell costs more than drawing all their texts.
"""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QGraphicsItem, QStyleOptionGraphicsItem, QWidget

from live.display import theme
from live.display.outlines import PALETTE, colours_of
from live.display.scene import Marks
from live.display.trails import TailLines

IDS_DRAWN = 150
DOT_PX = 5.0
_COLOURS = [QColor(*(int(v) for v in row)) for row in PALETTE]
_SHADOW = QColor(0, 0, 0, 200)


class MarksItem(QGraphicsItem):
    """Draws ``Marks`` over a picture of a given size."""

    def __init__(self) -> None:
        super().__init__()
        self._rect = QRectF(0, 0, 1, 1)
        self._marks = Marks()
        self._paths: list[tuple[int, QPainterPath]] = []
        self._font = QFont()
        self._font.setPixelSize(11)
        self._font.setBold(True)
        self.ids_drawn = self.ids_in_view = 0
        self.show_tails = True

    def set_size(self, shape: tuple[int, int]) -> None:
        """Size (y, x) of the picture underneath."""
        rect = QRectF(0, 0, shape[1], shape[0])
        if rect != self._rect:
            self.prepareGeometryChange()
            self._rect = rect

    def set_tails(self, tails: list[TailLines]) -> None:
        """Tails to draw from now on; made into paths once, not at every repaint."""
        self._paths = [
            (
                line.colour,
                pg.arrayToQPath(
                    np.ascontiguousarray(line.points[:, 1]),
                    np.ascontiguousarray(line.points[:, 0]),
                    connect=line.joined.astype(np.int32),
                ),
            )
            for line in tails
        ]

    def set_marks(self, marks: Marks) -> None:
        """Everything else to draw from now on."""
        self._marks = marks
        self.update()

    def boundingRect(self) -> QRectF:
        """The picture; names are Qt's."""
        return self._rect

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionGraphicsItem,  # noqa: ARG002
        widget: QWidget | None = None,
    ) -> None:
        """Draw tails, rings and ids; called by Qt."""
        marks = self._marks
        # Cells that a stage move has put out of view keep their tails, which belong to no pixel.
        painter.save()
        painter.setClipRect(self._rect)
        if self._paths and self.show_tails:
            painter.save()
            painter.translate(marks.tail_x_px, marks.tail_y_px)
            for colour, path in self._paths:
                # colours mean classes then, and a track has had several
                tint = QColor(_COLOURS[0 if marks.by_class else colour])
                tint.setAlpha(90 if marks.by_class else 170)
                painter.setPen(_pen(tint, 1.0))
                painter.drawPath(path)
            painter.restore()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for flash in marks.flashes:
            tint = QColor(theme.FLASH)
            tint.setAlphaF(1.0 - 0.8 * flash.age)
            painter.setPen(_pen(tint, 2.5))
            radius = flash.radius_px * (1.0 + 0.5 * flash.age)
            painter.drawEllipse(
                QPointF(flash.x_px + marks.tail_x_px, flash.y_px + marks.tail_y_px), radius, radius
            )
        if marks.target is not None:
            y, x, radius = marks.target
            painter.setPen(_pen(QColor(theme.TARGET), 2.0))
            painter.drawEllipse(QPointF(x, y), radius, radius)
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                inner = QPointF(x + dx * 0.8 * radius, y + dy * 0.8 * radius)
                painter.drawLine(inner, QPointF(x + dx * 1.25 * radius, y + dy * 1.25 * radius))
        for dot in marks.dots:
            painter.setPen(_pen(_SHADOW, 2.0))
            painter.setBrush(_COLOURS[dot.colour])
            radius = DOT_PX / max(painter.worldTransform().m11(), 1e-9)
            painter.drawEllipse(QPointF(dot.x_px, dot.y_px), radius, radius)
        painter.restore()
        if marks.objects is not None:
            self._draw_ids(painter, marks.objects, marks, widget)

    def _draw_ids(
        self, painter: QPainter, objects: NDArray[np.void], marks: Marks, widget: QWidget | None
    ) -> None:
        """Write ids above the objects in view, largest first, at most ``IDS_DRAWN``."""
        transform = painter.worldTransform()
        y = (objects["bbox_y0"] + marks.y_px) * transform.m22() + transform.dy() - 3
        x = (objects["x_px"] + marks.x_px) * transform.m11() + transform.dx()
        inside = transform.mapRect(self._rect)
        if widget is not None:
            inside = inside.intersected(QRectF(widget.rect()))
        shown = (
            (objects["track_id"] > 0)
            & (x > inside.left())
            & (x < inside.right())
            & (y > inside.top() - 4)
            & (y < inside.bottom())
        )
        rows = np.flatnonzero(shown)
        self.ids_in_view = int(rows.size)
        if rows.size > IDS_DRAWN:
            rows = rows[np.argsort(objects["area_px"][rows])[::-1][:IDS_DRAWN]]
        self.ids_drawn = int(rows.size)
        colours = colours_of(objects, by_class=marks.by_class)
        painter.save()
        painter.resetTransform()
        painter.setFont(self._font)
        metrics = painter.fontMetrics()
        digit = metrics.horizontalAdvance("0")
        for row in rows.tolist():
            text = str(objects["track_id"][row])
            left = round(float(x[row]) - digit * len(text) / 2)
            # an id at the upper rim moves into the picture rather than out of it
            base = round(max(float(y[row]), inside.top() + metrics.ascent() + 1))
            painter.setPen(_SHADOW)
            painter.drawText(left + 1, base + 1, text)
            painter.setPen(_COLOURS[int(colours[row])])
            painter.drawText(left, base, text)
        painter.restore()


def _pen(colour: QColor, width: float) -> QPen:
    pen = QPen(colour, width)
    pen.setCosmetic(True)
    return pen
