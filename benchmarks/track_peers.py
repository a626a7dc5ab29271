"""Runs one peer tracker over a saved movie; started in an environment that has that peer alone.

Takes the peer's name, a file with ``frame``, ``y`` and ``x`` of all detections in order of frame,
and the file to write: ``ms`` a frame, and an id for each detection.

Where the file also has ``reach_px``, a list of search radii, lineages are asked for in place of
times: for the K-th radius ``links_K`` is written, (n, 2) rows of detections, earlier and later,
with two links from one detection where it divides; or ``failed_K``, why there are none. Nothing is
missing from those movies, so no peer looks for tracks across a gap, which would cost it links.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Ran = tuple[float, list[tuple[int, int]]]
"""Seconds, and links between detections."""

GATE_PX = 12.0
ROUNDS = 3
"""The quietest one counts, as for ours."""


def laptrack(frame: Array, y: Array, x: Array, reach_px: float, lineage: bool) -> Ran:
    """LapTrack's array call, with gap closing and splitting as in its examples.

    For lineages daughters may lie twice as far, which was better for it in all movies tried.
    """
    frames = int(frame.max()) + 1
    points = [np.stack([y[frame == k], x[frame == k]], axis=1) for k in range(frames)]
    gate = reach_px**2
    linker = import_module("laptrack").LapTrack(
        cutoff=gate,
        splitting_cutoff=4 * gate if lineage else gate,  # squares of distances
        gap_closing_cutoff=False if lineage else gate,
    )
    start = time.perf_counter()
    graph = linker.predict(points)
    took = time.perf_counter() - start
    row_of = {
        (int(k), int(i)): int(r)
        for k in range(frames)
        for i, r in enumerate(np.flatnonzero(frame == k))
    }
    links = []
    for a, b in graph.edges:
        first, second = sorted(((int(a[0]), int(a[1])), (int(b[0]), int(b[1]))))
        links.append((row_of[first], row_of[second]))
    return took, links


def btrack(frame: Array, y: Array, x: Array, reach_px: float, lineage: bool) -> Ran:
    """btrack with the constant velocity model of its cell example.

    For lineages its optimiser runs too, with the hypotheses of the same example
    (``cell_config.json``), which it would fetch from the network. The example's lengths belong to
    a reach of 40 px and are scaled with ours, which was better for it than leaving them.
    """
    peer = import_module("btrack")
    models = import_module("btrack.models")
    steady = np.eye(6) + np.eye(6, k=3)
    half = np.array([[0.5, 0.5, 0.5, 1.0, 1.0, 1.0]])
    motion = models.MotionModel(
        measurements=3, states=6, A=steady, H=np.eye(3, 6), P=150 * np.diag([0.1] * 3 + [1.0] * 3),
        R=5 * np.eye(3), G=15 * half, dt=1.0, accuracy=7.5, max_lost=1 if lineage else 5,
        prob_not_assign=0.1,
    )  # fmt: skip
    scale = reach_px / 40
    hypotheses = models.HypothesisModel(
        hypotheses=["P_FP", "P_init", "P_term", "P_link", "P_branch", "P_dead"], lambda_time=5.0,
        lambda_dist=3.0 * scale, lambda_link=10.0 * scale, lambda_branch=50.0, eta=1e-10,
        theta_dist=20.0 * scale, theta_time=5.0, dist_thresh=40.0 * scale, time_thresh=2,
        apop_thresh=5, segmentation_miss_rate=0.1, apoptosis_rate=0.001, relax=True,
    )  # fmt: skip
    objects = []
    for number, (t, py, px) in enumerate(zip(frame, y, x, strict=True)):
        one = peer.btypes.PyTrackObject()
        one.ID, one.t, one.x, one.y, one.z, one.label = number, int(t), float(px), float(py), 0.0, 5
        objects.append(one)
    frames = int(frame.max()) + 1
    with peer.BayesianTracker(verbose=False) as tracker:
        config = peer.config.TrackerConfig(motion_model=motion, hypothesis_model=hypotheses)
        tracker.configure(config)
        tracker.max_search_radius = reach_px
        tracker.append(objects)
        tracker.volume = ((0, float(x.max()) + 1), (0, float(y.max()) + 1), (-1e5, 1e5))
        start = time.perf_counter()
        tracker.track(step_size=frames)
        if lineage and not tracker.optimise():
            raise RuntimeError("the optimiser found no solution")
        took = time.perf_counter() - start
        tracks = tracker.tracks
    members = {track.ID: [r for r in track.refs if r >= 0] for track in tracks}  # below 0: guessed
    links = [pair for refs in members.values() for pair in pairwise(refs)]
    for track in tracks:
        mother = members.get(track.parent)
        if track.parent != track.ID and mother and members[track.ID]:
            links.append((mother[-1], members[track.ID][0]))
    return took, links


def trackpy(frame: Array, y: Array, x: Array, reach_px: float, lineage: bool) -> Ran:
    """trackpy's nearest-neighbour linker, with its default solver; it knows no divisions."""
    peer = import_module("trackpy")
    peer.quiet()
    table = import_module("pandas").DataFrame(
        {"frame": frame, "y": y.astype(float), "x": x.astype(float)}
    )
    start = time.perf_counter()
    linked = peer.link(table, reach_px, memory=0 if lineage else 3)
    took = time.perf_counter() - start
    last: dict[int, int] = {}
    links = []
    for row, particle in enumerate(linked.sort_index()["particle"].to_numpy().tolist()):
        if particle in last:
            links.append((last[particle], row))
        last[particle] = row
    return took, links


PEERS: dict[str, Callable[[Array, Array, Array, float, bool], Ran]] = {
    "laptrack": laptrack,
    "btrack": btrack,
    "trackpy": trackpy,
}


def ids_of(links: list[tuple[int, int]], count: int) -> Array:
    """An id for each detection: that of the one it is linked to, or a new one."""
    ids = np.arange(1, count + 1)
    for first, second in sorted(links):
        ids[second] = ids[first]
    return ids


def lineages(name: str, movie: tuple[Array, Array, Array], reaches_px: list[float]) -> Any:
    """What is written for each radius."""
    found: dict[str, Any] = {}
    for k, reach_px in enumerate(reaches_px):
        try:
            _, links = PEERS[name](*movie, reach_px, True)
            found[f"links_{k}"] = np.array(sorted(links), np.int64).reshape(-1, 2)
        except Exception as error:  # a peer may give up where there are too many choices
            found[f"failed_{k}"] = f"{type(error).__name__}: {error}"
    return found


def main() -> None:
    """Entry point."""
    name, given, back = sys.argv[1:]
    with np.load(given) as saved:
        movie = (saved["frame"], saved["y"], saved["x"])
        reaches_px = saved["reach_px"].tolist() if "reach_px" in saved else []
    if reaches_px:
        np.savez(back, **lineages(name, movie, reaches_px))
        return
    rounds = [PEERS[name](*movie, GATE_PX, False) for _ in range(ROUNDS)]
    seconds, links = min(rounds, key=lambda one: one[0])
    per_frame = 1e3 * seconds / (int(movie[0].max()) + 1)
    np.savez(back, ms=per_frame, ids=ids_of(links, len(movie[0])))


if __name__ == "__main__":
    main()
