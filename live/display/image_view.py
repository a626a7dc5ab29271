"""The picture: newest frame, outlines over it, denoised beside it, a scale bar in the corner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from pyqtgraph.GraphicsScene.mouseEvents import MouseClickEvent
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from live.display import theme
from live.display.badges import Badges
from live.display.classes import object_text
from live.display.contrast import Levels, to_grey
from live.display.denoise import RESIDUAL_SIGMAS, diverging, residual
from live.display.marks import MarksItem
from live.display.outlines import outline_rgba
from live.display.placement import Placement
from live.display.region import Region, visible_region
from live.display.view_model import ShownFrame, ShownResult


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """What is drawn over the picture."""

    outlines: bool = True
    ids: bool = True
    tails: bool = True
    denoised: bool = False
    """Denoised picture right of the line."""
    residual: bool = False
    """What denoising took away, right of the line; ``denoised`` is then left out."""
    by_class: bool = False
    """Colours tell classes instead of tracks."""


Paint = Callable[[tuple[slice, slice]], NDArray[np.uint8]]
"""Part of a picture as grey (y, x) or colour (y, x, 3)."""


class ImageView(QWidget):
    """Shows one frame with its overlay; zoom with the wheel, drag to move, R to fit.

    All coordinates are pixels of the frame, (y, x) from the top left corner of the first pixel.
    """

    clicked = Signal(float, float)
    """(y, x) of a left click that was no drag."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(240, 200)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._graphics = pg.GraphicsView(background="#07090b")
        layout.addWidget(self._graphics)
        self._box = pg.ViewBox(lockAspect=True, invertY=True, enableMenu=False)
        self._graphics.setCentralItem(self._box)
        self._picture = pg.ImageItem(axisOrder="row-major")
        self._denoised = pg.ImageItem(axisOrder="row-major")
        self._outlines = pg.ImageItem(axisOrder="row-major")
        self._swipe = pg.InfiniteLine(
            angle=90,
            movable=True,
            pen=pg.mkPen(theme.ACCENT, width=2),
            hoverPen=pg.mkPen("#ffffff", width=3),
        )
        self.marks = MarksItem()
        for depth, item in enumerate(
            (self._picture, self._denoised, self._outlines, self.marks, self._swipe)
        ):
            item.setZValue(depth)
            self._box.addItem(item, ignoreBounds=True)
        for item in (self._denoised, self._outlines, self._swipe):
            item.setVisible(False)
        self.badges = Badges(self)
        self._shape: tuple[int, int] | None = None
        self._outlined: tuple[int, Region, bool] | None = None
        self._fitted = True
        self._moved = False
        self._pointer: QPointF | None = None
        self._box.sigRangeChangedManually.connect(self._on_manual_range)
        self._box.sigRangeChanged.connect(self._on_range)
        self._swipe.sigPositionChanged.connect(self._on_range)
        self._graphics.scene().sigMouseMoved.connect(self._on_pointer)
        self._graphics.scene().sigMouseClicked.connect(self._on_click)

    @property
    def moved(self) -> bool:
        """Whether zoom, position or swipe changed since the last ``draw``."""
        return self._moved

    @property
    def overlay(self) -> NDArray[np.uint8] | None:
        """Outlines as drawn, (rows, columns, 4) RGBA; None while hidden. A view, do not write."""
        image: NDArray[np.uint8] | None = self._outlines.image
        return image if self._outlines.isVisible() else None

    @property
    def overlay_rect(self) -> tuple[float, float, float, float]:
        """(x, y, width, height) that the outlines cover, in pixels of the frame."""
        rect: QRectF = self._outlines.mapRectToParent(self._outlines.boundingRect())
        return rect.x(), rect.y(), rect.width(), rect.height()

    @property
    def grey(self) -> NDArray[np.uint8] | None:
        """Grey values as drawn, (rows, columns); None before the first frame."""
        image: NDArray[np.uint8] | None = self._picture.image
        return image

    def fit(self) -> None:
        """Show the whole picture again."""
        self._fitted = True
        if self._shape is not None:
            height, width = self._shape
            self._box.setRange(QRectF(0, 0, width, height), padding=0.01, disableAutoRange=True)

    def zoom_to(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        """Show these columns and rows, as a user's zoom would."""
        self._fitted = False
        self._box.setRange(xRange=x_range, yRange=y_range, padding=0, disableAutoRange=True)

    def draw(
        self,
        frame: ShownFrame,
        levels: Levels,
        result: ShownResult | None,
        placement: Placement | None,
        options: ViewOptions,
        source: ShownFrame | None = None,
    ) -> None:
        """Draw a frame with the overlay of a result.

        Parameters
        ----------
        frame
            What to show.
        levels
            What is black and white.
        result, placement
            What was found and where it belongs on this frame; None for no overlay.
        options
            What to draw of it.
        source
            The frame that the result was found in, for the residual; None where it is gone.
        """
        shape = frame.pixels.shape
        if shape != self._shape:
            self._shape = (shape[0], shape[1])
            self._resize_to(self._shape)
        self._moved = False
        region = self._visible(0.0, 0.0)
        self._picture.setImage(
            to_grey(frame.pixels[region.slices], levels), autoLevels=False, levels=(0, 255)
        )
        self._picture.setRect(QRectF(*region.rect))
        shown = result if placement is not None and placement.visible else None
        y_px, x_px = (placement.y_px, placement.x_px) if placement is not None else (0.0, 0.0)
        self._draw_outlines(shown if options.outlines else None, y_px, x_px, options.by_class)
        paint = _right_side(shown, source, levels, options) if shown is not None else None
        self._draw_right(paint, y_px, x_px)
        per_px = self._box.viewPixelSize()[0]
        self.badges.set_scale(frame.pixel_size_um, 1.0 / per_px if per_px > 0 else 1.0)
        self.badges.set_pointer(self._under_pointer(frame, shown, y_px, x_px))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the picture fitted until someone zooms; the name is Qt's."""
        super().resizeEvent(event)
        self.badges.arrange()
        if self._fitted:
            self.fit()

    def release(self) -> None:
        """Let go of the scene, so that nothing is left after closing."""
        self._graphics.close()
        self._graphics.deleteLater()

    def _resize_to(self, shape: tuple[int, int]) -> None:
        height, width = shape
        self.marks.set_size(shape)
        self._outlined = None
        self._box.setLimits(
            xMin=-width, xMax=2 * width, yMin=-height, yMax=2 * height, minXRange=8, minYRange=8
        )
        self._swipe.setBounds((0, width))
        self._swipe.setValue(width / 2)
        self.fit()

    def _visible(self, y_px: float, x_px: float) -> Region:
        """What is in view, of a picture that is shifted by (y_px, x_px)."""
        (x0, x1), (y0, y1) = self._box.viewRange()
        ratio = self.devicePixelRatioF()
        screen = (self._box.width() * ratio, self._box.height() * ratio)
        shape = self._shape or (1, 1)
        return visible_region(shape, (x0 - x_px, x1 - x_px), (y0 - y_px, y1 - y_px), screen)

    def _draw_outlines(
        self, result: ShownResult | None, y_px: float, x_px: float, by_class: bool
    ) -> None:
        self._outlines.setVisible(result is not None)
        if result is None:
            self._outlined = None
            return
        region = self._visible(y_px, x_px)
        if self._outlined != (result.seq, region, by_class):
            rgba = outline_rgba(result.labels, result.objects, region, by_class=by_class)
            self._outlines.setImage(rgba, autoLevels=False, levels=None)
            self._outlined = (result.seq, region, by_class)
        x, y, width, height = region.rect
        self._outlines.setRect(QRectF(x + x_px, y + y_px, width, height))

    def _draw_right(self, paint: Paint | None, y_px: float, x_px: float) -> None:
        """Right of the swipe line another picture covers the raw one."""
        self._swipe.setVisible(paint is not None)
        split = 0 if paint is None else max(0, round(self._swipe.value() - x_px))
        region = self._visible(y_px, x_px)
        start = -(-split // region.stride) * region.stride
        if paint is None or start >= region.x1:
            self._denoised.setVisible(False)
            return
        region = Region(region.y0, max(region.x0, start), region.y1, region.x1, region.stride)
        self._denoised.setImage(paint(region.slices), autoLevels=False, levels=(0, 255))
        x, y, width, height = region.rect
        self._denoised.setRect(QRectF(x + x_px, y + y_px, width, height))
        self._denoised.setVisible(True)

    def _under_pointer(
        self, frame: ShownFrame, result: ShownResult | None, y_px: float, x_px: float
    ) -> str:
        if self._pointer is None:
            return ""
        point = self._box.mapSceneToView(self._pointer)
        y, x = int(np.floor(point.y())), int(np.floor(point.x()))
        height, width = frame.pixels.shape
        if not (0 <= y < height and 0 <= x < width):
            return ""
        text = f"y {y}  x {x}  ·  {int(frame.pixels[y, x])} counts"
        at_y, at_x = int(np.floor(point.y() - y_px)), int(np.floor(point.x() - x_px))
        if result is not None and 0 <= at_y < height and 0 <= at_x < width:
            label = int(result.labels[at_y, at_x])
            rows = result.objects[result.objects["label"] == label] if label else []
            if len(rows):
                text += f"  ·  {object_text(rows[0], result.classes)}"
        return text

    def _on_manual_range(self) -> None:
        self._fitted = False

    def _on_range(self) -> None:
        self._moved = True

    def _on_click(self, event: MouseClickEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._shape is not None:
            point = self._box.mapSceneToView(event.scenePos())
            self.clicked.emit(point.y(), point.x())

    def _on_pointer(self, position: QPointF) -> None:
        self._pointer = position
        self._moved = True


def right_note(options: ViewOptions, has_source: bool) -> str:
    """What lies left and right of the line, in words."""
    if options.residual and not has_source:
        return "no residual: the raw frame of this result is gone"
    if options.residual:
        return f"raw | residual, blue to red ±{RESIDUAL_SIGMAS:g} σ of the noise"
    return "raw | denoised" if options.denoised else ""


def _right_side(
    result: ShownResult, source: ShownFrame | None, levels: Levels, options: ViewOptions
) -> Paint | None:
    """What is drawn right of the line; None for nothing."""
    denoised, report = result.denoised, result.denoise
    if denoised is None or not (options.denoised or options.residual):
        return None
    if not options.residual:
        return lambda part: to_grey(denoised[part], levels)
    if report is None or source is None or source.pixels.shape != denoised.shape:
        return None
    pixels = source.pixels
    return lambda part: diverging(
        residual(pixels[part], denoised[part], report) / np.float32(RESIDUAL_SIGMAS)
    )
