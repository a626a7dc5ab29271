"""The live analysis over files: the same pipeline, frame by frame, with nothing looked up ahead.

Results are written to a folder beside the one asked for and moved there when they are whole.
"""

from __future__ import annotations

import csv
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers import FrameMeta, SettingsError, Source, list_frames, px_to_um
from drivers.replay import UNKNOWN_INTERVAL_MS
from live.denoising.tally import DenoiseTally
from live.errors import UsageError
from live.explaining.explainer import Explainer, explainable
from live.tracks.ctc import CtcWriter
from live.tracks.files import GEFF_NAME, write_geff, write_trackmate
from live.tracks.lineage import Gatherer
from models import OBJECT_DTYPE, EngineInfo, ImageContext, ModelError, PipelineSettings
from models import load_pipeline as open_pipeline
from models.pipeline import Pipeline
from models.result import PipelineResult

if TYPE_CHECKING:
    from rich.console import Console

LABEL_DTYPES = ("uint8", "uint16", "uint32", "int32", "int64")


@dataclass(slots=True)
class InferReport:
    """What was analysed, and how fast."""

    out: str
    pipeline: str
    engine: EngineInfo
    movie: bool = False
    frames: int = 0
    objects: int = 0
    tracks: int = 0
    divisions: int = 0
    seconds: float = 0.0
    stage_ms: dict[str, float] = field(default_factory=dict)
    """Stage -> median milliseconds a frame."""
    denoise: DenoiseTally = field(default_factory=DenoiseTally)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report file."""
        return {**asdict(self), "denoise": self.denoise.to_json()}

    def lines(self) -> list[str]:
        """The report in a few lines of text."""
        stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in self.stage_ms.items())
        text = [
            f"{self.frames} frames, {self.objects} objects in {self.seconds:.1f} s",
            f"engine {self.engine.name} {self.engine.precision} on {self.engine.device}",
            f"median ms a frame: {stages}",
            f"results in {self.out}",
        ]
        if self.tracks:
            text.insert(1, f"{self.tracks} tracks, {self.divisions} divisions")
        return text + self.denoise.lines()


def infer(
    inputs: Sequence[Path],
    settings: PipelineSettings,
    out: Path,
    *,
    movie: bool = False,
    masks: Path | None = None,
    pixel_size_um: float | None = None,
    explain: bool = False,
    trackmate: bool = False,
    console: Console | None = None,
) -> InferReport:
    """Analyse files; blocks until all are done.

    Parameters
    ----------
    inputs
        Images, folders of images, OME-Zarr; in order.
    settings
        The pipeline. Single images are not tracked.
    out
        Folder to make; one that holds something is refused.
    movie
        The inputs are one movie: objects are followed through it.
    masks
        Label images to use in place of segmenting, as many as there are frames.
    pixel_size_um
        Used where a file does not say; None: unknown.
    explain
        Also write ``explain/<name>.png`` for the first images: what was seen, and how sure.
    trackmate
        Also write the tracks of a movie as the CSV files that TrackMate exports.
    console
        Where a progress bar is drawn; None: nowhere.

    Raises
    ------
    SettingsError, UsageError, ModelError
        One sentence; nothing is left behind.
    """
    if not movie:
        settings = settings.model_copy(update={"track": None})
    if masks is not None:
        # what a network would say of its own outlines it cannot say of these
        settings = settings.model_copy(update={"segment": None, "trust": None})
    if explain:
        settings = explainable(settings)
    with ExitStack() as stack:
        sources = [stack.enter_context(list_frames(path)) for path in inputs]
        given = None
        if masks is not None:
            given = stack.enter_context(list_frames(masks, dtypes=LABEL_DTYPES))
        work = _frames(sources, pixel_size_um)
        _check_work(work, given, movie)
        partial = stack.enter_context(_whole_or_nothing(out))
        pipeline = stack.enter_context(_opened(settings, given is not None))
        first = work[0]
        engine = pipeline.warm_up(first.shape, first.dtype)
        report = InferReport(str(out), settings.name, engine, movie)
        writer: _MovieWriter | _ImageWriter
        writer = (
            _MovieWriter(partial, settings, trackmate) if movie else _ImageWriter(partial, settings)
        )
        stack.enter_context(writer)
        explainer = None
        if explain:
            explainer = stack.enter_context(Explainer(settings, partial / "explain"))
        _run(pipeline, work, given, writer, report, console, explainer)
    return report


@dataclass(frozen=True, slots=True)
class _Work:
    """One frame to analyse."""

    source: Source
    index: int
    name: str
    seq: int
    time_s: float
    pixel_size_um: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.source.part_of(self.index)[0].shape

    @property
    def dtype(self) -> str:
        return self.source.part_of(self.index)[0].dtype

    def context(self) -> ImageContext:
        meta = FrameMeta(
            seq=self.seq, captured_ns=int(self.time_s * 1e9), popped_ns=0, exposure_ms=0.0,
            pixel_size_um=self.pixel_size_um,
        )  # fmt: skip
        return ImageContext(
            seq=self.seq,
            time_s=self.time_s,
            pixel_size_um=self.pixel_size_um,
            px_to_um=px_to_um(meta, self.shape),
        )


def _frames(sources: Sequence[Source], pixel_size_um: float | None) -> list[_Work]:
    work: list[_Work] = []
    time_s = 0.0
    for source in sources:
        for index in range(len(source)):
            size = source.part_of(index)[0].pixel_size_um or pixel_size_um or 0.0
            work.append(_Work(source, index, source.name(index), len(work), time_s, size))
            time_s += (source.interval_ms or UNKNOWN_INTERVAL_MS) / 1e3
    return work


def _check_work(work: Sequence[_Work], given: Source | None, movie: bool) -> None:
    if not work:
        raise UsageError("there is nothing to analyse; give at least one image or folder")
    if given is not None and len(given) != len(work):
        raise SettingsError(
            f"{given.path} has {len(given)} label images for {len(work)} frames; need one for each"
        )
    if movie:
        for one in work:
            if (one.shape, one.dtype) != (work[0].shape, work[0].dtype):
                raise SettingsError(
                    f"{one.source.part_of(one.index)[0].path} is {one.dtype} {one.shape}, the "
                    f"movie starts with {work[0].dtype} {work[0].shape}; give frames of one size"
                )
        return
    twice = [name for name, count in Counter(one.name for one in work).items() if count > 1]
    if twice:
        raise UsageError(
            f"{len(twice)} names come twice, such as {twice[0]}; results are named after the "
            "images, so analyse such folders one by one"
        )


@contextmanager
def _opened(settings: PipelineSettings, labels_given: bool) -> Iterator[Pipeline]:
    if labels_given and settings.denoise is None and settings.track is None:
        raise UsageError(
            "--masks gives label images to track: use --movie and a pipeline that tracks"
        )
    with open_pipeline(settings) as pipeline:
        yield pipeline


@contextmanager
def _whole_or_nothing(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that becomes ``out`` at the end, or goes away."""
    out = out.expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty; give a new folder")
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"{out} cannot be made: {error.strerror}; give another folder") from error
    try:
        yield partial
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        if partial.exists():
            shutil.rmtree(partial, ignore_errors=True)


