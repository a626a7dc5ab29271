"""One measurement: ``python -m live.doctor.probe KIND QUESTION ANSWER``.

``QUESTION`` is JSON; ``ANSWER`` the file that gets ``{"found": {...}}`` or ``{"failed": "..."}``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from live.errors import message_of
from live.processes.pastcaches import begin_past_caches

PROBES = {
    "sample": "live.doctor.samples:take_sample",
    "camera": "live.doctor.cameras:time_camera",
    "handover": "live.doctor.handover:time_handover",
    "reader": "live.doctor.handover:read_frames",
    "network": "live.doctor.networks:time_network",
    "pipeline": "live.doctor.analysis:time_pipeline",
    "sharing": "live.doctor.sharing:time_sharing",
    "spin": "live.doctor.sharing:spin",
    "writer": "live.doctor.writer:time_writer",
    "window": "live.doctor.windows:time_window",
}
"""Name -> function; each takes plain values and returns plain values."""
CAMERAS_OWN = ("camera", "handover")
"""What the process that owns the camera does."""

Probe = Callable[..., dict[str, Any]]


def main() -> int:
    """Entry point; 0 also when the answer is why nothing was found."""
    kind, question, target = sys.argv[1:4]
    if kind in CAMERAS_OWN:
        begin_past_caches()
    module, _, name = PROBES[kind].partition(":")
    answer: dict[str, Any]
    try:
        measure: Probe = getattr(import_module(module), name)
        answer = {"found": measure(**json.loads(question))}
    except Exception as error:
        # Whatever it is, a line of the table says it; the doctor goes on.
        answer = {"failed": f"{message_of(error)}"}
    Path(target).write_text(json.dumps(answer), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
