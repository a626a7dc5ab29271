"""The main window: polls the feed from one timer and draws the newest, never a queue."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QCloseEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QLabel, QSplitter, QVBoxLayout, QWidget

from live.display.classes import all_classes, class_lines, trust_text
from live.display.contrast import histogram_of
from live.display.denoise import denoise_alarm, joined
from live.display.errors import TeachError
from live.display.files import free_name, write_whole
from live.display.image_view import ImageView, right_note
from live.display.outlines import class_colour
from live.display.readout import (
    decision_latency,
    frame_source,
    frame_title,
    overlay_note,
    tiles,
)
from live.display.scene import Dot, Scene
from live.display.screenshot import png_of
from live.display.side_panel import SidePanel
from live.display.strip import Strip
from live.display.teacher import Teacher
from live.display.timeline import Timeline
from live.display.view_model import DisplayFeed, ShownStatus
from live.display.wording import say

LOG = logging.getLogger(__name__)

TICK_MS = 33
TEXT_EVERY_S = 0.1
PLOTS_EVERY_S = 0.3
SCREENSHOT_EVERY_S = 3.0
NOTICE_S = 4.0
RATE_WINDOW_S = 2.0


class LiveWindow(QWidget):
    """The live view.

    Parameters
    ----------
    feed
        Polled every ``TICK_MS`` ms from the Qt thread.
    title
        Of the window.
    screenshot
        Where to keep a picture of the window up to date; None for nowhere.
    on_close
        Called once when the window closes, whoever closed it.
    on_train
        Called to ask for a training of the denoiser; False when the rig did not take it. None
        offers no such thing.
    snapshot_dir
        Where the button puts its pictures; the working folder when None.
    taught_dir
        Where objects go that someone names by clicks; None offers no such thing.
    clock_ns
        The clock of ``ShownFrame.captured_ns``.
    """

    def __init__(
        self,
        feed: DisplayFeed,
        *,
        title: str,
        screenshot: Path | None = None,
        on_close: Callable[[], None] | None = None,
        on_train: Callable[[], bool] | None = None,
        on_steer: Callable[[tuple[str, ...]], bool] | None = None,
        snapshot_dir: Path | None = None,
        taught_dir: Path | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__()
        self.setWindowTitle(title)
        self.resize(1280, 800)
        self._feed = feed
        self._screenshot = screenshot
        self._on_close = on_close
        self._on_train = on_train
        self._snapshot_dir = snapshot_dir
        self._clock_ns = clock_ns
        self.scene = Scene()
        self.teacher = Teacher(taught_dir)
        self.status = ShownStatus()
        self.error: Exception | None = None
        self._drawn_s: deque[float] = deque(maxlen=256)
        self._next_text_s = self._next_plots_s = self._next_screenshot_s = 0.0
        self._notice, self._notice_until_s = "", 0.0
        self._stale = True
        self._finished = False
        self._build()
        self.side.control.set_steer(on_steer)
        self._connect()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._on_timer)
        self._show_text(self._now_s())

    def start(self) -> None:
        """Show the window and begin to poll."""
        self.show()
        self._timer.start()

    def tick(self) -> None:
        """Take what is newest and draw it; the timer calls this."""
        now_s = self._now_s()
        self.status = self._feed.status()
        if not self.side.pause.isChecked():
            self._take(now_s)
        if self._stale or self.view.moved or self.scene.trails.flashes(now_s):
            self._draw(now_s)
        closing = self._feed.closed()
        if closing or now_s >= self._next_text_s:
            self._next_text_s = now_s + TEXT_EVERY_S
            self._show_text(now_s)
        if closing or now_s >= self._next_plots_s:
            self._next_plots_s = now_s + PLOTS_EVERY_S
            self._show_plots(now_s)
        if closing:
            self.close()
        elif self._screenshot is not None and now_s >= self._next_screenshot_s:
            self._save_screenshot(now_s)

    def save_snapshot(self) -> Path | None:
        """Save the picture with its overlay under a new name; None when that failed (shown)."""
        seq = self.scene.frame.seq if self.scene.frame is not None else 0
        folder = self._snapshot_dir or Path.cwd()
        path = free_name(folder, f"snapshot-{seq:06d}")
        try:
            write_whole(png_of(self.view), path)
        except OSError as error:
            self._notify(f"snapshot not saved: {error}")
            return None
        self._notify(f"saved {path.name}")
        return path

    def display_hz(self) -> float:
        """New frames drawn per second, over the last two."""
        now_s = self._now_s()
        while self._drawn_s and now_s - self._drawn_s[0] > RATE_WINDOW_S:
            self._drawn_s.popleft()
        if len(self._drawn_s) < 2:
            return 0.0
        return (len(self._drawn_s) - 1) / max(self._drawn_s[-1] - self._drawn_s[0], 1e-6)

    def age_ms(self) -> float | None:
        """Age of the picture on screen now; None before the first."""
        frame = self.scene.frame
        return None if frame is None else (self._clock_ns() - frame.captured_ns) / 1e6

    def closeEvent(self, event: QCloseEvent) -> None:
        """Stop polling, keep the last picture, tell who asked to know; the name is Qt's."""
        if not self._finished:
            self._finished = True
            self._timer.stop()
            if self._screenshot is not None and self.error is None:
                self._save_screenshot(self._now_s())
            if self._on_close is not None:
                self._on_close()
        super().closeEvent(event)

    def release(self) -> None:
        """Let go of the scenes, so that nothing is left after closing."""
        for part in (self.view, self.side, self.timeline):
            part.release()

    def _build(self) -> None:
        self.strip, self.view = Strip(), ImageView()
        self.side, self.timeline = SidePanel(), Timeline()
        self.warning = QLabel()
        self.warning.setObjectName("warning")
        self.warning.setWordWrap(True)
        self.warning.setTextFormat(Qt.TextFormat.PlainText)
        self.warning.hide()
        self.timeline.setFixedHeight(118)
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addWidget(self.view, 1)
        column.addWidget(self.timeline)
        across = QSplitter(Qt.Orientation.Horizontal)
        across.addWidget(left)
        across.addWidget(self.side)
        across.setStretchFactor(0, 1)
        across.setHandleWidth(1)
        across.setSizes([970, 310])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(1)
        layout.addWidget(self.strip)
        layout.addWidget(self.warning)
        layout.addWidget(across, 1)
        self.view.badges.set_middle("waiting for the first picture")
        self.side.classes.set_available(self.teacher.available)
        self.side.denoise.set_offered(self._on_train is not None)

    def _connect(self) -> None:
        side = self.side
        keys: dict[str, Callable[[], object]] = {
            "O": side.boxes["outlines"].toggle,
            "I": side.boxes["ids"].toggle,
            "L": side.boxes["tails"].toggle,
            "D": side.show_next,
            "E": side.boxes["residual"].click,
            "C": side.boxes["by_class"].click,
            "T": side.classes.teach.click,
            "U": self._undo,
            "A": self._set_auto,
            "S": self.save_snapshot,
            "R": self.view.fit,
            "Space": side.pause.toggle,
            **side.control.keys(),
        }
        for key, action in keys.items():
            QShortcut(QKeySequence(key), self).activated.connect(action)
        for number in range(9):
            choose = partial(side.classes.choose, number)
            QShortcut(QKeySequence(str(number + 1)), self).activated.connect(choose)
        side.classes.teach_toggled.connect(self._redraw)
        side.classes.undo_asked.connect(self._undo)
        side.denoise.train_asked.connect(self._train)
        self.view.clicked.connect(self._on_click)
        for box in side.boxes.values():
            box.toggled.connect(self._redraw)
        side.pause.toggled.connect(self._redraw)
        side.snapshot.clicked.connect(self.save_snapshot)
        side.fit.clicked.connect(self.view.fit)
        side.histogram.levels_dragged.connect(self._set_levels)
        side.histogram.auto_asked.connect(self._set_auto)

    def _on_timer(self) -> None:
        try:
            self.tick()
        except Exception as error:
            # a slot must not raise into Qt: run_window raises it again
            self.error = error
            self.close()

    def _take(self, now_s: float) -> None:
        frame, result = self._feed.newest_frame(), self._feed.newest_result()
        if frame is not None:
            self.scene.take_frame(frame, now_s)
            self._drawn_s.append(now_s)
            self._stale = True
        if result is not None:
            self.scene.take_result(result, now_s)
            self.view.marks.set_tails(self.scene.trails.tails())
            self._stale = True

    def _draw(self, now_s: float) -> None:
        frame, result = self.scene.frame, self.scene.result
        if frame is None:
            return
        self._stale = False
        options = self.side.options()
        placement = self.scene.placement()
        dots = self._dots() if self.side.classes.teaching else ()
        source = self.scene.source
        self.view.draw(frame, self.scene.levels(), result, placement, options, source)
        self.view.marks.set_marks(
            self.scene.marks(
                placement,
                ids=options.ids,
                tails=options.tails,
                target_um=self.status.target_um,
                now_s=now_s,
                by_class=options.by_class,
                dots=dots,
            )
        )
        self.view.marks.show_tails = options.tails

    def _show_text(self, now_s: float) -> None:
        status = self.status
        if self.scene.passed_over and "display" not in status.drops:
            status = replace(status, drops={**status.drops, "display": self.scene.passed_over})
        self.strip.set_tiles(tiles(status, self.display_hz(), self.age_ms()))
        self.side.set_rules(status.rules)
        self.side.control.set_state(status)
        self.side.set_events(status.events)
        if self.warning.text() != say(status.warning):
            self.warning.setText(say(status.warning))
            self.warning.setVisible(bool(status.warning))
        frame, result = self.scene.frame, self.scene.result
        self.side.classes.set_lines(class_lines(result, self.teacher.counts()))
        report = result.denoise if result is not None else None
        self.side.denoise.set_state(report, status.training)
        if frame is None:
            return
        self.view.badges.set_middle("")
        trust = trust_text(result.verdict if result is not None else None)
        self.view.badges.set_trust(*joined(trust, denoise_alarm(report)))
        self.view.badges.set_title(frame_title(frame))
        self.side.source.setText(say(frame_source(frame)))
        self.side.set_available(
            denoised=result is not None and result.denoised is not None,
            residual=report is not None and result is not None and result.denoised is not None,
            classes=result is not None and bool(result.classes),
        )
        self.view.badges.set_note(self._note(now_s))

    def _note(self, now_s: float) -> str:
        parts = ["view paused"] if self.side.pause.isChecked() else []
        parts.append(overlay_note(self.scene.placement()))
        result, options = self.scene.result, self.side.options()
        if result is not None and result.denoised is not None:
            parts.append(right_note(options, self.scene.source is not None))
        marks = self.view.marks
        if options.ids and marks.ids_drawn < marks.ids_in_view:
            parts.append(f"{marks.ids_drawn} of {marks.ids_in_view} ids")
        if now_s < self._notice_until_s:
            parts.append(self._notice)
        return "  ·  ".join(part for part in parts if part)

    def _show_plots(self, now_s: float) -> None:
        result, frame = self.scene.result, self.scene.frame
        objects = len(result.objects) if result is not None else None
        self.timeline.add(now_s, objects, self.age_ms(), decision_latency(self.status)[0])
        self.timeline.redraw(now_s)
        if frame is not None:
            manual = self.scene.contrast.is_manual(frame.channel)
            histogram = histogram_of(frame.pixels, frame.bit_depth)
            self.side.histogram.show_histogram(histogram, self.scene.levels(), manual)

    def _save_screenshot(self, now_s: float) -> None:
        if self._screenshot is None or self.scene.frame is None:
            return
        self._next_screenshot_s = now_s + SCREENSHOT_EVERY_S
        try:
            write_whole(png_of(self), self._screenshot)
        except OSError as error:
            LOG.warning("picture of the window not saved: %s", error)
            self._notify(f"picture not saved: {error}")

    def _set_levels(self, low: float, high: float) -> None:
        if self.scene.frame is not None:
            self.scene.contrast.set_manual(self.scene.frame.channel, low, high)
            self._stale = True

    def _set_auto(self) -> None:
        frame = self.scene.frame
        if frame is not None:
            self.scene.contrast.set_auto(frame.channel)
            self.scene.contrast.update(frame.pixels, frame.channel, self._now_s())
            self._stale = True

    def _on_click(self, y_px: float, x_px: float) -> None:
        panel = self.side.classes
        if panel.teaching:
            self._teach(lambda: self.teacher.teach(self.scene, y_px, x_px, panel.chosen))

    def _train(self) -> None:
        taken = self._on_train is not None and self._on_train()
        self._notify("training asked for" if taken else "the rig is busy; ask again")

    def _undo(self) -> None:
        if self.teacher.available:
            self._teach(self.teacher.undo)

    def _teach(self, action: Callable[[], str]) -> None:
        try:
            self._notify(action())
        except TeachError as error:
            self._notify(str(error))
        self._next_text_s = 0.0
        self._stale = True

    def _dots(self) -> list[Dot]:
        result = self.scene.result
        classes = all_classes(result.classes if result is not None else (), self.teacher.counts())
        return [
            Dot(mark.y_px, mark.x_px, class_colour(classes.index(mark.name)))
            for mark in self.teacher.marks(self.scene)
            if mark.name in classes
        ]

    def _redraw(self) -> None:
        self._stale = True

    def _notify(self, text: str) -> None:
        self._notice, self._notice_until_s = text, self._now_s() + NOTICE_S

    def _now_s(self) -> float:
        return self._clock_ns() / 1e9
