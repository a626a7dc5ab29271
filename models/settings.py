"""What a pipeline is made of, as people write it in ``config/pipelines/*.yaml``.

Pure data: nothing here reads a file, loads weights or runs. Unknown keys are refused.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticKnownError

ENGINE_NAMES = ("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx", "torch", "auto")


def _engine_name(value: object) -> object:
    known = value in ENGINE_NAMES
    if not known and not (isinstance(value, str) and re.fullmatch(r"plugin:[\w.-]+", value)):
        expected = ", ".join(map(repr, ENGINE_NAMES[:-1])) + f" or {ENGINE_NAMES[-1]!r}"
        raise PydanticKnownError("literal_error", {"expected": expected})
    return value


EngineName = Annotated[str, BeforeValidator(_engine_name)]
"""What runs a network, see ``models.engines``; ``auto`` is the first that is installed, and
``plugin:NAME`` one of other people's, see `models.engines.plugins`."""

Threads = Annotated[int, Field(ge=1, le=256)] | Literal["auto"]
"""Threads of one run of a network on the CPU; ``auto`` leaves the camera and recorder a core."""

Precision = Literal["fp32", "fp16", "bf16", "int8"]
"""What a network computes in; ``int8``, and on a GPU all but ``fp32``, need ``model`` to be a file
that ``parfocal models build`` wrote."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GaussianSettings(_Settings):
    """Denoising of each frame by itself with a Gaussian."""

    kind: Literal["gaussian"] = "gaussian"
    sigma_px: Annotated[float, Field(ge=0, le=10)] | Literal["auto"] = "auto"
    """Width in pixels; ``auto`` takes the width of least expected error for the noise found in
    each frame."""


class NetworkDenoiseSettings(_Settings):
    """Denoising by a trained network that also uses the frames before."""

    kind: Literal["network"] = "network"
    model: str = "denoise"
    """Name of shipped weights, as ``parfocal models list`` gives it, or path of an ONNX file."""
    engine: EngineName = "onnxruntime"
    """What runs it; it runs there or the pipeline does not start."""
    precision: Precision = "fp32"
    """Less than ``fp32`` loses digits of bright counts."""
    threads: Threads = 1
    temporal: bool = True
    """Use earlier frames of the same place; without, each frame is denoised by itself."""
    max_gap_intervals: Annotated[float, Field(ge=1, le=1e6)] = 5.0
    """After a pause longer than so many usual intervals between frames, start afresh."""
    check_every_frames: Annotated[int, Field(ge=1, le=100_000)] = 10
    """The residual of one frame in so many is looked at for detail that was removed."""


class ShareSettings(_Settings):
    """One loaded network for all pipelines of a process that name it in the same way.

    On a CPU this saves memory and keeps the cores for others, but no time: a network runs no faster
    for four images than four times for one, and waits where two could have run side by side.
    """

    most: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests of several pipelines that run as one, where the network takes several."""
    budget_ms: Annotated[float, Field(ge=0, le=1000)] = 2.0
    """How long a request waits for those of other pipelines, where they can run as one."""


class ThresholdSettings(_Settings):
    """Classical segmentation, with no network."""

    kind: Literal["threshold"] = "threshold"
    polarity: Literal["bright", "dark", "auto"] = "auto"
    """``bright``: objects are brighter than the background (fluorescence). ``dark``: darker, as
    bodies in phase contrast are. ``auto`` decides for each frame."""
    surround_px: Annotated[float, Field(gt=0, le=200)] = 9.0
    """Dark objects are compared with what lies this far around them: half the width of one."""
    smooth_px: Annotated[float, Field(ge=0, le=20)] = 1.0
    """Width of the Gaussian before the threshold."""
    background: bool = True
    """Take uneven illumination off first."""
    split: bool = True
    """Part touching objects."""
    min_area_px: Annotated[int, Field(ge=1)] = 30
    """Smaller objects are left out."""
    min_contrast: Annotated[float, Field(ge=0)] = 3.0
    """An object must stand out by this many standard deviations of the background noise."""