class _Table:
    """``objects.csv``: one line an object, the columns of the object table after the frame."""

    def __init__(self, folder: Path, first: str) -> None:
        # closed by `close`; a with block cannot span the frames
        self._file = (folder / "objects.csv").open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        self._csv.writerow([first, *(OBJECT_DTYPE.names or ())])

    def add(self, key: str | int, objects: NDArray[np.void]) -> None:
        for row in objects:
            self._csv.writerow([key, *(_text(value) for value in row.item())])

    def close(self) -> None:
        self._file.close()


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return f"{value:.7g}" if isinstance(value, float) else value


class _ImageWriter:
    """Results of single images, named after them."""

    def __init__(self, folder: Path, settings: PipelineSettings) -> None:
        self._folder = folder
        self._labels = settings.segment is not None
        self._table = _Table(folder, "image")

    def __enter__(self) -> _ImageWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self._table.close()

    def add(self, one: _Work, result: PipelineResult) -> None:
        if self._labels:
            top = int(result.labels.max(initial=0))
            labels = result.labels.astype(np.uint16 if top < 65_536 else np.int32)
            _write(self._folder / f"{one.name}_labels.tif", labels, one.pixel_size_um)
        if result.denoised is not None:
            path = self._folder / f"{one.name}_denoised.tif"
            _write(path, result.denoised, one.pixel_size_um)
        self._table.add(one.name, result.objects)


