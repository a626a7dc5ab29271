"""How good denoised images are: PSNR, SSIM and resolution against clean or split-frame truth."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers import SettingsError, Source, list_frames
from live.scoring.files import listed
from models.errors import ImageError
from models.scoring.restoration import (
    CLEAN_LIMIT,
    Reference,
    RestorationScore,
    restoration_score,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

READABLE: Final = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")
DEFINITIONS: Final = {
    "psnr_db": "10 log10(data_range^2 / mean squared error)",
    "ssim": "mean over windows of 7 x 7 px, as scikit-image computes it with this data_range",
    "resolution": "period at which the Fourier ring correlation with the truth first sinks below "
    "the limit (van Heel & Schatz, J Struct Biol 2005); 1/7 and half-bit are for two images with "
    "independent noise, 1/2 is for a clean truth; a plain blur does not change it",
}
_ENDING: Final = re.compile(
    r"([_-](denoised|pred|clean|truth|gt|noisy|raw|low|high|img|images?)|\.ome)$", re.IGNORECASE
)
_IMAGES: Final = {".tif", ".tiff", ".png"}
_MOST_ROWS: Final = 12


@dataclass(frozen=True, slots=True, eq=False)
class DenoiseCase:
    """One image with its scores; arrays are (y, x) as they were read."""

    name: str
    pred: NDArray[Any]
    truth: NDArray[Any]
    raw: NDArray[Any] | None
    score: RestorationScore
    raw_score: RestorationScore | None
    """Of the image before denoising, against the same truth."""


@dataclass(frozen=True, slots=True)
class _Planes:
    """All planes of a file, one after another: the channels of the first frame, then the next."""

    path: Path
    channels: tuple[Source, ...]

    def __len__(self) -> int:
        return len(self.channels) * len(self.channels[0])

    def read(self, index: int) -> NDArray[Any]:
        """Plane (y, x) number ``index``."""
        frame, channel = divmod(index, len(self.channels))
        return self.channels[channel].read(frame)


@dataclass(frozen=True, slots=True)
class _Files:
    stem: str
    pred: Path
    truth: Path
    raw: Path | None


@dataclass(slots=True)
class DenoiseScoreReport:
    """Scores of one comparison."""

    pred: str
    truth: str
    reference: Reference
    fit: bool
    rows: list[dict[str, Any]] = field(default_factory=list)
    """One for each image, plain values."""
    worst: DenoiseCase | None = None
    """The image of the lowest PSNR, for the picture."""
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values; what could not be computed is null."""
        return {
            "pred": self.pred,
            "truth": self.truth,
            "images": len(self.rows),
            "reference": self.reference,
            "fit": self.fit,
            "definitions": dict(DEFINITIONS),
            "mean": self.mean("pred"),
            "mean_raw": self.mean("raw"),
            "per_image": self.rows,
            "notes": list(self.notes),
        }

    def mean(self, which: str) -> dict[str, float] | None:
        """Means over the images of ``pred`` or ``raw``; None where there is none."""
        found = [row[which] for row in self.rows if row.get(which)]
        if not found:
            return None
        return {key: float(np.mean([one[key] for one in found])) for key in _KEYS}

    def table(self) -> Table:
        """The scores as a table for the screen."""
        from rich.table import Table

        limit = "1/2" if self.reference == "clean" else "1/7"
        table = Table(box=None, pad_edge=False, padding=(0, 2))
        table.add_column("image", overflow="fold")
        for name in ("PSNR dB", "SSIM", f"res. {limit}, px", "res. half-bit, px"):
            table.add_column(name, justify="right")
        if self.mean("raw"):
            table.add_column("PSNR raw", justify="right")
            table.add_column("gain dB", justify="right")
        table.title = f"{self.pred} against {self.truth}"
        worst_first = sorted(self.rows, key=lambda row: row["pred"]["psnr_db"])
        for row in worst_first[:_MOST_ROWS] if len(self.rows) > 1 else self.rows:
            table.add_row(row["image"], *self._cells(row["pred"], row.get("raw")))
        if len(self.rows) > 1:
            every = self.mean("pred")
            assert every is not None
            what = f"mean of {len(self.rows)}"
            table.add_row(what, *self._cells(every, self.mean("raw")), style="bold")
        ranges = sorted({row["data_range"] for row in self.rows})
        span = f"{ranges[0]:g}" + (f" to {ranges[-1]:g}" if len(ranges) > 1 else "")
        fitted = ", gain and offset fitted" if self.fit else ""
        table.caption = f"data range {span} counts{fitted}; resolution by Fourier ring correlation"
        return table

    def _cells(self, pred: dict[str, float], raw: dict[str, float] | None) -> list[str]:
        main = "resolution_half_px" if self.reference == "clean" else "resolution_1_7_px"
        cells = [
            _number(pred["psnr_db"], 2), _number(pred["ssim"], 4), _number(pred[main], 2),
            _number(pred["resolution_half_bit_px"], 2),
        ]  # fmt: skip
        if raw is not None:
            cells += [
                _number(raw["psnr_db"], 2), f"{pred['psnr_db'] - raw['psnr_db']:+.2f}"
            ]  # fmt: skip
        return cells