class NetworkSettings(_Settings):
    """Segmentation by a trained network."""

    kind: Literal["network"] = "network"
    model: str
    """Name of shipped weights, as ``parfocal models list`` gives it, or path of an ONNX file."""
    engine: EngineName = "onnxruntime"
    """What runs it; it runs there or the pipeline does not start."""
    precision: Precision = "fp32"
    threads: Threads = 1
    share: ShareSettings | None = None
    """Share it with other pipelines of this process; images run one after another."""


class ClassifySettings(_Settings):
    """Sorting of objects into classes by a trained network."""

    model: str = "phases"
    """Name of shipped weights, as ``parfocal models list`` gives it, or path of an ONNX file."""
    engine: EngineName = "onnxruntime"
    precision: Precision = "fp32"
    threads: Threads = 1
    share: ShareSettings | None = None
    """Share it with other pipelines of this process; their objects are sorted together."""


class TrustSettings(_Settings):
    """Now and then, a second look: how sure is each object, is the image of a known kind?"""

    every_frames: Annotated[int, Field(ge=1, le=100_000)] = 10
    """One frame in so many is checked; a check costs about as much as segmenting it again."""


class MeasureSettings(_Settings):
    """Measurements beyond the object table, each frame; see `models.tasks.measure_more`."""

    texture: bool = True
    """Perimeter, minimum, standard deviation and roughness of each object."""
    neighbours: bool = True
    """How many objects touch each one, and how far the nearest is."""


class TrackSettings(_Settings):
    """Online tracking with lineage. Lengths are in object sizes, so no setting is in pixels."""

    max_gap_frames: Annotated[int, Field(ge=0, le=100)] = 3
    """A track that is in view but was not found for more frames than this ends."""
    gate_diameters: Annotated[float, Field(gt=0, le=10)] = 2.0
    """Objects farther than this from where a track is expected are never linked to it."""
    divisions: bool = True
    """Find divisions; without, each new object is a track without a mother."""
    repair: bool = True
    """Mend the pipeline's own segmentation where the tracks contradict it: part objects that ran
    together, join what was cut, look again at long cells that may have divided. Label images from
    a file are never changed."""
    max_tracks: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    """Most tracks kept in memory; beyond it those unseen for longest are forgotten."""


def _denoise_kind(value: Any) -> str:
    # a Gaussian needs no kind, as in earlier files
    if isinstance(value, dict):
        return str(value.get("kind", "gaussian"))
    return str(getattr(value, "kind", "gaussian"))


DenoiseSettings = Annotated[
    Annotated[GaussianSettings, Tag("gaussian")]
    | Annotated[NetworkDenoiseSettings, Tag("network")],
    Discriminator(_denoise_kind),
]
SegmentSettings = Annotated[ThresholdSettings | NetworkSettings, Field(discriminator="kind")]


class PipelineSettings(_Settings):
    """A pipeline: denoise, segment, measure, classify, check, track; stages can be left out."""

    name: str
    denoise: DenoiseSettings | None = None
    segment: SegmentSettings | None = None
    segment_on: Literal["raw", "denoised"] = "denoised"
    """Which image is segmented where there is a denoised one; the other is for looking at."""
    measure: MeasureSettings | None = None
    """More than the object table has; needs ``segment`` (or label images from a file)."""
    classify: ClassifySettings | None = None
    """Needs ``segment`` (or label images from a file)."""
    fallback: EngineName | None = None
    """What runs all networks when their own engine was lost and lost again; without it, imaging
    then goes on with no analysis. Nothing else ever takes an engine's place."""
    trust: TrustSettings | None = None
    """Needs ``segment`` with a network."""
    track: TrackSettings | None = None
    """Needs ``segment`` (or label images from a file)."""
