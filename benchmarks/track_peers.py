"""Runs one peer tracker over a saved movie; started in an environment that has that peer alone.

Takes the peer's name, a file with ``frame``, ``y`` and ``x`` of all detections in order of frame,
and the file to write: ``ms`` a frame, and an id for each detection.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Ran = tuple[float, Array]

GATE_PX = 12.0
ROUNDS = 3
"""The quietest one counts, as for ours."""


def laptrack(frame: Array, y: Array, x: Array) -> Ran:
    """LapTrack's array call, with gap closing and splitting as in its examples."""
    frames = int(frame.max()) + 1
    points = [np.stack([y[frame == k], x[frame == k]], axis=1) for k in range(frames)]
    gate = GATE_PX**2
    linker = import_module("laptrack").LapTrack(
        cutoff=gate, splitting_cutoff=gate, gap_closing_cutoff=gate
    )
    start = time.perf_counter()
    graph = linker.predict(points)
    took = time.perf_counter() - start
    row_of = {
        (int(k), int(i)): int(r)
        for k in range(frames)
        for i, r in enumerate(np.flatnonzero(frame == k))
    }
    ids = np.arange(1, len(frame) + 1)
    for a, b in sorted(graph.edges, key=lambda edge: min(edge)):
        first, second = sorted(((int(a[0]), int(a[1])), (int(b[0]), int(b[1]))))
        ids[row_of[second]] = ids[row_of[first]]
    return took / frames, ids


def btrack(frame: Array, y: Array, x: Array) -> Ran:
    """btrack with the constant velocity model of its cell example, tracking only."""
    peer = import_module("btrack")
    steady = np.eye(6) + np.eye(6, k=3)
    half = np.array([[0.5, 0.5, 0.5, 1.0, 1.0, 1.0]])
    motion = import_module("btrack.models").MotionModel(
        measurements=3, states=6, A=steady, H=np.eye(3, 6), P=150 * np.diag([0.1] * 3 + [1.0] * 3),
        R=5 * np.eye(3), G=15 * half, dt=1.0, accuracy=7.5, max_lost=5, prob_not_assign=0.1,
    )  # fmt: skip
    objects = []
    for number, (t, py, px) in enumerate(zip(frame, y, x, strict=True)):
        one = peer.btypes.PyTrackObject()
        one.ID, one.t, one.x, one.y, one.z, one.label = number, int(t), float(px), float(py), 0.0, 5
        objects.append(one)
    frames = int(frame.max()) + 1
    with peer.BayesianTracker(verbose=False) as tracker:
        tracker.configure(peer.config.TrackerConfig(motion_model=motion))
        tracker.max_search_radius = GATE_PX
        tracker.append(objects)
        tracker.volume = ((0, float(x.max()) + 1), (0, float(y.max()) + 1), (-1e5, 1e5))
        start = time.perf_counter()
        tracker.track(step_size=frames)
        took = time.perf_counter() - start
        refs = tracker.refs
    ids = np.arange(1, len(frame) + 1) + len(refs) + 1
    for track, members in enumerate(refs, 1):
        real = [r for r in members if r >= 0]
        ids[real] = track
    return took / frames, ids


def trackpy(frame: Array, y: Array, x: Array) -> Ran:
    """trackpy's nearest-neighbour linker, with its default solver."""
    peer = import_module("trackpy")
    peer.quiet()
    table = import_module("pandas").DataFrame(
        {"frame": frame, "y": y.astype(float), "x": x.astype(float)}
    )
    start = time.perf_counter()
    linked = peer.link(table, GATE_PX, memory=3)
    took = time.perf_counter() - start
    return took / (int(frame.max()) + 1), linked.sort_index()["particle"].to_numpy() + 1


PEERS: dict[str, Callable[[Array, Array, Array], Ran]] = {
    "laptrack": laptrack,
    "btrack": btrack,
    "trackpy": trackpy,
}


def main() -> None:
    """Entry point."""
    name, given, back = sys.argv[1:]
    with np.load(given) as movie:
        rounds = [PEERS[name](movie["frame"], movie["y"], movie["x"]) for _ in range(ROUNDS)]
    seconds, ids = min(rounds, key=lambda one: one[0])
    np.savez(back, ms=1e3 * seconds, ids=ids)


if __name__ == "__main__":
    main()
