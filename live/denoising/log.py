"""What was seen of denoising during a run: into the journal, the log and the report."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from live.denoising.journal import denoise_values
from live.recording.journal import Journal
from models.result import DenoiseReport


class DenoiseLog:
    """Notes the reports that come with results. One thread uses it.

    Parameters
    ----------
    journal
        Gets a row where something changed: checks, fresh starts, other weights.
    on_event
        Called with a sentence when an alarm begins or ends.
    """

    def __init__(self, journal: Journal, on_event: Callable[[str], None]) -> None:
        self._journal = journal
        self._on_event = on_event
        self._last: DenoiseReport | None = None
        self._worst: DenoiseReport | None = None
        self._frames = self._checked = self._alarmed = self._unlike = self._fresh = 0
        self._models: dict[str, int] = {}

    def see(self, report: DenoiseReport | None) -> None:
        """Note what came with one frame; nothing where no network denoises."""
        if report is None:
            return
        last, self._last = self._last, report
        self._frames += 1
        self._fresh += report.fresh
        self._models.setdefault(report.model, report.seq)
        checked = report.checked_seq >= 0 and (
            last is None or last.checked_seq != report.checked_seq
        )
        if checked:
            self._check(report)
        if checked or last is None or report.fresh or last.model != report.model:
            self._journal.put("denoise", [denoise_values(report)])
        self._announce(last, report)

    def summary(self) -> dict[str, Any]:
        """For the report: the noise model, checks and alarms; empty where nothing was denoised."""
        last, worst = self._last, self._worst
        if last is None:
            return {}
        return {
            "frames": self._frames,
            "fresh": self._fresh,
            "checked": self._checked,
            "alarmed": self._alarmed,
            "unlike": self._unlike,
            "worst": None if worst is None else _finite(worst.alarm),
            "worst_seq": None if worst is None else worst.checked_seq,
            "reason": "" if worst is None else worst.reason,
            "noise": {
                "gain_counts_per_photon": _finite(last.gain),
                "offset_counts": _finite(last.offset),
                "read_noise_e": _finite(last.read_noise_e),
            },
            "models": dict(self._models),
        }

    def note(self) -> tuple[str, ...]:
        """A sentence for people when the denoised image was in doubt."""
        if not self._alarmed or self._worst is None:
            return ()
        return (
            f"the residual of {self._alarmed} of {self._checked} checked frames shows structure "
            f"({self._worst.reason}): look at the residual before you use denoised images",
        )

    def _check(self, report: DenoiseReport) -> None:
        self._checked += 1
        self._alarmed += report.alarmed
        self._unlike += report.unlike
        if self._worst is None or report.alarm > self._worst.alarm:
            self._worst = report

    def _announce(self, last: DenoiseReport | None, now: DenoiseReport) -> None:
        was = last is not None and last.alarmed
        if now.alarmed and not was:
            self._on_event(
                f"frame {now.checked_seq}: denoising is in doubt: {now.reason} "
                f"(alarm {now.alarm:.2f})"
            )
        elif was and not now.alarmed:
            self._on_event(f"frame {now.checked_seq}: denoising is no longer in doubt")
        strange = last is not None and last.unlike
        if now.unlike and not strange:
            self._on_event(
                f"frame {now.seq}: its noise is unlike what the denoiser knows: "
                f"{now.unlike_because}"
            )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
