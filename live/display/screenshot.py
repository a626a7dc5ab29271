"""Pictures of widgets as PNG."""

from __future__ import annotations

from PySide6.QtCore import QBuffer, QByteArray, QIODevice
from PySide6.QtWidgets import QWidget


def png_of(widget: QWidget) -> bytes:
    """The widget as it looks now, as a PNG file; raises ``OSError`` when Qt cannot encode it."""
    store = QByteArray()
    buffer = QBuffer(store)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    encoded = widget.grab().save(buffer, "PNG")
    buffer.close()
    if not encoded:
        raise OSError(f"got no picture of a {widget.width()} x {widget.height()} window")
    return bytes(store.data())
