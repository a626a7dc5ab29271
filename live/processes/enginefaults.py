"""What the rig knows of faults at the engine: written down, shown, and, where asked for, replaced.

Imaging never waits for any of it. Another engine runs only where the pipeline's ``fallback`` names
one, and then it is said loudly and written with every result.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from live.processes.messages import EngineFault, Message
from live.recording.journal import Journal
from models import PipelineSettings
from models.fallback import on_fallback

SHOWN_S = 15.0
"""How long the window shows the newest fault."""


class EngineFaults:
    """Faults of the engines of one run. Any thread may read; the supervisor's thread writes.

    Parameters
    ----------
    pipeline
        Gives the pipeline as it runs now, with weights that were swapped in since.
    """

    def __init__(self, pipeline: Callable[[], PipelineSettings]) -> None:
        self._pipeline = pipeline
        self._journal: Journal | None = None
        self._log: Callable[[str], None] | None = None
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._shown = ""
        self._shown_s = 0.0
        self._fell_back = False

    def begin(self, journal: Journal, log: Callable[[str], None]) -> None:
        """Write down here from now on."""
        self._journal, self._log = journal, log

    def heard(self, role: str, message: Message) -> bool:
        """Take a message of the inference process; False when it is none of these."""
        if not isinstance(message, EngineFault) or role != "inference":
            return False
        self._note(message.seq, message.fault, message.step, message.sentence)
        return True

    def pipeline(self) -> PipelineSettings:
        """What inference is told to run: with the engine to fall back on once that was needed."""
        settings = self._pipeline()
        return on_fallback(settings) if self._fell_back else settings

    def instead(self, why: str) -> str:
        """Called before inference is given up: what is done in its place; empty for nothing.

        Parameters
        ----------
        why
            What happened, in a sentence.
        """
        fallback = self._pipeline().fallback
        if fallback is None:
            self._note(-1, "given_up", "imaging goes on without analysis", why)
            return ""
        if self._fell_back:
            self._note(-1, "given_up", f"imaging goes on without analysis, {fallback} too", why)
            return ""
        self._fell_back = True
        step = f"from now on {fallback} runs, as fallback says"
        self._note(-1, "fallback", step, why)
        return step

    def warning(self) -> str:
        """The newest fault for the window, while it is new; the fallback for as long as it runs."""
        with self._lock:
            if self._shown and time.monotonic() - self._shown_s < SHOWN_S:
                return self._shown
        return f"on the fallback engine {self._pipeline().fallback}" if self._fell_back else ""

    def counts(self) -> dict[str, int]:
        """Fault -> how often, for the report."""
        with self._lock:
            return dict(self._counts)

    def _note(self, seq: int, fault: str, step: str, sentence: str) -> None:
        named = fault.replace("_", " ")
        where = f", frame {seq}" if seq >= 0 else ""
        with self._lock:
            self._counts[fault] += 1
            self._shown, self._shown_s = f"engine fault ({named}{where}): {step}", time.monotonic()
        if self._journal is not None and self._log is not None:
            self._journal.add_engine_event(seq, fault, step, sentence)
            self._log(f"engine fault ({named}{where}): {sentence}; {step}")
