"""The strip of values above the picture."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from live.display import theme
from live.display.readout import Tile, Tone
from live.display.wording import say

_COLOURS = {
    Tone.PLAIN: theme.TEXT,
    Tone.DIM: theme.DIM,
    Tone.GOOD: theme.GOOD,
    Tone.WARN: theme.WARN,
    Tone.BAD: theme.BAD,
}


class Strip(QWidget):
    """Tiles side by side; made once, then only their text changes."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("strip")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._layout = QHBoxLayout(self)
        self._layout.setContentsMargins(12, 6, 12, 6)
        self._layout.setSpacing(18)
        self._values: dict[str, QLabel] = {}
        self._shown: dict[str, Tile] = {}

    def set_tiles(self, tiles: Sequence[Tile]) -> None:
        """Show the tiles; what did not change costs nothing."""
        for tile in tiles:
            if self._shown.get(tile.key) == tile:
                continue
            label = self._values.get(tile.key)
            if label is None:
                label = self._add(tile)
            label.setText(say(tile.value))
            label.setToolTip(say(tile.tip))
            before = self._shown.get(tile.key)
            if before is None or before.tone is not tile.tone:
                label.setStyleSheet(f"color: {_COLOURS[tile.tone]};")
            self._shown[tile.key] = tile

    def text(self, key: str) -> str:
        """What a tile shows now."""
        return self._shown[key].value

    def tone(self, key: str) -> Tone:
        """How a tile shows it."""
        return self._shown[key].tone

    def _add(self, tile: Tile) -> QLabel:
        box = QVBoxLayout()
        box.setSpacing(0)
        title, value = QLabel(say(tile.title)), QLabel()
        title.setObjectName("tileTitle")
        title.setToolTip(tile.tip)
        value.setObjectName("tileValue")
        # a long engine name must not push the window wider than the screen
        value.setMinimumWidth(64)
        value.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        box.addWidget(title)
        box.addWidget(value)
        wide = {"engine": 3, "drops": 3, "latency": 2, "recorded": 2}
        self._layout.addLayout(box, wide.get(tile.key, 1))
        self._values[tile.key] = value
        return value