_KEYS: Final = (
    "psnr_db", "ssim", "resolution_1_7_px", "resolution_half_px", "resolution_half_bit_px"
)  # fmt: skip


def score_denoised(
    pred: Path,
    truth: Path,
    *,
    raw: Path | None = None,
    fit: bool = False,
    data_range: float | None = None,
    reference: Reference = "clean",
    console: Console | None = None,
) -> DenoiseScoreReport:
    """Compare denoised images with the truth, and the raw ones too where given.

    Parameters
    ----------
    pred, truth, raw
        All files, stacks or OME-Zarr of as many frames, or all folders, matched by name.
    fit
        Scale each image to its truth first.
    data_range
        Counts from black to white; None: 255 for 8 bits, else the span of each truth.
    reference
        ``clean``, or ``split``: the truth is as noisy, of frames that the denoiser did not see.
    console
        Where a progress bar is drawn; None: nowhere.

    Raises
    ------
    SettingsError
        One sentence, naming the file.
    """
    from live.scoring.score import with_progress

    report = DenoiseScoreReport(str(pred), str(truth), reference, fit)
    lowest = math.inf
    for files in with_progress(_find(pred, truth, raw), "Comparing", console):
        for case in _cases(files, fit=fit, data_range=data_range):
            report.rows.append(_row(case))
            if case.score.psnr_db <= lowest or report.worst is None:
                lowest, report.worst = case.score.psnr_db, case
    if any(math.isnan(row["pred"]["ssim"]) for row in report.rows):
        report.notes.append('SSIM needs scikit-image: pip install "parfocal[score]"')
    if reference == "split":
        report.notes.append(
            "the truth is noisy itself: its PSNR ranks methods, but is lower than against a clean "
            "image"
        )
    return report


def _find(pred: Path, truth: Path, raw: Path | None) -> list[_Files]:
    paths = [path for path in (pred, truth, raw) if path is not None]
    for path in paths:
        if not path.exists():
            raise SettingsError(f"{path} does not exist")
    folders = [_is_folder_of_files(path) for path in paths]
    if len(set(folders)) > 1:
        one, other = paths[folders.index(True)], paths[folders.index(False)]
        raise SettingsError(
            f"{one} is a folder of files and {other} is one file; give files only or folders only"
        )
    if not folders[0]:
        return [_Files(_stem(truth), pred, truth, raw)]
    found, true = _by_stem(pred), _by_stem(truth)
    noisy = None if raw is None else _by_stem(raw)
    for there, where in ((found, pred), (noisy, raw)):
        missing = [
            true[stem].name for stem in sorted(true) if there is not None and stem not in there
        ]
        if missing or not true:
            what = f"nothing for {listed(missing)}" if missing else "no images of the truth"
            raise SettingsError(
                f"{where} and {truth}: {what}; files are matched by their names without endings "
                "such as _denoised, _clean, _gt, _noisy or _raw"
            )
    return [
        _Files(stem, found[stem], true[stem], None if noisy is None else noisy[stem])
        for stem in sorted(true)
    ]


