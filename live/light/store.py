"""Keeps the light-dose ledger in a run's journal, and takes it up again from there.

What is saved is whole at every instant: the sums in one row, the map block by block. Frames that
were exposed after the last save are found in the journal's own table of frames.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from drivers import Light, SettingsError
from live.light.dose import DoseLedger, Totals
from live.light.map import CELLS, DoseMap
from live.recording.errors import JournalError
from live.recording.journal import Journal
from live.recording.journal_reader import JournalReader
from live.recording.runfolder import RunFolder

LIGHT_KEY = "light"
"""Row of the table ``run`` that holds the sums, as JSON."""


def save(ledger: DoseLedger, journal: Journal, *, cells: bool = False) -> None:
    """Hand in what changed since the last save; ``cells``: the doses of the cells as well."""
    with ledger.lock:
        doses = ledger.map()
        totals = ledger.totals
        sums = {
            "dose": totals.dose,
            "light_s": totals.light_s,
            "frames": totals.frames,
            "last_seq": totals.last_seq,
            "by_preset": ledger.by_preset,
            "corner_um": doses.corner_um,
            "block_um": doses.block_um,
            "field_um": doses.field_um,
        }
        blocks = doses.changed()
        tracks = ledger.cell_table() if cells else None
    if blocks:
        rows = [(f"{bx},{by}", values.astype("<f8").tobytes()) for (bx, by), values in blocks]
        journal.put("light_places", rows)
    journal.set_run(**{LIGHT_KEY: json.dumps(sums)})
    if tracks is not None:
        ids, found = tracks
        journal.put("light_cells", list(zip(ids.tolist(), found.tolist(), strict=True)))


def carry_over(ledger: DoseLedger, run: Path) -> None:
    """Let ``ledger`` go on from what an earlier run of the same sample gave.

    Works on a run that was killed: light after its last save is taken from its frames.

    Raises
    ------
    SettingsError
        When ``run`` is no run, or kept no light.
    """
    folder = RunFolder.open(run)
    try:
        with JournalReader(folder.journal) as journal:
            facts = journal.run()
            if LIGHT_KEY not in facts:
                raise SettingsError(
                    f"light.carry_over: {run} kept no count of its light; leave this out"
                )
            sums = json.loads(facts[LIGHT_KEY])
            doses = _map(sums, journal)
            last_seq = int(sums["last_seq"])
            totals = Totals(sums["dose"], sums["light_s"], sums["frames"])
            ledger.restore(totals, sums["by_preset"], doses)
            for light in _since(journal, last_seq, sums.get("field_um")):
                ledger.add(light)
    except (JournalError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"light.carry_over: {run} cannot be read: {error}") from error


def _map(sums: dict[str, object], journal: JournalReader) -> DoseMap:
    def pair(key: str) -> tuple[float, float] | None:
        value = sums[key]
        return (float(value[0]), float(value[1])) if isinstance(value, list) else None

    doses = DoseMap(pair("corner_um"), pair("block_um"))
    for place, blob in journal.rows("SELECT place, dose FROM light_places"):
        bx, _, by = str(place).partition(",")
        values = np.frombuffer(blob, "<f8")  # type: ignore[call-overload]
        doses.put((int(bx), int(by)), values.reshape(CELLS, CELLS))
    return doses


def _since(journal: JournalReader, last_seq: int, field: object) -> list[Light]:
    """Light of the frames that the journal has after its last save of the ledger."""
    width, height = field if isinstance(field, list) else (0.0, 0.0)
    columns = "seq, x_um, y_um, channel, exposure_ms"
    query = (
        f"SELECT {columns} FROM frames WHERE seq > ? "
        f"UNION SELECT {columns} FROM arriving WHERE seq > ?"
    )
    return [
        Light(
            float(str(x or 0.0)),
            float(str(y or 0.0)),
            float(width),
            float(height),
            str(channel),
            float(str(exposure_ms)) / 1e3,
        )
        for _, x, y, channel, exposure_ms in journal.rows(query, (last_seq, last_seq))
    ]
