"""An engine plug-in for tests: the real ONNX Runtime, which fails on chosen calls.

The plan is ``FAULTS.json`` of the folder that ``PARFOCAL_TEST_FAULTS`` names. Nothing of this is in
the product: it comes in through ``parfocal.engines`` like any other person's engine. Calls are
counted over all processes, in a file, as a real fault of a device is not forgotten by a new process
either.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from models.engines.onnxruntime import OnnxRuntimeEngine
from models.errors import EngineDeviceLost, EngineOutOfMemory

ENTRY = "[parfocal.engines]\nfaulty = tests.faulty_engine:FaultyEngine\n"
VARIABLE = "PARFOCAL_TEST_FAULTS"


class FaultyEngine(OnnxRuntimeEngine):
    """Real answers, but for the calls that the plan names: ``{"nan": [7, 8], "lost": [20]}``.

    ``too_large`` is the most pixels of an image that fit into its memory.
    """

    def __init__(self, path: Path, precision: str = "fp32", threads: int = 1) -> None:
        super().__init__(path, precision, threads)
        folder = Path(os.environ[VARIABLE])
        self._plan: dict[str, Any] = json.loads((folder / "FAULTS.json").read_text())
        self._count = folder / "calls.txt"

    def run(self, inputs: Any) -> Any:
        call = int(self._count.read_text()) + 1 if self._count.exists() else 1
        self._count.write_text(str(call))
        if call >= self._plan.get("always_lost_from", 1 << 30) or call in self._plan.get(
            "lost", ()
        ):
            raise EngineDeviceLost("the device no longer answers (made up by the test)")
        if inputs["image"].size > self._plan.get("too_large", 1 << 62):
            raise EngineOutOfMemory("the device has no memory left (made up by the test)")
        if call in self._plan.get("foreign", ()):
            raise RuntimeError("something that no engine of ours raises")
        found = super().run(inputs)
        if call in self._plan.get("nan", ()):
            found["probability"] = np.full_like(found["probability"], np.nan)
        if call in self._plan.get("shape", ()):
            found["labels"] = found["labels"][:-1]
        if call in self._plan.get("missing", ()):
            del found["labels"]
        return found


def install(folder: Path) -> Path:
    """A folder that, on the path, makes ``plugin:faulty`` an installed engine."""
    about = folder / "site" / "faulty_engine-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-engine\nVersion: 1\n")
    (about / "entry_points.txt").write_text(ENTRY)
    return about.parent
