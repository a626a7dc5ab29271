"""What a journal keeps of denoising: trainings, and per frame the noise model and the alarms."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Any, Final

from models.result import DenoiseReport

TRAINING_COLUMNS: Final = {
    "number": "INTEGER PRIMARY KEY",
    "asked_unix": "REAL NOT NULL",
    "asked_by": "TEXT NOT NULL",
    "start": "TEXT NOT NULL",  # weights that it started from
    "frames": "INTEGER NOT NULL",
    "loss_start": "REAL",  # held-out loss without clean images; NULL: not known
    "loss_best": "REAL",
    "ended_unix": "REAL NOT NULL",
    "outcome": "TEXT NOT NULL",
    "path": "TEXT NOT NULL",
    "sha256": "TEXT NOT NULL",
    "first_seq": "INTEGER NOT NULL",  # first frame denoised by it; -1: none
}
DENOISE_COLUMNS: Final = {
    "seq": "INTEGER PRIMARY KEY",
    "checked_seq": "INTEGER NOT NULL",  # newest frame whose residual was looked at; -1: none yet
    "alarm": "REAL",  # above 1: something of the sample is in the residual
    "alarm_reason": "TEXT NOT NULL",
    "strangeness": "REAL",  # above 1: noise that denoising cannot reckon with
    "unlike_reason": "TEXT NOT NULL",
    "gain": "REAL",  # counts per photon; NULL where no shot noise was seen
    "offset": "REAL",
    "read_variance": "REAL",
    "read_noise_e": "REAL",
    "fresh": "INTEGER NOT NULL",  # nothing of earlier frames was used
    "fresh_because": "TEXT NOT NULL",
    "model": "TEXT NOT NULL",
}


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One training of the denoiser during the run; the same number again replaces the row."""

    number: int
    asked_unix: float
    asked_by: str
    start: str
    frames: int = 0
    loss_start: float = math.nan
    loss_best: float = math.nan
    ended_unix: float = 0.0
    outcome: str = "running"
    path: str = ""
    sha256: str = ""
    first_seq: int = -1

    def values(self) -> tuple[object, ...]:
        """In the order of the columns."""
        return tuple(_storable(value) for value in astuple(self))


def denoise_values(report: DenoiseReport) -> tuple[object, ...]:
    """Row for the table ``denoise``, in the order of its columns."""
    row: tuple[Any, ...] = (
        report.seq, report.checked_seq, report.alarm, report.reason, report.strangeness,
        report.unlike_because, report.gain, report.offset, report.read_variance,
        report.read_noise_e, int(report.fresh), report.fresh_because, report.model,
    )  # fmt: skip
    return tuple(_storable(value) for value in row)


def _storable(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
