"""The window's process, with a hand at the mouse: presses the button that trains, once.

Run by the supervisor as ``python -m tests.live.pressing_window --control ADDRESS``. All of it is
the program's own window; a timer beside it looks for the button as a person would, and clicks in
its middle when it can be seen and pressed.
"""

from __future__ import annotations

import os
import sys

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from PySide6.QtCore import Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPushButton

from live.display.denoise_panel import BUTTON
from live.processes import window

LOOK_EVERY_MS = 500


def main() -> int:
    app = QApplication([])
    timer = QTimer()
    timer.setInterval(LOOK_EVERY_MS)

    def press() -> None:
        for top in app.topLevelWidgets():
            for button in top.findChildren(QPushButton):
                if button.text() == BUTTON and button.isVisible() and button.isEnabled():
                    timer.stop()
                    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
                    return

    timer.timeout.connect(press)
    timer.start()
    return window.main()


if __name__ == "__main__":
    sys.exit(main())
