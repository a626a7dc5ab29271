"""What a rig that knows the truth says of a run: scores for the report, and ``truth.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drivers import Rig, TrueDivision
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder
from live.rules.decisions import Decision
from live.scoring.revisits import AskedFrame, Cells, Revisit, revisits, summary
from live.scoring.truth import score_divisions


def write_truth(
    rig: Rig,
    folder: RunFolder,
    decisions: Sequence[Decision],
    about_divisions: Sequence[Decision],
) -> Mapping[str, Any] | None:
    """Hold decisions against what really happened, keep it in the folder, and give the scores.

    None, and no file, for a rig that does not know. Raises ``JournalError`` for a broken journal.
    """
    divisions = getattr(rig, "divisions", None)
    if divisions is None:
        return None
    real: list[TrueDivision] = divisions()
    cells: Cells | None = getattr(rig, "cells_in", None)
    found: list[Revisit] = []
    if cells is not None and decisions:
        daughters = {one.parent: one.daughters for one in real}
        found = revisits(decisions, _asked_frames(folder.journal), cells, daughters)
    score = {**score_divisions(about_divisions, real).to_json(), **summary(found)}
    kept = {
        "score": score,
        "divisions": [asdict(division) for division in real],
        "revisits": [asdict(one) for one in found],
    }
    folder.truth.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return score


def _asked_frames(journal: Path) -> Iterator[AskedFrame]:
    """Frames that decisions asked for, in order."""
    with JournalReader(journal) as reader:
        query = "SELECT seq, decision, x_um, y_um FROM frames WHERE decision >= 0 ORDER BY seq"
        for seq, decision, x_um, y_um in reader.rows(query):
            if x_um is not None and y_um is not None:
                yield AskedFrame(
                    int(str(seq)), int(str(decision)), float(str(x_um)), float(str(y_um))
                )
