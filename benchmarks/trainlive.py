"""Does training beside a run slow the camera? One run, its trainer held and let go in turn.

What else the machine does changes by the minute, so the two are measured side by side: a few
seconds with the trainer at work, a few with it suspended, again and again in one run.
``python -m benchmarks.trainlive`` prints both, and ends with code 1 when a frame was lost, or more
than a tenth of the frames per second.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from drivers import SettingsError
from live.denoising.frames import training_frames
from live.experiment.loading import load_pipeline_settings
from live.experiment.settings import ExperimentSettings
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder
from live.session import Session

MOST_SLOWER = 0.10
FEWEST_FRAMES = 20
BEGIN_S = 120.0
"""Longest wait for the first frames, and for the trainer to begin."""
LEAST_CPU_S = 1.0
"""Processor time after which the trainer is past loading its libraries."""
LAST_WORD_S = 60.0

Span = tuple[int, int]


class Director(threading.Thread):
    """Asks for a training, then holds the trainer and lets it go in turn.

    Parameters
    ----------
    session
        That runs on the main thread.
    out
        Its folder.
    pairs, window_s
        How often and for how long each way is measured.
    """

    def __init__(self, session: Session, out: Path, pairs: int, window_s: float) -> None:
        super().__init__(name="director")
        self._session, self._out, self._pairs, self._window_s = session, out, pairs, window_s
        self.at_work: list[Span] = []
        self.held: list[Span] = []
        self.cpu_s = 0.0
        """Processor time that the trainer got while it was let go."""
        self.problem = ""

    def run(self) -> None:
        """Called by ``start``."""
        try:
            self._direct()
        except (RuntimeError, psutil.Error) as error:
            self.problem = str(error)
        self._session.end("the benchmark is over")

    def _direct(self) -> None:
        _await("frames", lambda: _frames(self._out) >= FEWEST_FRAMES)
        seconds = max(3 * self._pairs * self._window_s, 60.0)
        if refused := self._session.train_denoiser(seconds, "the benchmark"):
            raise RuntimeError(f"no training: {refused}")
        _await("the trainer", lambda: _trainer() is not None)
        trainer = _trainer()
        assert trainer is not None
        _await("the training", lambda: sum(trainer.cpu_times()[:2]) > LEAST_CPU_S)
        for _ in range(self._pairs):
            before = sum(trainer.cpu_times()[:2])
            self.at_work.append(self._window())
            self.cpu_s += sum(trainer.cpu_times()[:2]) - before
            trainer.suspend()
            try:
                self.held.append(self._window())
            finally:
                trainer.resume()

    def _window(self) -> Span:
        start = time.monotonic_ns()
        time.sleep(self._window_s)
        return start, time.monotonic_ns()


def measure(pipeline: str, pairs: int, window_s: float, side: int = 256) -> dict[str, Any]:
    """Run the simulated rig as fast as it goes, with a training beside it; blocks."""
    settings = ExperimentSettings.model_validate(
        {
            "name": "trainlive",
            "rig": {"driver": "simulated", "seed": 5, "width": side, "height": side},
            "pipeline": load_pipeline_settings(pipeline),
            "plan": {
                "channels": [{"config": "DAPI", "exposure": 20}],
                "time_plan": {"interval": 0.05, "loops": 1_000_000},
            },
            "record": {"reserve_mb": 10},
        }
    )
    with tempfile.TemporaryDirectory() as made:
        out = Path(made) / "run"
        most_s = 2 * BEGIN_S + 2 * pairs * window_s + LAST_WORD_S
        session = Session(settings, RunFolder.create(out), seconds=most_s)
        director = Director(session, out, pairs, window_s)
        director.start()
        report = session.run()
        director.join(LAST_WORD_S)
        if director.problem:
            raise RuntimeError(director.problem)
        return {
            "frames": report.frames,
            "cpu_share": director.cpu_s / (pairs * window_s),
            "at_work": _rates(out, director.at_work),
            "held": _rates(out, director.held),
        }


def _await(what: str, there: Any) -> None:
    deadline = time.monotonic() + BEGIN_S
    while not there():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come in {BEGIN_S:.0f} s")
        time.sleep(0.2)


def _frames(out: Path) -> int:
    try:
        return len(training_frames(out).pixels)
    except SettingsError:
        return 0  # the run is only beginning


def _trainer() -> psutil.Process | None:
    for child in psutil.Process().children():
        if "live.denoising.trainer" in child.cmdline():
            return child
    return None


def _rates(out: Path, spans: list[Span]) -> tuple[float, float]:
    """Captured and analysed frames per second within some spans of time."""
    total_s = sum(end - start for start, end in spans) / 1e9
    within = " OR ".join(f"captured_ns BETWEEN {start} AND {end}" for start, end in spans)
    with JournalReader(out / "journal.sqlite") as journal:
        captured = journal.count("frames", within)
        analysed = journal.count("results", f"seq IN (SELECT seq FROM frames WHERE {within})")
    return captured / total_s, analysed / total_s


def run(pipeline: str = "denoise", pairs: int = 6, window_s: float = 5.0) -> list[dict[str, Any]]:
    """For ``parfocal bench trainlive``: frames per second with the trainer at work and held."""
    found = measure(pipeline, pairs, window_s)
    frames = found["frames"]
    print(f"{frames['captured']} frames captured, {frames['recorded']} recorded; the trainer got "
          f"{found['cpu_share']:.0%} of a core")  # fmt: skip
    rows = [
        {
            "bench": "trainlive", "case": case, "ours": "trainer at work",
            "peer": "trainer held", "value_ours": round(found["at_work"][k], 3),
            "value_peer": round(found["held"][k], 3), "unit": "frames/s",
            "ratio": round(found["at_work"][k] / max(found["held"][k], 1e-9), 3),
        }
        for k, case in enumerate(("captured", "analysed"))
    ]  # fmt: skip
    lost = frames["captured"] - frames["recorded"]
    rows.append(
        {
            "bench": "trainlive", "case": "frames lost", "ours": "trainer at work",
            "peer": "allowed", "value_ours": lost, "value_peer": 0, "unit": "frames",
            "ratio": None,
        }
    )  # fmt: skip
    return rows


def main() -> int:
    """Print the table; 1 when the bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", default="denoise", help="name or file")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--window", type=float, default=5.0, help="seconds each way")
    asked = parser.parse_args()
    rows = run(asked.pipeline, asked.pairs, asked.window)
    for row in rows:
        print(f"{row['case']}: {row['value_peer']} {row['peer']}, {row['value_ours']} "
              f"{row['ours']}, ratio {row['ratio']}")  # fmt: skip
    good = rows[2]["value_ours"] == 0 and rows[0]["ratio"] >= 1 - MOST_SLOWER
    print("met" if good else "MISSED", "bar: no frame lost, at most a tenth fewer frames/s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
