"""Tracking: ours beside LapTrack's array call, btrack, trackpy and a largest-overlap linker.

All get the same detections of one drawn movie of cells that wander. The peers' requirements do not
agree with each other, so each is installed into an environment of its own under the cache folder,
once; one that cannot be installed is named and left out. Times are per frame, ours without the
first frames, of the quietest of some rounds; how many links each got right stands beside them.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.result import ImageContext
from models.settings import TrackSettings
from models.tasks.measure import measure
from models.tracking import Tracker

PEERS: Final = {
    "laptrack": "laptrack==0.17.1",
    "btrack": "btrack==0.6.5",
    "trackpy": "trackpy==0.7",
}
BARS: Final = {"laptrack": 10.0, "btrack": 10.0}
COUNT: Final = 1000
BUDGET_MS: Final = 5.0
GROWTH: Final = (100, 300, 1000, 3000, 5000, 10_000)
FRAMES: Final = 13
WARM_UP: Final = 3
SPACING_PX: Final = 32
STEP_PX: Final = 1.5
INSTALL_S: Final = 600
RUN_S: Final = 300

Row = dict[str, Any]
Movie = list[tuple[NDArray[np.void], NDArray[np.int32]]]


def run(*, quick: bool = False) -> list[Row]:
    """Measure and return rows; ``quick`` leaves out the peers and the large movies."""
    head = {"bench": "track", "machine": f"{platform.processor()}, {os.cpu_count()} cores"}
    movie = wandering_cells(COUNT)
    took, ids = _ours(movie, 1 if quick else 9)
    f1 = links_right(ids, [table["label"] for table, _ in movie])
    ours = {"ours": f"tracker, link F1 {f1:.4f}", "value_ours": took}
    case = f"{COUNT} objects a frame, {FRAMES} frames"
    rows: list[Row] = [
        {
            **head, **ours, "case": f"{case}, within the budget", "peer": "budget of a frame",
            "value_peer": BUDGET_MS, "unit": "ms", "ratio": BUDGET_MS / took, "bar": 1.0,
        }
    ]  # fmt: skip
    took_overlap, ids = _largest_overlap(movie)
    rows.append(_beside(head, ours, case, "largest overlap", took_overlap, ids, movie, None))
    if quick:
        return rows
    for name in PEERS:
        try:
            took_peer, ids = _peer(name, movie)
        except (OSError, subprocess.SubprocessError) as error:
            rows.append({**head, "case": f"beside {name}", "left_out": why_not(error)})
            continue
        rows.append(_beside(head, ours, case, name, took_peer, ids, movie, BARS.get(name)))
    for count in GROWTH:
        grown, _ = _ours(wandering_cells(count), 5)
        part = took * count / COUNT
        rows.append(
            {
                **head, "case": f"{count} objects a frame", "ours": "tracker", "value_ours": grown,
                "peer": f"in proportion to {COUNT}", "value_peer": part, "unit": "ms",
                "ratio": part / grown,
            }
        )  # fmt: skip
    return rows


def wandering_cells(count: int) -> Movie:
    """Object tables and label images of discs that wander, each cell under its own label."""
    random = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(count)))
    y, x = np.divmod(random.permutation(side**2)[:count], side)
    place = (np.stack([y, x], axis=1) + 1.0) * SPACING_PX
    place += random.uniform(-6, 6, place.shape)
    radius = random.uniform(7, 11, count)
    size = (side + 1) * SPACING_PX
    movie: Movie = []
    reach = np.arange(-12, 13)
    for frame in range(FRAMES):
        labels = np.zeros((size, size), np.int32)
        for label, (at, r) in enumerate(zip(place, radius, strict=True), 1):
            rows, columns = np.rint(at[0]).astype(int) + reach, np.rint(at[1]).astype(int) + reach
            inside = (rows[:, None] - at[0]) ** 2 + (columns - at[1]) ** 2 < r**2
            py, px = np.nonzero(inside)
            py, px = np.clip(rows[py], 0, size - 1), np.clip(columns[px], 0, size - 1)
            labels[py, px] = label
        table = measure(
            labels, labels.astype(np.uint16), np.ones(count, np.float32), ImageContext(frame, 0.0)
        )
        movie.append((table, labels))
        place = place + random.normal(0, STEP_PX, place.shape)
    return movie


def links_right(ids: list[NDArray[np.int64]], cells: list[NDArray[np.int32]]) -> float:
    """F1 of links between one frame and the next."""
    told = right = true = 0
    for frame in range(1, len(ids)):
        track_of = dict(zip(ids[frame - 1].tolist(), cells[frame - 1].tolist(), strict=True))
        before = set(cells[frame - 1].tolist())
        for track, cell in zip(ids[frame].tolist(), cells[frame].tolist(), strict=True):
            true += cell in before
            told += track in track_of
            right += track_of.get(track) == cell
    return 2 * right / max(told + true, 1)


def _ours(movie: Movie, rounds: int) -> tuple[float, list[NDArray[np.int64]]]:
    """Median ms a frame of the quietest round, and the ids."""
    medians: list[float] = []
    ids: list[NDArray[np.int64]] = []
    for _ in range(rounds):
        tracker, ids = Tracker(TrackSettings()), []
        times = []
        for frame, (table, labels) in enumerate(movie):
            start = time.perf_counter()
            update = tracker.update(table, labels, ImageContext(frame, float(frame)))
            times.append(1e3 * (time.perf_counter() - start))
            ids.append(update.track_id)
        medians.append(statistics.median(times[WARM_UP:]))
    return min(medians), ids


def _largest_overlap(movie: Movie) -> tuple[float, list[NDArray[np.int64]]]:
    """Each object takes the id of the object before it that it shares most pixels with."""
    ids = [movie[0][0]["label"].astype(np.int64)]
    next_id, times = int(ids[0].max()) + 1, []
    for (before, old), (now, new) in pairwise(movie):
        start = time.perf_counter()
        both = (old > 0) & (new > 0)
        pairs, shared = np.unique(new[both].astype(np.int64) << 32 | old[both], return_counts=True)
        id_of = dict(zip(before["label"].tolist(), ids[-1].tolist(), strict=True))
        best: dict[int, tuple[int, int]] = {}
        for pair, count in zip(pairs.tolist(), shared.tolist(), strict=True):
            best[pair >> 32] = max(best.get(pair >> 32, (0, 0)), (count, pair & 0xFFFFFFFF))
        given, taken = np.zeros(len(now), np.int64), set()
        for row, label in enumerate(now["label"].tolist()):
            track = id_of.get(best[label][1], 0) if label in best else 0
            if not track or track in taken:
                track, next_id = next_id, next_id + 1
            taken.add(track)
            given[row] = track
        ids.append(given)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP - 1 :]), ids


def run_peer(name: str, tables: list[NDArray[np.void]], **more: Any) -> dict[str, NDArray[Any]]:
    """What `benchmarks.track_peers` writes; raises when the peer cannot be made or fails.

    Parameters
    ----------
    name
        One of `PEERS`; it runs in its own environment, which is made on first use.
    tables
        Objects of each frame.
    more
        Given to it too.
    """
    python = _environment(name)
    with tempfile.TemporaryDirectory() as folder:
        given, back = Path(folder, "given.npz"), Path(folder, "back.npz")
        np.savez(
            given,
            frame=np.repeat(np.arange(len(tables)), [len(table) for table in tables]),
            y=np.concatenate([table["y_px"] for table in tables]),
            x=np.concatenate([table["x_px"] for table in tables]),
            **more,
        )
        script = Path(__file__).with_name("track_peers.py")
        subprocess.run(
            [str(python), str(script), name, str(given), str(back)],
            check=True, timeout=RUN_S, capture_output=True, text=True,
        )  # fmt: skip
        with np.load(back) as found:
            return dict(found)


def _peer(name: str, movie: Movie) -> tuple[float, list[NDArray[np.int64]]]:
    tables = [table for table, _ in movie]
    found = run_peer(name, tables)
    cuts = np.cumsum([len(table) for table in tables])[:-1]
    return float(found["ms"]), np.split(found["ids"].astype(np.int64), cuts)


def _environment(name: str) -> Path:
    """Python of the peer's own environment, made on first use."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    folder = Path(base) if base else Path.home() / ".cache"
    folder = folder / "parfocal" / "peers" / PEERS[name].replace("==", "-")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "installed"
    if not ready.exists():
        quiet: dict[str, Any] = {"check": True, "capture_output": True, "text": True}
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], timeout=120, **quiet)
        install = [str(python), "-m", "pip", "install", "--quiet", PEERS[name]]
        subprocess.run(install, timeout=INSTALL_S, **quiet)
        ready.touch()
    return python