class _MovieWriter:
    """Results of a movie in the Cell Tracking Challenge format, and as GEFF."""

    def __init__(self, folder: Path, settings: PipelineSettings, trackmate: bool) -> None:
        self._folder = folder
        self._tracks = CtcWriter(folder) if settings.track is not None else None
        self._gathered = Gatherer()
        self._trackmate = trackmate
        self._table = _Table(folder, "frame")
        self._denoised: tifffile.TiffWriter | None = None

    def __enter__(self) -> _MovieWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._denoised is not None:
            self._denoised.close()
        self._table.close()
        if exc[0] is None and self._tracks is not None:
            self._tracks.close()
            lineages = self._gathered.lineages()
            write_geff(self._folder / GEFF_NAME, lineages)
            if self._trackmate:
                write_trackmate(self._folder, lineages)

    def add(self, one: _Work, result: PipelineResult) -> None:
        if self._tracks is not None:
            self._tracks.add(result.labels, result.objects)
            time_s = one.time_s if one.source.interval_ms else math.nan
            self._gathered.add(
                one.seq, time_s, result.objects,
                pixel_size_um=one.pixel_size_um, classes=result.classes,
            )  # fmt: skip
        if result.denoised is not None:
            if self._denoised is None:
                self._denoised = tifffile.TiffWriter(self._folder / "denoised.tif", bigtiff=True)
            self._denoised.write(result.denoised, contiguous=True)
        self._table.add(one.seq, result.objects)


def _write(path: Path, image: NDArray[Any], pixel_size_um: float) -> None:
    scale: dict[str, Any] = {}
    if pixel_size_um:
        per_cm = 1e4 / pixel_size_um
        scale = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, image, compression="zlib", **scale)


def _run(
    pipeline: Pipeline,
    work: Sequence[_Work],
    given: Source | None,
    writer: _MovieWriter | _ImageWriter,
    report: InferReport,
    console: Console | None,
    explainer: Explainer | None = None,
) -> None:
    spent: dict[str, list[float]] = {}
    tracks: set[int] = set()
    started = time.perf_counter()
    for one in _with_progress(work, console):
        labels = given.read(one.seq) if given is not None else None
        pixels = one.source.read(one.index)
        if not report.movie:
            pipeline.reset()  # images of a folder need not have anything in common
        try:
            result = pipeline.run(pixels, one.context(), labels)
        except ModelError as error:
            raise type(error)(f"{one.source.part_of(one.index)[0].path}: {error}") from error
        writer.add(one, result)
        if explainer is not None:
            explainer.add(one.name, pixels, result)
        report.denoise.add(result.denoise)
        for stage, ms in result.stage_ms.items():
            spent.setdefault(stage, []).append(ms)
        report.frames += 1
        report.objects += len(result.objects)
        tracks.update(int(k) for k in result.objects["track_id"] if k)
        mothers = result.objects["parent_id"][result.objects["divided"]]
        report.divisions += len(np.unique(mothers))
    report.tracks = len(tracks)
    report.seconds = time.perf_counter() - started
    report.stage_ms = {stage: float(np.median(ms)) for stage, ms in spent.items()}


def _with_progress(work: Sequence[_Work], console: Console | None) -> Iterator[_Work]:
    if console is None or not console.is_terminal:
        yield from work
        return
    from rich.progress import track

    yield from track(work, description="Analysing", console=console)