def _cases(files: _Files, *, fit: bool, data_range: float | None) -> Iterator[DenoiseCase]:
    with ExitStack() as stack:
        pred, truth = _planes(files.pred, stack), _planes(files.truth, stack)
        raw = None if files.raw is None else _planes(files.raw, stack)
        for source in (pred, raw):
            # one clean image may stand for a whole stack of noisy ones
            if source is not None and len(truth) not in (1, len(source)):
                raise SettingsError(
                    f"{source.path} has {len(source)} images, {files.truth} has {len(truth)}; "
                    "need one true image for each, or one for all"
                )
        if raw is not None and len(raw) != len(pred):
            raise SettingsError(
                f"{files.raw} has {len(raw)} images, {files.pred} has {len(pred)}; need as many"
            )
        for index in range(len(pred)):
            name = files.stem if len(pred) == 1 else f"{files.stem}_{index:04d}"
            yield _case(name, pred, truth, raw, index, fit=fit, data_range=data_range)


def _case(
    name: str,
    pred: _Planes,
    truth: _Planes,
    raw: _Planes | None,
    index: int,
    *,
    fit: bool,
    data_range: float | None,
) -> DenoiseCase:
    one, true = pred.read(index), truth.read(index if len(truth) > 1 else 0)
    noisy = None if raw is None else raw.read(index)

    def scored(image: NDArray[Any], source: _Planes) -> RestorationScore:
        try:
            return restoration_score(image, true, data_range=data_range, fit=fit)
        except ImageError as error:
            raise SettingsError(f"{source.path} and {truth.path}: {error}") from error

    first = scored(one, pred)
    second = None if noisy is None or raw is None else scored(noisy, raw)
    return DenoiseCase(name, one, true, noisy, first, second)


def _planes(path: Path, stack: ExitStack) -> _Planes:
    count = 1
    if path.suffix.lower() in (".tif", ".tiff"):
        try:
            with tifffile.TiffFile(path) as tiff:
                axes, shape = str(tiff.series[0].axes), tiff.series[0].shape
        except (OSError, ValueError, IndexError) as error:
            raise SettingsError(f"{path} is not a readable TIFF: {error}") from error
        # samples before (y, x) are dyes; after it they are colours, which are refused later
        outer = axes.removesuffix("YXS").removesuffix("YX")
        count = next((int(shape[outer.index(axis)]) for axis in "CS" if axis in outer), 1)
    sources = [list_frames(path, channel=k, dtypes=READABLE) for k in range(count)]
    return _Planes(path, tuple(stack.enter_context(source) for source in sources))


def _row(case: DenoiseCase) -> dict[str, Any]:
    score = case.score
    row: dict[str, Any] = {
        "image": case.name,
        "data_range": score.data_range,
        "pred": _values(score),
        "frc": {
            "frequency_per_px": score.rings.frequency.round(5).tolist(),
            "correlation": score.rings.correlation.round(5).tolist(),
            "half_bit": score.rings.half_bit.round(5).tolist(),
        },
    }
    if case.raw_score is not None:
        row["raw"] = _values(case.raw_score)
    return row


def _values(score: RestorationScore) -> dict[str, float]:
    return {
        "psnr_db": score.psnr_db,
        "ssim": score.ssim,
        "resolution_1_7_px": score.rings.resolution_px(1 / 7),
        "resolution_half_px": score.rings.resolution_px(CLEAN_LIMIT),
        "resolution_half_bit_px": score.rings.resolution_px("half-bit"),
        "gain": score.fit.gain,
        "offset": score.fit.offset,
    }


def _is_folder_of_files(path: Path) -> bool:
    return path.is_dir() and not (path / "zarr.json").is_file()


def _by_stem(folder: Path) -> dict[str, Path]:
    out: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in _IMAGES or file.name.startswith("."):
            continue
        stem = _stem(file)
        if stem in out:
            raise SettingsError(
                f"{folder}: {out[stem].name} and {file.name} are of one image; keep one of them"
            )
        out[stem] = file
    return out


def _stem(path: Path) -> str:
    stem = re.sub(r"(\.ome)?\.(tiff?|png|zarr)$", "", path.name, flags=re.IGNORECASE)
    while (shorter := _ENDING.sub("", stem)) != stem and shorter:
        stem = shorter
    return stem


def _number(value: float, digits: int) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.{digits}f}" if math.isfinite(value) else "∞"