def _beside(
    head: Row, ours: Row, case: str, name: str, took: float, ids: Any, movie: Movie,
    bar: float | None,
) -> Row:  # fmt: skip
    f1 = links_right(ids, [table["label"] for table, _ in movie])
    row = {
        **head, **ours, "case": f"{case}, beside {name}", "peer": f"{name}, link F1 {f1:.4f}",
        "value_peer": took, "unit": "ms", "ratio": took / ours["value_ours"],
    }  # fmt: skip
    return row if bar is None else {**row, "bar": bar}


def why_not(error: Exception) -> str:
    """The last line of what a peer said before it failed."""
    text = getattr(error, "stderr", None) or str(error)
    return ([line for line in text.splitlines() if line.strip()] or ["no reason given"])[-1][:200]


def main() -> None:
    """Print the rows as a table."""
    for row in run(quick="--quick" in sys.argv):
        if "left_out" in row:
            sys.stdout.write(f"{row['case']}: left out, {row['left_out']}\n")
            continue
        sys.stdout.write(
            f"{row['case']:48s} {row['ours']:28s} {row['value_ours']:8.2f} ms   "
            f"{row['peer']:32s} {row['value_peer']:8.2f} ms   x{row['ratio']:.1f}\n"
        )


if __name__ == "__main__":
    main()
