"""How well tracks agree with the truth, in the Cell Tracking Challenge's own measures.

TRA, DET and LNK are computed by ``traccuracy`` (Matula et al., PLoS ONE 2015, doi
10.1371/journal.pone.0144959; LNK: Maška et al., Nat Methods 2023); it agrees to every digit with
``py-ctcmetrics``. Division F1 counts a division as found when mother and daughters match (one to
one, intersection over union of at least 0.5) in the same frames (frame buffer 0).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.scoring.contingency import contingency


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


def track_scores(result: Path, truth: Path, truth_table: Path) -> TrackScores:
    """Score a folder of ``mask*.tif`` and ``res_track.txt``.

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
            values = []
            # a division can only be compared where each object has one partner at the most
            for matcher, metric in (
                (matchers.CTCMatcher(), metrics.CTCMetrics()),
                (
                    matchers.IOUMatcher(iou_threshold=0.5, one_to_one=True),
                    metrics.DivisionMetrics(max_frame_buffer=0),
                ),
            ):
                # loaded anew: scoring writes its findings into the graphs
                true = loaders.load_ctc_data(str(truth), str(truth_table))
                found = loaders.load_ctc_data(str(result), str(result / "res_track.txt"))
                values += run(true, found, matcher, [metric])[0]
    except (ValueError, TypeError, AssertionError, OSError) as error:
        raise ModelError(f"{result} cannot be scored against {truth}: {error}") from error
    finally:
        logging.disable(before)
    ctc, divisions = values[0]["results"], values[1]["results"]["Frame Buffer 0"]
    return TrackScores(
        tra=_number(ctc["TRA"]),
        det=_number(ctc["DET"]),
        lnk=_number(ctc["LNK"]),
        division_f1=_number(divisions["Division F1"]),
        divisions_true=int(divisions["True Positive Divisions"]),
        divisions_false=int(divisions["False Positive Divisions"]),
        divisions_missed=int(divisions["False Negative Divisions"]),
    )


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
