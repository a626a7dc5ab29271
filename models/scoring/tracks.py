"""How well tracks agree with the truth, in the Cell Tracking Challenge's own measures.

TRA, DET and LNK are computed by ``traccuracy`` (Matula et al., PLoS ONE 2015, doi
10.1371/journal.pone.0144959; LNK: Maška et al., Nat Methods 2023); it agrees to every digit with
``py-ctcmetrics``. Division F1 counts a division as found when mother and daughters match (one to
one, intersection over union of at least 0.5) in the same frames (frame buffer 0), and once more
with one frame of tolerance (frame buffer 1).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.scoring.contingency import contingency


class Fate(IntEnum):
    """What a comparison says of an object, a link or a division."""

    NONE = 0
    """Nothing to say: an object that is new or does not divide, a link of one without partner."""
    RIGHT = 1
    WRONG = 2
    """In the truth and not found, or found and not in the truth."""
    OTHER_KIND = 3
    """A link that exists, but within a track where a division is, or the reverse; a division with
    other daughters."""


@dataclass(frozen=True, slots=True)
class TrackScores:
    """Agreement of a result with the truth; all but the counts are 0 to 1, 1 is perfect."""

    tra: float
    det: float
    lnk: float
    division_f1: float
    divisions_true: int
    """Divisions found where and when they were."""
    divisions_false: int
    divisions_missed: int
    divisions_other: int = 0
    """Divisions found with other daughters: they count as false and as missed in F1."""
    links_true: int = 0
    links_false: int = 0
    """Among objects that are matched, as LNK counts them."""
    links_missed: int = 0
    links_other: int = 0
    """Right, but within a track where a division is, or the reverse."""
    objects_false: int = 0
    objects_missed: int = 0
    objects_merged: int = 0
    """Found objects that cover several true ones."""
    division_f1_within_1: float = float("nan")
    """Where a division may also be found a frame earlier or later: annotators differ by as much."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """The tracks of one side of a comparison, and what became of each part.

    All arrays are (n,), one entry an object, in order of frame, then of number.
    """

    frame: NDArray[np.int32]
    number: NDArray[np.int32]
    """Of its track, as in the label image."""
    before: NDArray[np.int64]
    """Place of the object that it came from; -1 for one that is new."""
    partner: NDArray[np.int64]
    """Place of the object of the other side that matches it; -1 for none."""
    found: NDArray[np.uint8]
    """`Fate` of the object."""
    link: NDArray[np.uint8]
    """`Fate` of the link to ``before``."""
    division: NDArray[np.uint8]
    """`Fate` of the division of the object."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackComparison:
    """Scores, and where each error is."""

    scores: TrackScores
    true: Forest
    result: Forest


def track_scores(result: Path, truth: Path, truth_table: Path) -> TrackScores:
    """Scores of `compare_tracks` alone."""
    return compare_tracks(result, truth, truth_table).scores


def compare_tracks(result: Path, truth: Path, truth_table: Path) -> TrackComparison:
    """Score a folder of ``mask*.tif`` and ``res_track.txt``, and say where the errors are.

    Parameters
    ----------
    result
        Folder of the result.
    truth
        Folder with ``man_track*.tif``.
    truth_table
        ``man_track.txt``.

    Raises
    ------
    ModelError
        When the ``score`` extra is missing, or the files break the format's rules.
    """
    try:
        loaders = importlib.import_module("traccuracy.loaders")
        matchers = importlib.import_module("traccuracy.matchers")
        metrics = importlib.import_module("traccuracy.metrics")
        run = importlib.import_module("traccuracy").run_metrics
        # its watchdog thread would outlive the call
        importlib.import_module("tqdm").tqdm.monitor_interval = 0
    except ImportError as error:
        raise ModelError(
            "track scores need traccuracy, which is not installed; "
            "install it with: pip install 'parfocal[score]'"
        ) from error
    quiet = io.StringIO()
    before = logging.root.manager.disable
    try:
        logging.disable(logging.WARNING)
        with contextlib.redirect_stderr(quiet), warnings.catch_warnings():
            # its progress bars and the deprecations of what it imports are not the user's concern
            warnings.simplefilter("ignore")
            values, matched = [], []
            # a division can only be compared where each object has one partner at the most
            for matcher, metric in (
                (matchers.CTCMatcher(), metrics.CTCMetrics()),
                (
                    matchers.IOUMatcher(iou_threshold=0.5, one_to_one=True),
                    metrics.DivisionMetrics(max_frame_buffer=1),
                ),
            ):
                # loaded anew: scoring writes its findings into the graphs
                true = loaders.load_ctc_data(str(truth), str(truth_table))
                found = loaders.load_ctc_data(str(result), str(result / "res_track.txt"))
                scored, graphs = run(true, found, matcher, [metric])
                values += scored
                matched.append(graphs)
    except (ValueError, TypeError, AssertionError, OSError) as error:
        raise ModelError(f"{result} cannot be scored against {truth}: {error}") from error
    finally:
        logging.disable(before)
    ctc, divisions = values[0]["results"], values[1]["results"]["Frame Buffer 0"]
    near = values[1]["results"]["Frame Buffer 1"]
    linked, divided = matched
    forests = (
        _forest(linked.gt_graph, divided.gt_graph, linked.pred_graph, linked.gt_pred_map),
        _forest(linked.pred_graph, divided.pred_graph, linked.gt_graph, linked.pred_gt_map),
    )
    scores = TrackScores(
        tra=_number(ctc["TRA"]),
        det=_number(ctc["DET"]),
        lnk=_number(ctc["LNK"]),
        division_f1=_number(divisions["Division F1"]),
        division_f1_within_1=_number(near["Division F1"]),
        divisions_true=int(divisions["True Positive Divisions"]),
        divisions_false=int(divisions["False Positive Divisions"]),
        divisions_missed=int(divisions["False Negative Divisions"]),
        divisions_other=int(divisions["Wrong Children Divisions"]),
        links_true=int(np.count_nonzero(forests[0].link == Fate.RIGHT)),
        links_false=int(ctc["fp_edges"]),
        links_missed=int(ctc["fn_edges"]),
        links_other=int(ctc["ws_edges"]),
        objects_false=int(ctc["fp_nodes"]),
        objects_missed=int(ctc["fn_nodes"]),
        objects_merged=int(ctc["ns_nodes"]),
    )
    return TrackComparison(scores, *forests)


