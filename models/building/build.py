"""A network in another precision, for one engine: made, compared, and written when it is as good.

Nothing is written that was not compared with the float32 network on frames that were held back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from models.building.accuracy import Accuracy, compared, reference_on
from models.building.bundle import Bundle, built_values, moved, write_engine, write_network
from models.building.frames import Frames, Parted, parted, runs_on
from models.building.precision import Sixteen, rounded_twin, sixteen_bit
from models.building.quantise import LEAVE, quantised
from models.building.region import need_onnx
from models.catalog import ModelCard
from models.engines.opening import engines_installed
from models.engines.trt.flavours import flavour_named
from models.engines.trt.suited import TURING
from models.errors import ModelError

BuildEngine = Literal["tensorrt-rtx", "tensorrt", "openvino", "onnxruntime"]
BuildPrecision = Literal["fp32", "fp16", "bf16", "int8"]
Progress = Callable[[float, str], None]
"""Told the part that is done, 0 to 1, and what is being done."""

GPU = ("tensorrt-rtx", "tensorrt")
MOST_TRIED_ON = 6
"""Calibration frames on which it is chosen which layers stay in float32."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build made."""

    name: str
    engine: str
    precision: str
    bundle: Bundle
    accuracy: Accuracy | None
    """None in fp32, where nothing was changed."""
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As ``parfocal models build --json`` gives it."""
        return {
            "name": self.name,
            "engine": self.engine,
            "precision": self.precision,
            "files": [str(file) for file in self.bundle.files],
            "bytes": {file.name: file.stat().st_size for file in self.bundle.files},
            "accuracy": None if self.accuracy is None else self.accuracy.to_json(),
            "warnings": list(self.warnings),
        }


def check_build(card: ModelCard, engine: BuildEngine, precision: BuildPrecision) -> None:
    """Refuse, before anything is read, a build that cannot be of use.

    Raises
    ------
    ModelError
        With what to set in the pipeline, or to build, instead.
    """
    if card.precision != "fp32":
        raise ModelError(
            f"{card.name} is in {card.precision} already; build from the float32 network"
        )
    use = f"engine: {engine}, model: {card.name}"
    if engine in GPU:
        flavour = flavour_named(engine)
        if not flavour.installed:
            raise ModelError(f"{engine} is not installed; {flavour.install}")
    elif precision == "fp32":
        raise ModelError(f"{engine} runs {card.name} in fp32 as it is; set {use} in the pipeline")
    elif precision == "bf16" and engine == "openvino":
        raise ModelError(
            "OpenVINO makes bf16 of the float32 file itself, where the CPU has it; nothing needs "
            f"to be built: set {use}, precision: bf16 in the pipeline"
        )
    elif precision == "bf16" or (precision == "fp16" and engine == "openvino"):
        raise ModelError(
            f"{engine} does not compute in {precision} on a CPU; build with --precision int8, or "
            "for a GPU with --engine tensorrt-rtx"
        )
    need_onnx()


def build_model(
    card: ModelCard,
    frames: Frames,
    out: Path,
    *,
    engine: BuildEngine,
    precision: BuildPrecision,
    shapes: str = "",
    capabilities: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> BuildReport:
    """Build, compare and write; blocks for seconds to minutes.

    Parameters
    ----------
    card
        Of the float32 network.
    frames
        Camera counts (y, x) to calibrate and compare on; not needed in fp32.
    out
        Folder for the files, ``NAME-PRECISION.onnx`` and more; made if need be.
    engine, precision
        What it is for.
    shapes
        For TensorRT, image sizes as ``models.engines.trt.sizes.Sizes.parse`` reads; empty for any.
    capabilities
        For TensorRT for RTX, compute capabilities of the GPUs, as ``8.6``; empty for all that have
        the precision.
    progress
        Told how far it is.

    Raises
    ------
    ModelError
        When it cannot be built, or files are in the way; `WorseThanAllowed` when it differs more
        from the float32 network than its precision allows. Nothing is written then.
    """
    check_build(card, engine, precision)
    tell = progress or (lambda _part, _what: None)
    name = f"{card.name}-{precision}"
    if (out / f"{name}.onnx").exists():
        raise ModelError(f"{out / name}.onnx exists; choose another --out, or delete it")
    with tempfile.TemporaryDirectory(prefix="parfocal-build-") as folder:
        place = Path(folder)
        content, accuracy = _made(card, frames, place, engine, precision, tell)
        section = _section(card, engine, precision, accuracy)
        values = built_values(card, precision, accuracy)
        built = write_network(place / "out", name, content, card, values, section)
        bundle = Bundle(built.path, built.path.with_suffix(".md"))
        if engine in GPU:
            gpus = capabilities or _gpus(engine, precision)
            bundle = _with_engine(bundle, content, engine, precision, shapes, gpus, tell)
        bundle = _across(bundle, out)
    tell(1.0, "done")
    return BuildReport(name, engine, precision, bundle, accuracy, _warnings(engine, precision))


def _made(
    card: ModelCard, frames: Frames, place: Path, engine: str, precision: str, tell: Progress
) -> tuple[bytes, Accuracy | None]:
    """The ONNX file in its precision, and how it differs."""
    source = card.path.read_bytes()
    if precision == "fp32":
        return source, None
    parts = parted(frames, in_order=card.task == "denoise")
    tell(0.05, "running the float32 network")
    if precision == "int8":
        content = _eight_bits(card, parts, place, engine, tell)
    else:
        content = sixteen_bit(source, cast(Sixteen, precision))
    tell(0.6, "comparing on held-back frames")
    reference = reference_on(card, parts.held_back)
    accuracy = _compare(card, content, parts.held_back, reference, place, engine, precision)
    accuracy.check()
    return content, accuracy


def _eight_bits(card: ModelCard, parts: Parted, place: Path, engine: str, tell: Progress) -> bytes:
    """Quantised in the fastest way that keeps the tolerance; in the most exact one if none does."""
    source = card.path.read_bytes()
    given = runs_on(card, parts.calibrate)
    tried_on = parts.calibrate[:MOST_TRIED_ON]
    reference = reference_on(card, tried_on)
    content = b""
    ways = _ways(engine)
    for index, (symmetric, leave) in enumerate(ways):
        tell(0.1 + 0.5 * index / len(ways), f"calibrating on {len(parts.calibrate)} frames")
        content = quantised(source, given, symmetric=symmetric, leave=leave)
        found = _compare(card, content, tried_on, reference, place, engine, "int8")
        if not found.missed:
            break
    return content


def _ways(engine: str) -> list[tuple[bool, tuple[int, int]]]:
    """Symmetric or not, and what to leave out, the fastest first."""
    kinds = {"onnxruntime": (False,), "openvino": (True, False)}.get(engine, (True,))
    return [(symmetric, leave) for leave in LEAVE for symmetric in kinds]


def _compare(
    card: ModelCard, content: bytes, frames: Frames, reference: Any, place: Path, engine: str,
    precision: str,
) -> Accuracy:  # fmt: skip
    """Run what was built where it can be run here, and compare."""
    here = engine in engines_installed()
    run_by = engine if here else "onnxruntime"
    run_as = precision if precision == "int8" or (engine in GPU and here) else "fp32"
    said = run_by if here else f"{run_by}, as {engine} cannot run here"
    if precision == "bf16" and not here:
        content = rounded_twin(card.path.read_bytes(), "bf16")
        said = "rounded to bf16 in onnxruntime"
    trial = write_network(place / "trial", card.name, content, card, {})
    found = compared(trial, frames, reference, engine=run_by, run_as=run_as, precision=precision)
    return Accuracy(found.task, precision, said, found.frames, found.objects, found.figures)


def _with_engine(
    bundle: Bundle, content: bytes, engine: str, precision: str, shapes: str,
    capabilities: tuple[str, ...], tell: Progress,
) -> Bundle:  # fmt: skip
    from models.engines.trt.build import build_engine

    built = build_engine(
        content, flavour=engine, shapes=shapes or None, capabilities=capabilities,
        progress=lambda part, what: tell(0.7 + 0.29 * part, what),
    )  # fmt: skip
    if built.precision != precision:
        raise ModelError(
            f"{engine} made an engine in {built.precision}, asked for {precision}; please report "
            "this with the model"
        )
    return Bundle(bundle.onnx, bundle.card, write_engine(bundle.onnx, built))


def _gpus(engine: str, precision: str) -> tuple[str, ...]:
    """Compute capabilities that have the precision; none for all that the flavour knows."""
    flavour = flavour_named(engine)
    if precision != "bf16" or not flavour.builds_without_gpu:
        return ()
    # Turing has tensor cores and no bf16
    return tuple(one for one in flavour.capabilities if one != TURING)


def _across(bundle: Bundle, out: Path) -> Bundle:
    """Into the folder asked for, by way of one beside it: files are renamed, never half there."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".part-") as beside:
        import shutil

        there = Path(beside)
        for file in bundle.files:
            shutil.copyfile(file, there / file.name)
        engine = None if bundle.engine is None else there / bundle.engine.name
        return moved(Bundle(there / bundle.onnx.name, there / bundle.card.name, engine), out)


def _section(card: ModelCard, engine: str, precision: str, accuracy: Accuracy | None) -> str:
    """What the card says of the build."""
    how = f"From {card.name} for {engine} in {precision} by `parfocal models build`."
    return how if accuracy is None else f"{how}\n{accuracy.sentence()}."


def _warnings(engine: str, precision: str) -> tuple[str, ...]:
    if engine == "onnxruntime" and precision == "fp16":
        return (
            "ONNX Runtime has no fp16 arithmetic on CPUs: this file is half as large and no "
            "faster; int8 is",
        )
    return ()
