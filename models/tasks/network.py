"""Segmentation by a trained network that goes from camera counts to a label image by itself.

Beside the network there is to do: bring objects to the size that it was trained on, keep hot pixels
and beads from setting the brightness, and cut images that are too large into tiles. The size is
found from the image: label once, measure, and label again where it is off. It is remembered from
image to image, so in a live movie it is paid for once.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.catalog import ModelCard, read_card, weights_path
from models.engines import Engine
from models.engines.guarded import SEGMENTS, guarded
from models.engines.members import engine_for
from models.engines.threads import Threads
from models.errors import EngineError, EngineOutOfMemory, ImageError, PipelineError
from models.result import EngineInfo
from models.scoring.contingency import contingency
from models.settings import ShareSettings
from models.tasks.calibration import Segmented, calibrated, likely
from models.tasks.learned import Learned
from models.tasks.light import STRIDE_PX, limits_beneath, limits_of, without_hot_pixels
from models.tasks.resize import pad_to_multiple, resize_image, resize_labels, resize_part
from models.tasks.sizes import SMALLEST_PX, enough, relative_size
from models.tasks.tiles import Tile, busiest_part, label_in_tiles, tiles_of
from models.tasks.tilesize import TileSize

Limits = NDArray[np.float32]
"""(2,) counts that become 0 and 1."""

SIZE_TOLERANCE = 1.3
"""Objects within this factor of the trained diameter are labelled as they are."""

SCALE_LIMITS = (0.2, 4.0)

TILE_ABOVE = 2048 * 2048
"""Images of more network pixels than this are labelled in tiles."""

PROBE_PX = 1024
"""Side of the part of such an image, in network pixels, that the scale is found on."""

MAX_PIXELS = 4096 * 4096
"""Most pixels the network takes at once: the graph numbers them in float32, exact up to 2**24."""

MAX_PIXELS_IN_TILES = 8192 * 8192
"""Most network pixels of an image in tiles: beyond it a frame would take minutes."""

MAX_TRIES = 3
"""Runs on one image, at most, to find the scale."""

NARROWEST_PX = 8
"""An image less wide than this shows no object: in its padding, noise would look like rods."""

SMALLEST = 0.1
"""Objects below this fraction of the median area are left out as debris."""

GAINED = 3
"""Objects that a look beneath a bead must find beyond the plain one, to be the better of both."""

LOST = 0.2
"""Part of the objects of the plain look that it may lose, beside two that may have been beads."""

STEADY = 0.75
"""Overlap that objects of both looks must keep, in the middle: haze would make cells swell."""

LIMITS = "limits"
"""Input of the network that gives the counts that become 0 and 1; earlier files have none."""

CENTRE = "centre"
"""Input of the network that says how high a centre must be; earlier files have none."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What the network found at one scale."""

    scale: float
    labels: NDArray[np.int32]
    """At the network's scale, or in tiles at the camera's; with gaps in the numbers."""
    area: NDArray[np.int64]
    """Network pixels of each label, [0] the background."""
    confidence: NDArray[np.float64]
    """Mean probability in each label."""