def _forest(linked: Any, divided: Any, other: Any, partners: dict[Any, list[Any]]) -> Forest:
    """One side's graph, with the findings of both comparisons, as arrays."""
    names = _in_order(linked.graph)
    place = {name: n for n, name in enumerate(names)}
    there = {name: n for n, name in enumerate(_in_order(other.graph))}
    count = len(names)
    forest = Forest(
        frame=np.array([linked.graph.nodes[name]["t"] for name in names], np.int32),
        number=np.array([linked.graph.nodes[name]["segmentation_id"] for name in names], np.int32),
        before=np.full(count, -1, np.int64),
        partner=np.array([there[partners[n][0]] if n in partners else -1 for n in names], np.int64),
        found=np.full(count, Fate.RIGHT, np.uint8),
        link=np.full(count, Fate.NONE, np.uint8),
        division=np.full(count, Fate.NONE, np.uint8),
    )
    for name, said in linked.graph.nodes(data=True):
        if said.get("ctc_fp") or said.get("ctc_fn"):
            forest.found[place[name]] = Fate.WRONG
        elif said.get("ns"):
            forest.found[place[name]] = Fate.OTHER_KIND
    for first, last, said in linked.graph.edges(data=True):
        at = place[last]
        forest.before[at] = place[first]
        wrong = said.get("ctc_fp") or said.get("ctc_fn")
        forest.link[at] = Fate.WRONG if wrong else Fate.RIGHT
        if said.get("wrong_semantic"):
            forest.link[at] = Fate.OTHER_KIND
    ends = np.flatnonzero(forest.before >= 0)
    sure = (forest.found[ends] == Fate.RIGHT) & (forest.found[forest.before[ends]] == Fate.RIGHT)
    loose = ends[~sure & (forest.link[ends] == Fate.RIGHT)]
    forest.link[loose] = Fate.NONE
    for name, said in divided.graph.nodes(data=True):
        for flag, fate in (
            ("tp_division", Fate.RIGHT), ("fp_division", Fate.WRONG),
            ("fn_division", Fate.WRONG), ("wrong_child_division", Fate.OTHER_KIND),
        ):  # fmt: skip
            if said.get(flag):
                forest.division[place[name]] = fate
    return forest


def _in_order(graph: Any) -> list[Any]:
    nodes = graph.nodes
    return sorted(nodes, key=lambda name: (nodes[name]["t"], nodes[name]["segmentation_id"]))


def segmentation_accuracy(
    pairs: Iterable[tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]],
) -> float:
    """SEG: mean intersection over union of the true objects, 0 for one that is not matched.

    An object is matched by the one that covers more than half of it, as the Cell Tracking
    Challenge has it; (predicted, true) label images. NaN where there is no true object.
    """
    values = [np.zeros(0)]
    for pred, true in pairs:
        common = contingency(pred, true)
        best = np.zeros(common.true_px.size)
        covers = 2 * common.shared_px > common.true_px[common.column]
        best[common.column[covers]] = common.iou[covers]
        values.append(best)
    every = np.concatenate(values)
    return float(every.mean()) if every.size else float("nan")


def _number(value: Any) -> float:
    """NaN where there was nothing to count."""
    return float(value) if value is not None else float("nan")
