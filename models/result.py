"""What a pipeline says of one image: label image, one row per object, times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

OBJECT_DTYPE = np.dtype(
    [
        ("label", np.int32),  # value in the label image
        ("track_id", np.int64),  # stable over frames, from 1; 0 where the pipeline does not track
        ("parent_id", np.int64),  # track that divided into this one, 0 for none
        ("age_frames", np.int32),  # frames in which this track was seen, this one included
        ("divided", np.bool_),  # first frame of a daughter: its mother divided between frames
        ("y_px", np.float32),  # centroid
        ("x_px", np.float32),
        ("y_um", np.float64),  # centroid on the stage; NaN when the pixel size is unknown
        ("x_um", np.float64),
        ("area_px", np.float32),
        ("bbox_y0", np.int32),  # half-open bounding box
        ("bbox_x0", np.int32),
        ("bbox_y1", np.int32),
        ("bbox_x1", np.int32),
        ("mean_intensity", np.float32),  # raw camera counts inside the object
        ("max_intensity", np.float32),
        ("major_px", np.float32),  # axes of the ellipse with the same second moments
        ("minor_px", np.float32),
        ("orientation_rad", np.float32),  # major axis against the y axis, -pi/2 to pi/2
        ("eccentricity", np.float32),
        ("speed_px", np.float32),  # displacement since the frame before, 0 when new
        ("confidence", np.float32),  # 0 to 1
        ("class_id", np.int16),  # place in the result's ``classes``; -1 where not classified
        ("class_probability", np.float32),  # of that class; 0 where not classified
        ("uncertainty", np.float32),  # 0 sure to 1; -1 where the frame was not checked
        ("mean_denoised", np.float32),  # as mean_intensity, of the denoised image; without one raw
        ("max_denoised", np.float32),  # as max_intensity, likewise
        # NaN, and -1 in ``neighbours``, where the pipeline does not measure them
        ("perimeter_px", np.float32),  # outline through the centres of the border pixels
        ("min_intensity", np.float32),  # raw camera counts inside the object
        ("std_intensity", np.float32),  # of the population, not of a sample
        ("roughness", np.float32),  # root mean square of half the steps between neighbouring pixels
        ("neighbours", np.int32),  # other objects that touch it, corners included
        ("nearest_px", np.float32),  # to the nearest other centroid; inf for a lonely object
    ]
)
"""One row of the object table. Order and names are stable: add, never rename."""

MORE_COLUMNS: Final = (
    "perimeter_px", "min_intensity", "std_intensity", "roughness", "neighbours", "nearest_px",
)  # fmt: skip
"""Those that only a pipeline with ``measure`` fills."""


@dataclass(frozen=True, slots=True)
class ImageContext:
    """What a pipeline is told about an image beside its pixels.

    ``px_to_um`` is the 2 x 3 affine that takes (x_px, y_px, 1) to the stage (x_um, y_um), or None
    when the image is uncalibrated. ``time_s`` is any clock that runs evenly. ``x_um``, ``y_um`` and
    ``z_um`` are where the stage stood, ``position`` names the place in the plan, ``epoch`` counts
    changes of the image's form. By these a stage that remembers earlier frames knows which of them
    show the same place.
    """

    seq: int
    time_s: float
    pixel_size_um: float = 0.0
    px_to_um: NDArray[np.float64] | None = None
    channel: str = ""
    x_um: float = 0.0
    y_um: float = 0.0
    z_um: float = 0.0
    exposure_ms: float = 0.0
    position: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Which engine really runs, proven at warm-up, never assumed."""

    name: str
    """``onnxruntime``, ``openvino``, ``tensorrt``, ``classical``..."""
    precision: str
    device: str
    model: str = ""
    """Name and hash of the weights; empty for a classical pipeline."""


CLASSICAL = EngineInfo(name="classical", precision="fp32", device="cpu")
"""What runs a stage that has no network."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far an image can be trusted to be of the kind that the networks know."""

    seq: int
    """The image that was checked; the newest one that was."""
    strangeness: float
    """0 as in training, 1 at the limit beyond which the image counts as unlike it."""
    reason: str
    """What is unlike, in words for people; empty while nothing is."""

    @property
    def unlike(self) -> bool:
        """Whether the image is out of what the networks know."""
        return self.strangeness > 1.0


@dataclass(frozen=True, slots=True)
class DenoiseReport:
    """How far a denoised image can be trusted, and the noise that was reckoned with."""

    seq: int
    """The image."""
    checked_seq: int
    """The newest image whose residual was looked at; -1 before the first."""
    alarm: float
    """Structure in the residual of that one: 0 as in noise alone, 1 at the limit beyond which
    something of the sample is in it."""
    reason: str
    """What is in the residual, in words for people; empty while nothing is."""
    strangeness: float
    """How unlike known noise that of this image is: 0 as known, 1 at the limit."""
    unlike_because: str
    """What is unlike, in words; empty while nothing is."""
    gain: float
    """Counts per photon; NaN where no shot noise was seen."""
    offset: float
    """Counts in the dark."""
    read_variance: float
    """Variance in the dark, counts²."""
    read_noise_e: float
    """Read noise in electrons; NaN where the gain is."""
    fresh: bool
    """Whether the image was denoised by itself, with nothing of earlier frames."""
    fresh_because: str = ""
    """Why, in words: the first frame, the stage moved..."""
    model: str = ""
    """Name and hash of the weights."""

    @property
    def alarmed(self) -> bool:
        """Whether the residual has structure: detail is being removed or made up."""
        return self.alarm > 1.0

    @property
    def unlike(self) -> bool:
        """Whether the noise is out of what denoising can reckon with."""
        return self.strangeness > 1.0


RepairKind = Literal["parted", "joined", "divided"]


@dataclass(frozen=True, slots=True)
class Repair:
    """One change that tracking made to what the segmentation found."""

    kind: RepairKind
    labels: tuple[int, ...]
    """Of the objects as published."""
    tracks: tuple[int, ...]
    """Ids of the tracks that said so."""
    probability: float
    """That it is right, as far as prices tell."""

    @property
    def because(self) -> str:
        """The evidence, in words for people."""
        tracks = " and ".join(str(track) for track in self.tracks)
        said = {
            "parted": f"tracks {tracks} lie beneath one object",
            "joined": f"two touching objects cover track {tracks}, which is no division",
            "divided": f"track {tracks} has grown enough, and turned pictures show two cells",
        }[self.kind]
        return f"{said} (p {self.probability:.2f})"


@dataclass(slots=True)
class PipelineResult:
    """What a pipeline found in one image. The arrays belong to the caller."""

    seq: int
    labels: NDArray[np.int32]
    """(y, x), 0 is background, objects count from 1."""
    objects: NDArray[np.void]
    """(n,) of ``OBJECT_DTYPE``, in order of label."""
    denoised: NDArray[np.generic] | None = None
    """(y, x), dtype and scale of the input, where the pipeline denoises."""
    stage_ms: dict[str, float] = field(default_factory=dict)
    """Stage name -> milliseconds spent."""
    classes: tuple[str, ...] = ()
    """Names that ``class_id`` counts into; empty where the pipeline does not classify."""
    verdict: Verdict | None = None
    """The newest check of trust, of this image or an earlier one; None where none is made."""
    denoise: DenoiseReport | None = None
    """What is to be said of the denoised image; None where a network does not denoise."""
    repairs: tuple[Repair, ...] = ()
    """What tracking changed of the segmentation, and why."""