class NetworkSegmenter:
    """Finds objects with a trained network. Hold it in a ``with`` block; one thread uses it.

    Parameters
    ----------
    model
        Name of shipped weights, or path of an ONNX file with a model card beside it.
    engine
        ``onnxruntime``, ``openvino``, or ``auto`` (see ``models.engines.open_engine``).
    threads
        Threads of one run.
    precision
        ``fp32``, or what else the engine knows.
    share
        Have the loaded network in common with other segmenters of this process.

    Raises
    ------
    PipelineError
        When there is no such model, or it is not one for segmentation.
    """

    def __init__(
        self,
        model: str,
        engine: str = "onnxruntime",
        threads: Threads = 1,
        precision: str = "fp32",
        share: ShareSettings | None = None,
    ) -> None:
        self._card: ModelCard = read_card(weights_path(model))
        if self._card.task != "segment":
            raise PipelineError(
                f"model {model!r} is for {self._card.task}; need one for segmentation"
            )
        # a mean probability is no confidence, and says nothing of what is likely
        self._least = self._card.least_confidence if self._card.calibration else 0.0
        self._choice, self._share = (engine, precision, threads), share
        self._engine: Engine | None = None
        self._stack = ExitStack()
        self._tiles = TileSize()
        self._scale = 1.0
        self._fits = False
        self._pixel_size_um = 0.0

    def __enter__(self) -> Self:
        """Load the network; raises ``EngineError`` when it would not run as asked."""
        engine = guarded(engine_for(self._card.path, self._choice, self._share), SEGMENTS)
        self._engine = self._stack.enter_context(engine)
        self.reset()
        return self

    def __exit__(self, *exc: object) -> None:
        """Let the network go. Safe to call twice."""
        self._engine = None
        self._stack.close()

    @property
    def info(self) -> EngineInfo:
        """What really runs, and in which tiles where memory ran out."""
        return self._tiles.told(self._opened().info)

    @property
    def scale(self) -> float:
        """Scale at which the next image will first be looked at; 1 is as the camera gave it."""
        return self._scale

    def reset(self) -> None:
        """Forget the size of objects: the next image is not of the same sample."""
        self.restore(Learned())

    @property
    def learned(self) -> Learned:
        """What is known of the size of objects, for ``restore``."""
        return Learned(self._scale, self._fits, self._pixel_size_um)

    def restore(self, learned: Learned) -> None:
        """Go on with what another segmenter, or this one in another stream, had learned."""
        self._scale, self._fits = learned.scale, learned.fits
        self._pixel_size_um = learned.pixel_size_um

    def warm_up(self, shape: tuple[int, int], dtype: str) -> EngineInfo:
        """Run once on an empty image of this shape, remember nothing, say what really ran."""
        self._look(_checked(np.zeros(shape, dtype=dtype)), self._within(1.0, shape))
        return self.info

    def segment(self, pixels: NDArray[Any], pixel_size_um: float = 0.0) -> Segmented:
        """Label an image; blocks until done.

        Parameters
        ----------
        pixels
            (y, x) uint8 or uint16 camera counts; not written to. In strips of fewer than
            `NARROWEST_PX` rows or columns nothing is found.
        pixel_size_um
            Camera pixel on the sample, 0 where unknown: tells the scale of the first image where
            the model card knows its own, and how the scale changes with the objective. The size of
            the objects found has the last word.

        Returns
        -------
        labels
            (y, x) int32, 0 is background, objects 1..n without gaps; the caller's own.
        confidence
            (n,) float32, the probability that each object is right at an overlap of 0.5 where the
            model card is calibrated, else the mean foreground probability inside it.

        Raises
        ------
        ImageError
            When the image is not (y, x) uint8 or uint16.
        EngineError
            Outside the ``with`` block, or when the engine fails.
        """
        if min(_checked(pixels).shape) < NARROWEST_PX:
            return np.zeros(pixels.shape, np.int32), np.zeros(0, np.float32)
        clean = without_hot_pixels(pixels)
        start = self._first_scale(pixel_size_um)
        best = self._fitted(clean, start)
        beneath = limits_beneath(clean) if LIMITS in self._opened().inputs else None
        if beneath is not None:
            other = self._fitted(clean, start, beneath)
            if _sees_more(other, best, clean.shape):
                best = other
        self._scale = best.scale
        self._fits = self._fits or enough(best.area)
        if pixel_size_um > 0:
            self._pixel_size_um = pixel_size_um
        labels, probability, area = _finished(best, (pixels.shape[0], pixels.shape[1]))
        confidence = calibrated(probability, area, self._card.calibration)
        return likely((labels, confidence), self._least)

    def _first_scale(self, pixel_size_um: float) -> float:
        if pixel_size_um <= 0:
            return self._scale
        if self._fits:
            known = self._pixel_size_um
            return self._scale * (pixel_size_um / known if known > 0 else 1.0)
        trained = self._card.pixel_size_um
        return pixel_size_um / trained if trained > 0 else self._scale

    def _fitted(self, pixels: NDArray[Any], start: float, limits: Limits | None = None) -> _Look:
        """Look at the scale to start with, then, while objects are of another size, at theirs."""
        shape = pixels.shape
        scale = self._within(start, shape)
        if not self._fits and self._in_tiles(shape, scale):
            # finding the scale takes several looks, so they go to a part
            part = busiest_part(pixels, PROBE_PX / scale)
            scale = self._within(self._nearest(part, scale, limits).scale, shape)
        best = self._nearest(pixels, scale, limits)
        if not (self._fits or start == 1.0 or enough(best.area)):
            # a pixel size far off the mark can leave nothing to measure at its scale
            other = self._nearest(pixels, self._within(1.0, shape), limits)
            best = other if enough(other.area) else best
        return best if self._fits else self._surely(pixels, best, limits)

    def _surely(self, pixels: NDArray[Any], look: _Look, limits: Limits | None) -> _Look:
        """The look again with sure centres alone, where the model tells them from others."""
        if self._card.sure_centre <= 0 or CENTRE not in self._opened().inputs:
            return look
        return self._look(pixels, look.scale, limits)

    def _nearest(self, pixels: NDArray[Any], scale: float, limits: Limits | None) -> _Look:
        """The look of those tried at which objects are nearest to the trained size."""
        shape = pixels.shape
        looks: list[_Look] = []
        for _ in range(MAX_TRIES):
            looks.append(self._look(pixels, scale, limits, sure=self._fits))
            size = relative_size(looks[-1].area, self._card.diameter_px)
            wanted = self._within(scale / size, shape)
            if max(wanted / scale, scale / wanted) <= SIZE_TOLERANCE:
                break
            scale = wanted
        # where no scale fits, the nearest is taken, so that the next image starts from there too
        trained = self._card.diameter_px
        return min(looks, key=lambda k: abs(math.log(relative_size(k.area, trained))))

    def _look(
        self,
        pixels: NDArray[Any],
        scale: float,
        limits: Limits | None = None,
        *,
        sure: bool = True,
    ) -> _Look:
        while True:
            try:
                return self._look_once(pixels, scale, limits, sure)
            except EngineOutOfMemory as error:
                if LIMITS not in self._opened().inputs:
                    raise  # earlier files cannot be run in tiles
                self._tiles = self._tiles.smaller(error, round(pixels.size * scale**2))

    def _look_once(
        self, pixels: NDArray[Any], scale: float, limits: Limits | None, sure: bool
    ) -> _Look:
        height, width = (max(round(length * scale), 1) for length in pixels.shape)
        if self._in_tiles(pixels.shape, scale):
            return self._look_in_tiles(pixels, scale, limits, sure)
        small = resize_image(pixels, (height, width))
        labels, probability = self._run(small, limits, self._centre(sure))
        flat = labels.ravel()
        area = np.bincount(flat, minlength=1)
        total = np.bincount(flat, probability.ravel(), minlength=1)
        return _Look(scale, labels, area, total / np.maximum(area, 1))

    def _look_in_tiles(
        self, pixels: NDArray[Any], scale: float, limits: Limits | None, sure: bool
    ) -> _Look:
        shape = (pixels.shape[0], pixels.shape[1])
        small = (max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1))
        if limits is None:
            tiles = tiles_of(small, self._tiles.core_px)
            cores = (resize_part(pixels, small, tile.core) for tile in tiles)
            seen = [core[::STRIDE_PX, ::STRIDE_PX].ravel().copy() for core in cores]
            limits = limits_of(np.concatenate(seen))

        def run(tile: Tile) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
            return self._run(resize_part(pixels, small, tile.seen), limits, self._centre(sure))

        return _Look(scale, *label_in_tiles(shape, small, run, self._tiles.core_px))

    def _run(
        self, image: NDArray[np.float32], limits: Limits | None, centre: float
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Labels and probability (y, x) of an image at the network's scale.

        ``centre`` is how high a centre must be, where the file can be told; 0: as it thinks best.
        """
        height, width = image.shape
        # low precision has no digits left for cells on top of a camera's offset
        low = image[::STRIDE_PX, ::STRIDE_PX].min()
        inputs = {"image": pad_to_multiple(image - low, self._card.pixel_multiple)}
        if limits is not None:
            inputs[LIMITS] = limits - low
        if centre > 0 and CENTRE in self._opened().inputs:
            inputs[CENTRE] = np.full(1, centre, np.float32)
        found = self._opened().run(inputs)
        labels = np.ascontiguousarray(found["labels"][:height, :width])
        return labels, found["probability"][:height, :width]

    def _centre(self, sure: bool) -> float:
        return self._card.sure_centre if sure else 0.0

    def _in_tiles(self, shape: tuple[int, ...], scale: float) -> bool:
        # tiles share one normalisation, which earlier files cannot be given
        above = self._tiles.above_px or TILE_ABOVE
        return math.prod(shape) * scale**2 > above and LIMITS in self._opened().inputs

    def _within(self, scale: float, shape: tuple[int, ...]) -> float:
        """The scale nearest to the one wanted that keeps the image in what the network takes."""
        low, high = SCALE_LIMITS
        most = MAX_PIXELS_IN_TILES if LIMITS in self._opened().inputs else MAX_PIXELS
        return min(max(scale, low), high, math.sqrt(most / math.prod(shape)))

    def _opened(self) -> Engine:
        if self._engine is None:
            raise EngineError(
                f"network {self._card.name!r} is not open; use it inside a `with` block"
            )
        return self._engine


def _sees_more(other: _Look, plain: _Look, shape: tuple[int, ...]) -> bool:
    """Whether a look at other limits finds what a plain one does, and more.

    Where there is no bead, but cells and their haze, it finds haze in place of the cells.
    """
    size = (shape[0], shape[1])
    common = contingency(_finished(other, size)[0], _finished(plain, size)[0])
    kept = common.iou[common.iou >= 0.5]
    same = len(kept)
    if same >= GAINED and float(np.median(kept)) < STEADY:
        return False
    gained, lost = len(common.pred_labels) - same, len(common.true_labels) - same
    return gained >= max(GAINED, 2 * lost) and lost <= 2 + LOST * len(common.true_labels)


def _finished(
    look: _Look, shape: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]:
    """Drop specks, come back to the camera's pixels, number without gaps.

    Returns
    -------
    Label image (y, x), mean probability (n,) and network pixels (n,) of its objects.
    """
    present = look.area > 0
    present[0] = False
    if not present.any():
        return np.zeros(shape, np.int32), np.zeros(0), np.zeros(0, np.int64)
    keep = present & (look.area >= max(SMALLEST_PX, SMALLEST * np.median(look.area[present])))
    labels = resize_labels(look.labels, shape)
    if labels is not look.labels:
        # coming back to fewer pixels can leave an object none
        keep &= np.bincount(labels.ravel(), minlength=len(keep)) > 0
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return number[labels], look.confidence[keep], look.area[keep]


def _checked(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16) or pixels.size == 0:
        raise ImageError(
            f"got an image of {pixels.dtype} {pixels.shape}, need (y, x) uint8 or uint16 with at "
            "least one pixel; convert it first"
        )
    return pixels
