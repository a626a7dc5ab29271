"""What an analysis of files has to say of denoising: the noise found, and where to look twice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from models import DenoiseReport


@dataclass(slots=True)
class DenoiseTally:
    """Counts over the frames of one analysis; empty where no network denoised."""

    frames: int = 0
    fresh: int = 0
    """Frames that were denoised by themselves."""
    checked: int = 0
    """Residuals looked at."""
    alarms: int = 0
    """Residuals with something of the sample in them."""
    unlike: int = 0
    """Frames checked whose noise is of another kind than denoising reckons with."""
    worst: DenoiseReport | None = None
    """Of the highest alarm."""
    newest: DenoiseReport | None = None

    def add(self, report: DenoiseReport | None) -> None:
        """Count one frame; None counts for nothing."""
        if report is None:
            return
        self.frames += 1
        self.fresh += report.fresh
        self.newest = report
        if report.checked_seq != report.seq:
            return
        self.checked += 1
        self.alarms += report.alarmed
        self.unlike += report.unlike
        if self.worst is None or report.alarm > self.worst.alarm:
            self.worst = report

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report file; empty where no network denoised."""
        if self.newest is None or self.worst is None:
            return {}
        newest, worst = self.newest, self.worst
        known = not math.isnan(newest.gain)
        return {
            "model": newest.model,
            "frames": self.frames,
            "fresh": self.fresh,
            "checked": self.checked,
            "alarms": self.alarms,
            "worst_alarm": worst.alarm,
            "reason": worst.reason,
            "unlike": self.unlike,
            "unlike_because": newest.unlike_because,
            "gain": newest.gain if known else None,
            "offset": newest.offset,
            "read_noise_e": newest.read_noise_e if known else None,
        }

    def lines(self) -> list[str]:
        """The same in a few lines of text."""
        if self.newest is None or self.worst is None:
            return []
        newest = self.newest
        noise = f"{math.sqrt(newest.read_variance):.3g} counts, no shot noise seen"
        if not math.isnan(newest.gain):
            noise = (
                f"{newest.gain:.3g} counts per photon, offset {newest.offset:.4g} counts, read "
                f"noise {newest.read_noise_e:.2g} electrons"
            )
        text = [f"noise: {noise}"]
        if self.alarms:
            text.append(
                f"look twice: {self.worst.reason} ({self.alarms} of {self.checked} checked)"
            )
        if self.unlike:
            because = newest.unlike_because or "other noise than was learned"
            text.append(f"look twice: {because} ({self.unlike} of {self.checked} checked)")
        return text
