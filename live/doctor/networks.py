"""Probe: one network on one engine, with nothing around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from live.doctor.samples import read_sample, there_and_back
from live.doctor.timing import Watch
from models.catalog import weights_path
from models.engines import Engine, open_engine

OBJECTS = 70
"""Crops of a network that sorts objects: as many as a picture of 512 x 512 pixels holds."""
LEAST = 3


def time_network(
    *, model: str, engine: str, precision: str, sample: str, seconds: float
) -> dict[str, Any]:
    """Time a network on sample frames; the engine says what really ran."""
    frames = read_sample(sample)
    with open_engine(weights_path(model), engine, precision) as opened:
        inputs = [_inputs(opened, frame.astype(np.float32)) for frame in frames[:4]]
        opened.run(inputs[0])
        watch = Watch()
        while len(watch.samples_ms) < LEAST or (
            watch.elapsed_s < seconds and len(watch.samples_ms) < 500
        ):
            opened.run(inputs[there_and_back(len(inputs), len(watch.samples_ms))])
            watch.lap()
        info = opened.info
    return {
        "timing": watch.timing().to_json(),
        "engine": info.name,
        "precision": info.precision,
        "device": info.device,
        "model": info.model,
    }


def _inputs(engine: Engine, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """What the network takes: the image where it takes one, zeros for the rest.

    Inputs of fixed size are left out, which is to say: as the network thinks best.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for name, shape in engine.shapes.items():
        if name == "noise":
            found[name] = np.array([2.2, 100.0, 12.0], np.float32)
        elif all(length is not None for length in shape):
            continue
        elif name == "image":
            found[name] = image.reshape((1,) * (len(shape) - 2) + image.shape)
        elif len(shape) > 2 and shape[-1] is None:
            lengths = tuple(length or 1 for length in shape[:-2])
            found[name] = np.zeros(lengths + image.shape, np.float32)
        else:
            found[name] = np.zeros([length or OBJECTS for length in shape], np.float32)
    return found
