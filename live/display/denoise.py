"""What denoising took away, and whether to trust it, as values: colours and words. No Qt."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from live.display.view_model import ShownTraining
from models.result import DenoiseReport

RESIDUAL_SIGMAS: Final = 4.0
"""Standard deviations of the noise that have the full colour."""
_NEGATIVE: Final = np.array((66, 150, 255), np.float32)
_POSITIVE: Final = np.array((255, 96, 70), np.float32)
_NOTHING: Final = 14.0
_AT_WORK: Final = ("starting", "reading", "training")


def residual(
    raw: NDArray[Any], denoised: NDArray[Any], report: DenoiseReport
) -> NDArray[np.float32]:
    """(raw - denoised) in standard deviations of the noise, (y, x); pure noise is grey snow.

    Parameters
    ----------
    raw, denoised
        (y, x) counts of one frame.
    report
        Has the noise model of that frame.
    """
    clean = denoised.astype(np.float32)
    gain = report.gain if math.isfinite(report.gain) else 0.0
    light = np.maximum(clean - np.float32(report.offset), 0)
    variance = np.float32(gain) * light + np.float32(max(report.read_variance, 1e-6))
    return np.asarray((raw.astype(np.float32) - clean) / np.sqrt(variance), np.float32)


def diverging(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers from -1 to 1 as blue over near-black to red, (y, x, 3); beyond that the ends."""
    clipped = np.clip(np.nan_to_num(np.asarray(values, np.float32)), -1, 1)[..., None]
    colour = np.where(clipped < 0, -clipped * _NEGATIVE, clipped * _POSITIVE)
    return np.asarray(colour + _NOTHING * (1 - np.abs(clipped)), np.uint8)


def noise_text(report: DenoiseReport | None) -> str:
    """The noise model in electrons, for people; empty where no network denoises."""
    if report is None:
        return ""
    if not math.isfinite(report.gain):
        sigma = math.sqrt(max(report.read_variance, 0.0))
        text = f"no shot noise seen; noise of {sigma:.3g} counts everywhere"
    else:
        gain = f"{report.gain:.3g} counts/e"
        if 0 < report.gain < 1:
            gain += f" ({1 / report.gain:.3g} e/count)"
        text = f"{gain}  ·  offset {report.offset:.4g}  ·  read noise {report.read_noise_e:.2g} e"
    if report.fresh and report.fresh_because:
        text += f"\nthis frame by itself: {report.fresh_because}"
    return text


def denoise_alarm(report: DenoiseReport | None) -> tuple[str, bool]:
    """What the newest check of the residual says, and whether it is an alarm."""
    if report is None:
        return "", False
    if report.alarmed:
        return f"DENOISING IN DOUBT: {report.reason}  (alarm {report.alarm:.1f})", True
    if report.unlike:
        return (
            f"NOISE UNLIKE ANY KNOWN: {report.unlike_because}  "
            f"(strangeness {report.strangeness:.1f})",
            True,
        )
    if report.checked_seq < 0:
        return "", False
    return f"residual {report.alarm:.2f} of its limit", False


def joined(first: tuple[str, bool], second: tuple[str, bool]) -> tuple[str, bool]:
    """Two notes as one: alarms alone where there is one, else both in a line."""
    alarms = [text for text, alarm in (first, second) if alarm]
    if alarms:
        return "\n".join(alarms), True
    return "  ·  ".join(text for text, _ in (first, second) if text), False


def training_text(training: ShownTraining | None) -> str:
    """How a training goes, in words; empty where there is none."""
    if training is None or not training.state:
        return ""
    parts = [training.sentence]
    if training.state == "training":
        parts = [f"{training.left_s:.0f} s left"]
        if training.frames:
            parts.append(f"{training.frames} frames")
    if math.isfinite(training.loss_start) and math.isfinite(training.loss_best):
        change = 100 * (training.loss_best / training.loss_start - 1) if training.loss_start else 0
        parts.append(f"held-out loss {training.loss_best:.4g} ({change:+.1f} %)")
    return "  ·  ".join(parts)


def training_runs(training: ShownTraining | None) -> bool:
    """Whether a training goes on."""
    return training is not None and training.state in _AT_WORK
