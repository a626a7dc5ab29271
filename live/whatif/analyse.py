"""The recorded raw frames through the run's pipeline again, as ``parfocal infer`` reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorstore
from numpy.typing import NDArray

from live.errors import UsageError
from live.experiment.settings import ExperimentSettings
from live.processes.inference import context_of
from live.whatif.recorded import RecordedFrame, RecordedRun, Seen
from models import load_pipeline


@contextlib.contextmanager
def analysed(
    run: RecordedRun, settings: ExperimentSettings
) -> Iterator[Callable[[RecordedFrame], Seen | None]]:
    """What the pipeline says now; the frames must be asked for in the order of the run.

    Raises
    ------
    ModelError
        When the pipeline does not open here.
    UsageError
        When pixels cannot be read.
    """
    stores: dict[str, Any] = {}

    def pixels_of(frame: RecordedFrame) -> NDArray[Any]:
        if frame.store not in stores:
            path = run.folder.path / frame.store / "0"
            spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
            stores[frame.store] = tensorstore.open(spec, open=True, read=True).result()
        found: NDArray[Any] = np.asarray(stores[frame.store][frame.t_index].read().result())
        return found

    with load_pipeline(settings.pipeline) as pipeline:

        def seen(frame: RecordedFrame) -> Seen | None:
            try:
                pixels = pixels_of(frame)
            except (ValueError, IndexError, OSError) as error:
                raise UsageError(
                    f"frame {frame.meta.seq} of {run.folder.path} cannot be read: {error}; "
                    "leave --analyse out to go by the recorded objects"
                ) from error
            result = pipeline.run(pixels, context_of(frame.meta, frame.shape))
            # Its table is the pipeline's own and is used again.
            return Seen(result.objects.copy(), result.verdict, result.classes)

        yield seen
