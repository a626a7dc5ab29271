"""Words and numbers of the window: pure functions from values to short texts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from live.display.placement import Placement
from live.display.view_model import ShownFrame, ShownStatus

STALE_MS = 500.0
BY_DESIGN = ("display", "inference")
"""Beginnings of the names of stages that take the newest frame on purpose: no loss there."""


class Tone(StrEnum):
    """How a value wants to be read."""

    PLAIN = "plain"
    DIM = "dim"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Tile:
    """One value of the strip above the picture."""

    key: str
    title: str
    value: str
    tone: Tone
    tip: str


@dataclass(frozen=True, slots=True)
class ScaleBar:
    """Length to draw in pixels of the picture, and what to write on it."""

    length_px: float
    text: str


def tiles(status: ShownStatus, display_hz: float, age_ms: float | None) -> tuple[Tile, ...]:
    """Tiles of the strip, always the same keys in the same order.

    Parameters
    ----------
    status
        State of the run.
    display_hz
        New pictures drawn per second.
    age_ms
        Age of the picture on screen now; None before the first.
    """
    stale = age_ms is not None and age_ms > STALE_MS
    recorded = f"{status.recorded}/{status.captured}"
    missing = status.captured - status.recorded
    return (
        Tile("camera", "CAMERA", hertz(status.camera_hz), Tone.PLAIN, "Frames captured per second"),
        Tile(
            "inference",
            "INFERENCE",
            hertz(status.inference_hz),
            Tone.PLAIN,
            "Frames analysed per second",
        ),
        Tile("display", "DISPLAY", hertz(display_hz), Tone.PLAIN, "New pictures drawn per second"),
        Tile(
            "age",
            "PICTURE AGE",
            "–" if age_ms is None else duration(age_ms),
            Tone.BAD if stale else Tone.DIM if age_ms is None else Tone.GOOD,
            f"Time since the end of exposure of the picture below; red above {STALE_MS:.0f} ms",
        ),
        _latency(status),
        _drops(status),
        Tile(
            "engine",
            "ENGINE",
            status.engine or "–",
            Tone.PLAIN if status.engine else Tone.DIM,
            "Inference engine, precision and device that really run",
        ),
        Tile(
            "recorded",
            "RECORDED",
            recorded,
            Tone.WARN if missing > 100 else Tone.PLAIN,
            f"Frames on disk of frames captured; {missing} on their way",
        ),
        Tile(
            "phase",
            "PHASE",
            status.phase or "–",
            Tone.WARN if status.phase not in ("", "plan") else Tone.PLAIN,
            "What the microscope is doing: the plan, or something that a rule asked for",
        ),
    )


def hertz(rate_hz: float) -> str:
    """A rate in few digits: ``98 Hz``, ``9.5 Hz``, ``–`` for none."""
    if rate_hz <= 0:
        return "–"
    return f"{rate_hz:.0f} Hz" if rate_hz >= 20 else f"{rate_hz:.1f} Hz"


def duration(ms: float) -> str:
    """A time in few digits: ``42 ms``, ``3.1 s``, ``12 min``."""
    if ms < 0.95:
        return f"{max(ms, 0.0):.1f} ms"
    if ms < 1000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s" if ms < 60_000 else f"{ms / 60_000:.0f} min"


def decision_latency(status: ShownStatus) -> tuple[float | None, float | None]:
    """Median and 95th percentile from camera to decision, ms, where known."""
    known = status.latency_ms
    p50 = known.get("camera_to_decision_p50", known.get("p50"))
    return p50, known.get("camera_to_decision_p95", known.get("p95"))


def overlay_note(placement: Placement | None) -> str:
    """What to say of an overlay that is not of the frame on screen; empty when it is."""
    if placement is None:
        return ""
    if not placement.visible:
        return f"overlay hidden: {placement.why}"
    if placement.lag_frames == 0:
        return ""
    sign = "−" if placement.lag_frames > 0 else "+"
    count = abs(placement.lag_frames)
    return f"overlay {sign}{count} frame{'s' if count > 1 else ''}"


def scale_bar(pixel_size_um: float, wanted_px: float) -> ScaleBar:
    """Scale bar of a round length near ``wanted_px`` pixels of the picture.

    Parameters
    ----------
    pixel_size_um
        0 or less for an uncalibrated picture: then the bar counts pixels and says so.
    wanted_px
        Length that would look right.
    """
    calibrated = pixel_size_um > 0
    wanted = max(wanted_px, 1e-6) * (pixel_size_um if calibrated else 1.0)
    power = 10.0 ** math.floor(math.log10(wanted))
    length = power * max(step for step in (1, 2, 5) if step * power <= wanted * 1.0001)
    if not calibrated:
        return ScaleBar(length, f"{length:g} px (uncalibrated)")
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    return ScaleBar(length / pixel_size_um, text)


def frame_title(frame: ShownFrame) -> str:
    """Channel, objective and number of a frame, for its corner."""
    return "  ·  ".join(part for part in (frame.channel, frame.objective, f"#{frame.seq}") if part)


def frame_source(frame: ShownFrame) -> str:
    """What a frame is and where it was taken, in two lines."""
    height, width = frame.pixels.shape
    size = f"{frame.pixel_size_um:.3g} µm/px" if frame.pixel_size_um > 0 else "uncalibrated"
    parts = [frame.channel or "no channel", frame.objective, f"{width} × {height}", size]
    if frame.exposure_ms > 0:
        parts.append(f"{frame.exposure_ms:g} ms")
    where = f"\nstage x {frame.x_um:.1f}  y {frame.y_um:.1f} µm"
    return "  ·  ".join(part for part in parts if part) + where


def _latency(status: ShownStatus) -> Tile:
    p50, p95 = decision_latency(status)
    rest = "\n".join(f"{name}: {ms:.1f} ms" for name, ms in sorted(status.latency_ms.items()))
    tip = "Time from end of exposure to decision, median and 95th percentile"
    if p50 is None:
        return Tile("latency", "CAMERA→DECISION", "–", Tone.DIM, f"{tip}\n{rest}".strip())
    text = f"{p50:.0f} / {p95:.0f} ms" if p95 is not None else f"{p50:.0f} ms"
    return Tile("latency", "CAMERA→DECISION", text, Tone.PLAIN, f"{tip}\n{rest}")


def _drops(status: ShownStatus) -> Tile:
    lost = {stage: n for stage, n in status.drops.items() if n > 0}
    serious = {stage: n for stage, n in lost.items() if not stage.startswith(BY_DESIGN)}
    shown = sorted(lost.items(), key=lambda item: (item[0].startswith(BY_DESIGN), item[0]))
    text = " · ".join(f"{stage} {n}" for stage, n in shown[:3]) or "none"
    if len(shown) > 3:
        text += " …"
    tone = Tone.BAD if serious else Tone.DIM if lost else Tone.GOOD
    tip = (
        "Frames lost or passed over, by stage. Display and inference take the newest frame and "
        "pass over the rest on purpose; anything else is red.\n"
    )
    return Tile("drops", "DROPS", text, tone, tip + "\n".join(f"{s}: {n}" for s, n in shown))
