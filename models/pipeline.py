"""A pipeline: pixels in, objects out. Denoise, segment, measure, classify, check, track.

The same code runs live and over files, so the same input gives the same labels and ids.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import pydantic
from numpy.typing import NDArray

from models.errors import EngineError, ImageError, PipelineError
from models.result import CLASSICAL, OBJECT_DTYPE, EngineInfo, ImageContext, PipelineResult
from models.settings import NetworkSettings, PipelineSettings, ThresholdSettings
from models.streams import Streams

if TYPE_CHECKING:
    from models.tasks.classify import Classifier
    from models.tasks.denoise import Denoised, Denoiser
    from models.tasks.learned import Learned
    from models.tracking.mender import Mender
    from models.tracking.mending import Mended

Segmented = tuple[NDArray[np.int32], NDArray[np.float32]]


class Segmenter(Protocol):
    """Finds the objects of one image. Hold it in a ``with`` block."""

    def __enter__(self) -> Self:
        """Load what it needs."""

    def __exit__(self, *exc: object) -> None:
        """Let it go. Safe to call twice."""

    @property
    def info(self) -> EngineInfo:
        """What runs it."""

    def reset(self) -> None:
        """Forget what was learned from the images before."""

    def warm_up(self, shape: tuple[int, int], dtype: str) -> EngineInfo:
        """Run once on an image of this shape and say what really ran."""

    @property
    def learned(self) -> Learned:
        """What was learned of the size of objects."""

    def restore(self, learned: Learned) -> None:
        """Go on with what was learned elsewhere."""

    def segment(self, pixels: NDArray[Any], pixel_size_um: float = 0.0) -> Segmented:
        """Label image (y, x) int32, objects 1..n without gaps, and confidence (n,) float32.

        ``pixel_size_um`` is 0 where it is unknown.
        """


def load_pipeline(settings: PipelineSettings | Mapping[str, Any]) -> Pipeline:
    """Pipeline of settings, not yet open: hold it in a ``with`` block.

    Raises
    ------
    PipelineError
        When the settings cannot work; the message names the key.
    """
    if not isinstance(settings, PipelineSettings):
        try:
            settings = PipelineSettings.model_validate(dict(settings))
        except pydantic.ValidationError as error:
            found = "; ".join(
                f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
                for item in error.errors()
            )
            raise PipelineError(f"pipeline settings: {found}") from error
    if settings.denoise is None and settings.segment is None and settings.track is None:
        raise PipelineError(
            f"pipeline {settings.name!r} does nothing; give it denoise, segment or track"
        )
    return Pipeline(settings)


class Pipeline:
    """Runs the stages of its settings over one image after another. One thread uses it.

    Outside its ``with`` block every call raises ``EngineError``.
    """

    def __init__(self, settings: PipelineSettings) -> None:
        self.settings = settings
        self._stack = ExitStack()
        self._denoiser: Denoiser | None = None
        self._segmenter: Segmenter | None = None
        self._classifier: Classifier | None = None
        self._mender: Mender | None = None
        self._streams: Streams | None = None
        self._open = False

    def __enter__(self) -> Self:
        """Load weights and make ready to track; raises ``EngineError`` or ``PipelineError``."""
        with ExitStack() as stack:
            if self.settings.denoise is not None:
                from models.tasks.denoise import denoiser_of

                self._denoiser = stack.enter_context(denoiser_of(self.settings.denoise))
            if self.settings.segment is not None:
                self._segmenter = stack.enter_context(_segmenter(self.settings.segment))
            if self.settings.classify is not None:
                from models.tasks.classify import Classifier

                self._classifier = stack.enter_context(Classifier(self.settings.classify))
            self._streams = self._no_streams()
            if self.settings.track is not None:
                from models.tracking.mender import mender_of

                self._mender = mender_of(self.settings.track, self._segmenter)
            self._stack = stack.pop_all()
        self._open = True
        self.reset()
        return self

    def __exit__(self, *exc: object) -> None:
        """Let engine and tracker go. Safe to call twice."""
        self._open = False
        self._denoiser = self._segmenter = self._classifier = None
        self._mender = self._streams = None
        self._stack.close()

    @property
    def info(self) -> EngineInfo:
        """Which engines run the networks for denoising and segmentation."""
        self._check_open()
        stages = (self._denoiser, self._segmenter)
        infos = [stage.info for stage in stages if stage is not None]
        return _joined([info for info in infos if info != CLASSICAL] or [CLASSICAL])

    def reset(self) -> None:
        """Forget all earlier images: the next one starts a new movie, ids from 1."""
        self._check_open()
        if self._denoiser is not None:
            self._denoiser.reset()
        if self._segmenter is not None:
            self._segmenter.reset()
        self._streams = self._no_streams()

    def warm_up(self, shape: tuple[int, int], dtype: str) -> EngineInfo:
        """Run once on a made-up image of this shape; no track remembers it.

        Returns
        -------
        The engine that really ran.
        """
        self._check_open()
        y, x = np.indices(shape)
        spots = ((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2 < 64).astype(dtype) * 100 + 20
        pixels = _checked(spots.astype(dtype))
        if self._segmenter is not None:
            self._segmenter.warm_up(shape, dtype)
        kept = self._opened()
        kept.park()
        self.reset()
        try:
            self.run(pixels, ImageContext(seq=0, time_s=0.0))
        finally:
            self.reset()
            self._streams = kept
        return self.info

    def run(
        self,
        pixels: NDArray[Any],
        context: ImageContext,
        labels: NDArray[np.integer[Any]] | None = None,
    ) -> PipelineResult:
        """Analyse one image; blocks until done.

        Parameters
        ----------
        pixels
            (y, x) uint8 or uint16 camera counts; not written to.
        context
            When and where it was taken.
        labels
            (y, x) label image to use instead of segmenting.

        Returns
        -------
        A result whose arrays belong to the caller.

        Raises
        ------
        ImageError
            When the image is not what a pipeline takes.
        """
        from models.tasks.measure import compact, measure, measure_denoised

        streams = self._opened()
        _checked(pixels)
        stream = streams.of(context)
        own = stream.own(context)
        stage_ms: dict[str, float] = {}
        clean: Denoised | None = None
        if self._denoiser is not None:
            with _timed(stage_ms, "denoise"):
                clean = self._denoiser.denoise(pixels, context)
        denoised, report = (None, None) if clean is None else (clean.image, clean.report)
        if labels is None and self._segmenter is None:
            empty = np.zeros(pixels.shape, dtype=np.int32)
            nothing = np.zeros(0, dtype=OBJECT_DTYPE)
            return PipelineResult(context.seq, empty, nothing, denoised, stage_ms, denoise=report)
        with _timed(stage_ms, "segment"):
            chosen = pixels
            if clean is not None and self.settings.segment_on == "denoised":
                from models.tasks.denoise import for_segmenting

                chosen = for_segmenting(pixels, clean)
            found, confidence = self._labels(chosen, labels, context)
        with _timed(stage_ms, "measure"):
            objects = measure(found, pixels, confidence, context)
        mended: Mended | None = None
        if self._mender is not None and stream.tracker is not None and labels is None:
            with _timed(stage_ms, "repair"):
                mended = self._mender.mend(stream.tracker, found, objects, pixels, chosen, own)
            found, objects = mended.labels, mended.objects
        if denoised is not None:
            measure_denoised(objects, found, denoised)
        if (more := self.settings.measure) is not None:
            from models.tasks.measure_more import measure_more

            with _timed(stage_ms, "measure_more"):
                measure_more(
                    objects, found, pixels, texture=more.texture, neighbours=more.neighbours
                )
        if self._classifier is not None:
            with _timed(stage_ms, "classify"):
                named = self._classifier.classify(pixels, found, objects)
                objects["class_id"], objects["class_probability"] = named
        verdict = None
        if stream.doubter is not None and labels is None:
            with _timed(stage_ms, "trust"):
                verdict = stream.doubter.check(chosen, found, objects, context.seq)
        if (tracker := stream.tracker) is not None:
            with _timed(stage_ms, "track"):
                plan = mended.proposal if mended else tracker.propose(objects, found, own)
                update = tracker.accept(plan)
                for name in ("track_id", "parent_id", "age_frames", "divided", "speed_px"):
                    objects[name] = getattr(update, name)
            stage_ms["track"] += stage_ms.pop("repair", 0.0)
        classes = () if self._classifier is None else self._classifier.classes
        repairs = mended.repairs if mended is not None else ()
        labels = compact(found)
        return PipelineResult(
            context.seq, labels, objects, denoised, stage_ms, classes, verdict, report, repairs
        )

    def swap_denoiser(self, path: Path) -> EngineInfo:
        """Denoise with other weights, an ONNX file with its card, from the next image on.

        Raises
        ------
        PipelineError, EngineError
            When they cannot be used: then the pipeline goes on with those that it has.
        """
        self._check_open()
        if self._denoiser is None:
            raise PipelineError(
                f"pipeline {self.settings.name!r} does not denoise; nothing to swap"
            )
        self._denoiser.swap(path)
        return self.info

    def _labels(
        self,
        pixels: NDArray[Any],
        labels: NDArray[np.integer[Any]] | None,
        context: ImageContext,
    ) -> Segmented:
        from models.tasks.measure import compact

        if labels is None:
            assert self._segmenter is not None
            return self._segmenter.segment(pixels, context.pixel_size_um)
        if labels.shape != pixels.shape:
            raise ImageError(
                f"label image of {labels.shape} for an image of {pixels.shape}; need one size"
            )
        # a copy: the result belongs to the caller
        found = compact(np.array(labels))
        return found, np.ones(int(found.max(initial=0)), dtype=np.float32)

    def export_state(self) -> bytes:
        """Tracks and size of objects as they are now, for ``restore_state`` of another process.

        What the denoiser remembers is too large to hand on: after ``restore_state`` the first
        image of each place is denoised by itself.
        """
        return self._opened().export_state()

    def restore_state(self, state: bytes) -> None:
        """Go on with the tracks of an earlier process.

        Raises
        ------
        PipelineError
            When the state is damaged, of another version or of a pipeline that tracks otherwise.
        """
        self._opened().restore_state(state)

    @property
    def streams_forgotten(self) -> int:
        """Streams that start afresh when they come again: there were more than are remembered."""
        return self._opened().forgotten

    def _no_streams(self) -> Streams:
        return Streams(self.settings.track, self.settings.trust, self._segmenter)

    def _opened(self) -> Streams:
        self._check_open()
        assert self._streams is not None
        return self._streams

    def _check_open(self) -> None:
        if not self._open:
            raise EngineError(
                f"pipeline {self.settings.name!r} is not open; use it inside a `with` block"
            )


def _segmenter(settings: ThresholdSettings | NetworkSettings) -> Segmenter:
    if isinstance(settings, ThresholdSettings):
        from models.tasks.classical import ThresholdSegmenter

        return ThresholdSegmenter(settings)
    from models.tasks.network import NetworkSegmenter

    segmenter: Segmenter = NetworkSegmenter(
        settings.model, settings.engine, settings.threads, settings.precision, settings.share
    )
    return segmenter


def _joined(infos: list[EngineInfo]) -> EngineInfo:
    """One line for several stages; what is the same for all is said once."""
    fields = zip(*((i.name, i.precision, i.device, i.model) for i in infos), strict=True)
    return EngineInfo(*(" + ".join(dict.fromkeys(field)) for field in fields))


def _checked(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16) or pixels.size == 0:
        raise ImageError(
            f"got an image of {pixels.dtype} {pixels.shape}, need (y, x) uint8 or uint16 with at "
            "least one pixel; convert it first"
        )
    return pixels


@contextmanager
def _timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    stage_ms[stage] = (time.perf_counter() - start) * 1e3
