"""What a raw image says of each of its frames, taken from the journal when the image is complete.

The journal has it all along. Kept in memory for the image until then, it would be a kilobyte for
each frame of a run that may last for days.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from live.recording.errors import StoreError
from live.recording.journal_reader import JournalReader

_QUERY = (
    "SELECT t_index, delta_s, exposure_ms, x_um, y_um, z_um, seq, channel FROM frames "
    "WHERE store = ? ORDER BY t_index"
)


def frame_table(journal: JournalReader, store: str) -> list[dict[str, Any]]:
    """Frames of one raw image whose pixels are whole, as ome-writers writes them.

    Returns
    -------
    list
        For each frame ``delta_t`` and ``exposure_time`` in s, ``position_x``, ``_y`` and ``_z`` in
        µm as far as they are known, ``seq``, ``channel`` and ``storage_index``, its place in the
        image.
    """
    found = []
    for t_index, delta_s, exposure_ms, x_um, y_um, z_um, seq, channel in journal.rows(
        _QUERY, (store,)
    ):
        places = {"position_x": x_um, "position_y": y_um, "position_z": z_um}
        found.append(
            {
                "delta_t": delta_s,
                "exposure_time": float(str(exposure_ms)) / 1e3,
                **{axis: um for axis, um in places.items() if um is not None},
                "seq": seq,
                "channel": channel,
                "storage_index": [t_index],
            }
        )
    return found


def put_into_image(
    raw: Path, table: list[dict[str, Any]], more: Mapping[str, Any] | None = None
) -> None:
    """Write the table into the image's ``zarr.json``, and ``more`` of its attributes.

    Raises
    ------
    StoreError
        When the file cannot be read or replaced; it is as it was then.
    """
    path = raw / "zarr.json"
    partial = path.with_name("zarr.json.partial")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        attributes = document.setdefault("attributes", {})
        attributes.setdefault("ome_writers", {})["frame_metadata"] = table
        attributes.update(more or {})
        partial.write_text(json.dumps(document), encoding="utf-8")
        os.replace(partial, path)  # noqa: PTH105 - atomic everywhere, unlike Path.rename
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} could not be completed: {error}") from error
