"""Colours, style sheet and fonts of the window. Loads Qt only inside ``apply_theme``."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

from live.display.wording import PLAIN, lack

if TYPE_CHECKING:
    from PySide6.QtGui import QPalette

LOG = logging.getLogger(__name__)

BACKGROUND = "#0f1215"
PANEL = "#171b20"
LINE = "#2a313a"
TEXT = "#dbe2ea"
DIM = "#8794a3"
ACCENT = "#4cc2ff"
GOOD = "#53d18a"
WARN = "#f2b544"
BAD = "#ff6464"
FLASH = "#ffe066"
TARGET = "#ff5fd2"

STYLE_SHEET = f"""
QWidget {{ background: {BACKGROUND}; color: {TEXT}; font-size: 12px; }}
QWidget#panel, QWidget#strip {{ background: {PANEL}; }}
QWidget#panel QWidget, QWidget#strip QWidget {{ background: {PANEL}; }}
QLabel#heading {{ color: {DIM}; font-size: 10px; font-weight: bold;
    margin-top: 6px; }}
QLabel#tileTitle {{ color: {DIM}; font-size: 10px; }}
QLabel#tileValue {{ font-size: 14px; font-weight: 600; }}
QLabel#badge {{ background: rgba(10, 12, 15, 175); border-radius: 4px; padding: 3px 7px; }}
QLabel#alarm {{ background: rgba(150, 20, 20, 225); color: #ffffff; border-radius: 4px;
    padding: 4px 9px; font-weight: 600; }}
QLabel#warning {{ background: #4a3510; color: #ffd68a; padding: 5px 12px; font-weight: 600; }}
QWidget#panel QCheckBox::indicator {{ width: 11px; height: 11px; border: 1px solid #66737f;
    border-radius: 3px; background: #20262d; }}
QWidget#panel QCheckBox::indicator:checked {{ background: {ACCENT}; border-color: {ACCENT}; }}
QWidget#panel QCheckBox::indicator:disabled {{ background: {PANEL}; border-color: {LINE}; }}
QPushButton {{ border: 1px solid {LINE}; border-radius: 4px; padding: 4px 10px; }}
QWidget#panel QPushButton {{ background: #232a32; }}
QWidget#panel QPushButton:hover {{ border-color: {ACCENT}; }}
QWidget#panel QPushButton:checked {{ background: #5a3d12; border-color: {WARN}; }}
QPushButton:disabled, QCheckBox:disabled {{ color: #55606c; }}
QComboBox {{ border: 1px solid {LINE}; border-radius: 4px; padding: 3px 6px; }}
QWidget#panel QComboBox, QWidget#panel QComboBox QLineEdit {{ background: #20262d; }}
QPlainTextEdit {{ border: 1px solid {LINE}; border-radius: 4px; font-size: 11px; }}
QToolTip {{ background: #242b33; color: {TEXT}; border: 1px solid {LINE}; padding: 4px; }}
QSplitter::handle {{ background: {LINE}; }}
QScrollBar:vertical {{ background: {PANEL}; width: 8px; }}
QScrollBar::handle:vertical {{ background: #3a434e; border-radius: 4px; min-height: 24px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; }}
"""


def apply_theme() -> None:
    """Dress the running ``QApplication``; makes sure that text can be drawn at all.

    A bare server has no fonts, and Qt ships none. Pillow carries a small free one (Aileron), which
    is then used, and said so in the log.
    """
    from PySide6.QtGui import QFont, QFontDatabase, QFontMetrics
    from PySide6.QtWidgets import QApplication

    app = QApplication.instance()
    if not isinstance(app, QApplication):
        raise RuntimeError("apply_theme needs a running QApplication; make one first")
    app.setStyle("Fusion")
    app.setPalette(_palette())
    if not QFontMetrics(app.font()).inFontUcs4(ord("A")):
        number = QFontDatabase.addApplicationFontFromData(spare_font())
        families = QFontDatabase.applicationFontFamilies(number)
        if families:
            app.setFont(QFont(families[0], 9))
            LOG.warning("no fonts installed: text is drawn in %s", families[0])
        else:
            LOG.warning("no fonts installed: the window has no text; install fonts-dejavu-core")
    metrics = QFontMetrics(app.font())
    lack("".join(sign for sign in PLAIN if not metrics.inFontUcs4(ord(sign))))
    app.setStyleSheet(STYLE_SHEET)


def _palette() -> QPalette:
    from PySide6.QtGui import QColor, QPalette

    role = QPalette.ColorRole
    palette = QPalette()
    for part, colour in (
        (role.Window, PANEL),
        (role.Base, "#20262d"),
        (role.AlternateBase, PANEL),
        (role.Button, "#2c343d"),
        (role.Text, TEXT),
        (role.WindowText, TEXT),
        (role.ButtonText, TEXT),
        (role.PlaceholderText, DIM),
        (role.Highlight, ACCENT),
        (role.HighlightedText, BACKGROUND),
    ):
        palette.setColor(part, QColor(colour))
    return palette


def spare_font() -> bytes:
    """TrueType font that Pillow carries; empty when this Pillow was built without FreeType."""
    from PIL import ImageFont

    path = getattr(ImageFont.load_default(12), "path", None)
    return path.getvalue() if isinstance(path, io.BytesIO) else b""
