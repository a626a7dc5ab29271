"""Noise model, and training the denoiser on the frames at hand: a part of the side panel."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from live.display.denoise import noise_text, training_runs, training_text
from live.display.view_model import ShownTraining
from live.display.wording import say
from models.result import DenoiseReport

BUTTON = "Train denoiser on these frames"


class DenoisePanel(QWidget):
    """Hidden where no network denoises; keeps nothing itself."""

    train_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(5)
        heading = QLabel("DENOISING")
        heading.setObjectName("heading")
        layout.addWidget(heading)
        self.noise = _label("Noise of the camera, found from the frames themselves")
        layout.addWidget(self.noise)
        self.train = QPushButton(BUTTON)
        self.train.setToolTip(
            "Learn from the frames that this run has recorded, in the background. The new weights "
            "are used only if they do better on frames that were held out."
        )
        self.train.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.train.clicked.connect(self.train_asked)
        layout.addWidget(self.train)
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        layout.addWidget(self.bar)
        self.training = _label("What became of the training")
        layout.addWidget(self.training)
        self._offered = False
        self.bar.hide()
        self.training.hide()
        self.hide()

    def set_offered(self, offered: bool) -> None:
        """Whether a training can be asked for at all."""
        self._offered = offered
        self.train.setVisible(offered)

    def set_state(self, report: DenoiseReport | None, training: ShownTraining | None) -> None:
        """Show the noise model and how a training goes."""
        self.setVisible(report is not None or bool(training_text(training)))
        _set(self.noise, noise_text(report))
        _set(self.training, training_text(training))
        runs = training_runs(training)
        self.train.setEnabled(self._offered and not runs)
        self.bar.setVisible(runs)
        if training is not None:
            self.bar.setValue(round(1000 * training.done))


def _label(tip: str) -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setToolTip(tip)
    return label


def _set(label: QLabel, text: str) -> None:
    text = say(text)
    if label.text() != text:
        label.setText(text)
    label.setVisible(bool(text))
