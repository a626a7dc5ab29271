"""From a network's output to objects: our grouping, beside the watershed that is usual.

Both start from the same drawn output of a network: ours from all of it, the watershed from the mask
of what it calls foreground. The watershed is that of the scikit-image manual: distance transform,
peaks, flooding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEAREST_PX = 4
"""Least distance of the watershed's peaks: half the window that ours looks at."""

Group = Callable[[NDArray[np.float32]], NDArray[np.int32]]


def drawn_heads(size: int, count: int, unit_px: float) -> NDArray[np.float32]:
    """What a network would say of ``count`` nuclei, many of them touching.

    Parameters
    ----------
    size
        Height and width, px.
    count
        Nuclei.
    unit_px
        Unit of the offsets.

    Returns
    -------
    (4, y, x) float32: logits of foreground and centre, offset to the centre in y and x; noise on
    all of them.
    """
    rng = np.random.default_rng(count)
    across = math.ceil(math.sqrt(count))
    step = size / across
    raw = np.zeros((4, size, size), np.float32)
    raw[0], raw[1] = -6.0, -8.0
    nearest = np.full((size, size), np.inf)
    for k in range(count):
        cy, cx = (np.array(divmod(k, across)) + 0.5 + rng.uniform(-0.1, 0.1, 2)) * step
        radius = step * rng.uniform(0.35, 0.5)
        rows, columns = (
            slice(max(int(c - radius - 2), 0), min(int(c + radius + 3), size)) for c in (cy, cx)
        )
        y, x = np.mgrid[rows, columns]
        distance = np.hypot(y - cy, x - cx) / radius
        closer = distance < nearest[rows, columns]
        nearest[rows, columns][closer] = distance[closer]
        said = (
            8 * (1 - distance), 4 - (distance * radius) ** 2 / 8,
            (cy - y) / unit_px, (cx - x) / unit_px,
        )  # fmt: skip
        for head, value in zip(raw, said, strict=True):
            head[rows, columns][closer] = value[closer]
    return raw + rng.normal(0, 0.02, raw.shape).astype(np.float32)


def grouping_in_onnxruntime(path: Path, threads: int) -> Group:
    """Our grouping, from the file that `models.training.segment.gather` writes."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def group(raw: NDArray[np.float32]) -> NDArray[np.int32]:
        labels: NDArray[np.int32] = session.run(["labels"], {"raw": raw})[0]
        return labels

    return group


def grouping_in_openvino(path: Path, threads: int) -> Group:
    """The same in OpenVINO, float32."""
    from models.engines import open_engine

    engine = open_engine(path, "openvino", "fp32", threads).__enter__()

    def group(raw: NDArray[np.float32]) -> NDArray[np.int32]:
        labels: NDArray[np.int32] = engine.run({"raw": raw})["labels"]
        return labels

    return group


def watershed_of_scikit_image() -> Group:
    """The usual way; raises ``ImportError`` when scikit-image or scipy is not installed."""
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    find_peaks: Any = peak_local_max  # neither has types
    flood: Any = watershed

    def group(raw: NDArray[np.float32]) -> NDArray[np.int32]:
        mask = raw[0] > 0
        distance: Any = ndimage.distance_transform_edt(mask)
        peaks = find_peaks(distance, min_distance=NEAREST_PX, labels=mask, exclude_border=False)
        seeds = np.zeros(mask.shape, np.int32)
        seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
        return np.asarray(flood(-distance, seeds, mask=mask), np.int32)

    return group


def objects_in(labels: NDArray[np.int32]) -> int:
    """Number of objects of a label image."""
    return int(np.count_nonzero(np.bincount(labels.ravel())[1:]))
