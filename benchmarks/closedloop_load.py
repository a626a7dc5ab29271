"""What else a rig's computer does: a model, a disk and a window at work, each a process of its own.

``python -m benchmarks.closedloop_load KIND`` works until it is ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("model", "disk", "window")
LONGEST_S = 900.0


@contextmanager
def busy() -> Iterator[None]:
    """All three beside what is inside the block."""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.closedloop_load"]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes += [
            subprocess.Popen([*command, kind], env=environment, start_new_session=True)
            for kind in KINDS
        ]
        time.sleep(5.0)
        for process, kind in zip(processes, KINDS, strict=True):
            if process.poll() is not None:
                raise RuntimeError(f"the {kind} load ended with {process.returncode} at once")
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait(10.0)


def model(until_s: float) -> None:
    """Segment noise with the shipped network, without a pause, on one thread."""
    from live.experiment.loading import load_pipeline_settings
    from models import ImageContext, load_pipeline

    image = np.random.default_rng(0).integers(100, 400, (512, 512), dtype=np.uint16)
    with load_pipeline(load_pipeline_settings("nuclei")) as pipeline:
        number = 0
        while time.monotonic() < until_s:
            pipeline.run(image, ImageContext(seq=number, time_s=float(number)))
            number += 1


def disk(until_s: float) -> None:
    """Write 8 MB at a time and wait until it is on the disk."""
    data = os.urandom(8 << 20)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "load.bin"
        while time.monotonic() < until_s:
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            time.sleep(0.05)


def window(until_s: float) -> None:
    """Draw a new picture 30 times a second in a window that needs no screen."""
    import pyqtgraph as pg

    application: Any = pg.mkQApp()
    view = pg.ImageView()
    view.show()
    image = np.random.default_rng(0).integers(0, 4000, (512, 512), dtype=np.uint16)
    while time.monotonic() < until_s:
        view.setImage(np.roll(image, 8, axis=0), autoLevels=False)
        application.processEvents()
        time.sleep(1 / 30)
    os._exit(0)  # Qt is not asked to tidy up after a load


if __name__ == "__main__":
    {"model": model, "disk": disk, "window": window}[sys.argv[1]](time.monotonic() + LONGEST_S)
