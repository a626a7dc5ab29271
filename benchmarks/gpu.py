"""Every engine on this machine's NVIDIA GPU: right, how fast, and how far from what it could be.

One script for a machine that has a GPU and else little: ``python benchmarks/gpu.py --out gpu.json``
from the root of the repository. It needs numpy and onnxruntime, and checks what it finds of
tensorrt, tensorrt_rtx and torch. Each section stands alone: where one fails, its error is noted and
the rest goes on. ``--device cpu`` goes through the same steps as far as a CPU allows.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
try:
    import psutil  # noqa: F401
except ImportError:
    # only the choice of CPU threads asks it, which nothing here does
    sys.modules["psutil"] = ModuleType("psutil")

from benchmarks.gpu_chain import ChainedReplay, ChainedTorch, chained, checked, merged  # noqa: E402
from benchmarks.gpu_peaks import bounds_of, built, counted, peaks_of, seconds_of  # noqa: E402
from benchmarks.gpu_runners import (  # noqa: E402
    Feeds,
    OnnxRuntimeRunner,
    Runner,
    at_work,
    scene,
)
from models.engines.trt.flavours import FLAVOURS  # noqa: E402

WEIGHTS = ROOT / "models" / "weights"
SEGMENT, DENOISE = "nuclei", "denoise"
TARGET_MS, TARGET_RATIO = 5.0, 3.0


class Bench:
    """What was asked for, and what was found."""

    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self.asked, self.folder = asked, folder
        self.seed = int(time.time())
        self.files: dict[tuple[str, str], Path] = {}
        self.report: dict[str, Any] = {"seed": self.seed}
        self.until = time.monotonic() + 60 * asked.minutes

    def attempt(self, name: str, section: Callable[[], Any]) -> Any:
        """Run a section; its error is its result."""
        start = time.monotonic()
        try:
            if start > self.until:
                raise TimeoutError(f"left out: {self.asked.minutes} minutes are over")
            found = section()
        except Exception as error:  # one that fails must not take the others with it
            last = traceback.format_exc().strip().splitlines()[-4:]
            found = {"error": f"{type(error).__name__}: {error}", "where": last}
        print(f"[{time.monotonic() - start:6.1f} s] {name}: {_short(found)}", flush=True)
        return found

    def feeds(self, model: str, size: int, draw: np.random.Generator) -> Feeds:
        """What a network takes of a fresh scene."""
        image = scene(size, draw)
        if model == SEGMENT:
            of_image, of_grouping = np.zeros(2, np.float32), np.zeros(1, np.float32)
            return {"image": image - image.min(), "limits": of_image, "centre": of_grouping}
        return {
            "image": image[None, None],
            "state": np.zeros((1, 3, size, size), np.float32),
            "noise": np.array([1, 4, 0], np.float32),
            "fresh": np.ones(1, np.float32),
        }


def machine(bench: Bench) -> dict[str, Any]:
    """What this runs on."""
    found: dict[str, Any] = {"python": platform.python_version(), "system": platform.platform()}
    packages = ("numpy", "onnx", "onnxruntime", "torch", "cuda-python", "tensorrt-cu13",
                "tensorrt", "tensorrt-rtx-cu13")  # fmt: skip
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    if bench.asked.device == "cuda":
        from models.engines.trt.cuda import open_cuda

        found["gpu"] = str(open_cuda().info)
    return found


def files(bench: Bench) -> dict[str, Any]:
    """ONNX files of each precision; fp32 is what ships."""
    found: dict[str, Any] = {}
    for model in (SEGMENT, DENOISE):
        bench.files[model, "fp32"] = WEIGHTS / f"{model}.onnx"
        for precision in ("fp16", "int8"):
            name = f"{model} {precision}"
            path = bench.folder / f"{model}-{precision}.onnx"
            made = bench.attempt(f"file {name}", partial(_converted, bench, model, precision, path))
            found[name] = made
            if path.is_file():
                bench.files[model, precision] = path
    return found


def _converted(bench: Bench, model: str, precision: str, path: Path) -> str:
    content = (WEIGHTS / f"{model}.onnx").read_bytes()
    if precision == "fp16":
        from models.building.precision import sixteen_bit

        path.write_bytes(sixteen_bit(content, "fp16"))
    else:
        from models.building.quantise import quantised

        draw = np.random.default_rng(bench.seed + 1)
        seen = [bench.feeds(model, 256, draw) for _ in range(4)]
        path.write_bytes(quantised(content, seen, symmetric=True))
    return f"{path.stat().st_size} bytes"


def roofline(bench: Bench) -> dict[str, Any]:
    """Operations and least traffic of each network: each convolution reads and writes once."""
    found: dict[str, Any] = {}
    for model in (SEGMENT, DENOISE):
        for size in bench.asked.sizes:
            found[f"{model} {size}"] = counted(WEIGHTS / f"{model}.onnx", size)
    return found


def peaks(bench: Bench) -> dict[str, float]:
    """What the GPU reaches by itself."""
    return peaks_of(bench.asked.device)


def builds(bench: Bench) -> dict[str, Any]:
    """An engine of each file, where none is needed to build one; on a GPU, whether it loads."""
    found = {}
    for flavour in FLAVOURS:
        if flavour.installed and flavour.builds_without_gpu:
            for (model, precision), path in bench.files.items():
                name = f"{flavour.name} {model} {precision}"
                step = partial(built, flavour, path, precision, bench.asked.device == "cuda")
                found[name] = bench.attempt(f"build {name}", step)
    return found


def runner(
    bench: Bench, engine: str, model: str, precision: str, size: int
) -> AbstractContextManager[Runner]:
    """An engine at work, for images of one size."""
    if (model, precision) not in bench.files:
        raise ValueError(f"there is no file of {model} in {precision}")
    path, shipped = bench.files[model, precision], bench.files[model, "fp32"]
    return at_work(engine, path, shipped, precision, size, bench.asked.device, bench.folder)


def engines(bench: Bench) -> list[str]:
    """Those to be tried here."""
    if bench.asked.device == "cpu":
        return ["onnxruntime", "torch"]
    return [*(one.name for one in FLAVOURS if one.installed), "torch", "torch compile",
            "torch graph"]  # fmt: skip


def each(bench: Bench, sizes: list[int]) -> Iterator[tuple[str, str, str, int]]:
    """Engine, model, precision and size of every cell; a CPU gets fp32 alone."""
    precisions = ("fp32", "fp16", "int8") if bench.asked.device == "cuda" else ("fp32",)
    for model in (SEGMENT, DENOISE):
        for size in sizes:
            for engine in engines(bench):
                for precision in precisions:
                    if engine.startswith("torch") and precision == "int8":
                        continue
                    yield engine, model, precision, size


def correctness(bench: Bench) -> dict[str, Any]:
    """Against ONNX Runtime in float32, on scenes that nothing has seen before."""
    size = bench.asked.sizes[0]
    found = {}
    for engine, model, precision, _ in each(bench, [size]):
        name = f"{engine} {model} {precision}"

        found[name] = bench.attempt(
            f"right: {name}", partial(_compared, bench, engine, model, precision, size)
        )
    return found


def _compared(bench: Bench, engine: str, model: str, precision: str, size: int) -> dict[str, float]:
    draw = np.random.default_rng(bench.seed)
    feeds = [bench.feeds(model, size, draw) for _ in range(4)]
    expected = OnnxRuntimeRunner(WEIGHTS / f"{model}.onnx").frames(feeds)
    with runner(bench, engine, model, precision, size) as ready:
        return _differences(model, expected, ready.frames(feeds))


def _differences(model: str, expected: list[Feeds], got: list[Feeds]) -> dict[str, float]:
    for one in got:
        for name, array in one.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} has values that are not numbers")
    if model == SEGMENT:
        from models.scoring.instances import agreement

        pairs = [(b["labels"], a["labels"]) for a, b in zip(expected, got, strict=True)]
        (found,) = agreement(pairs, (0.9,))
        return {
            "ap_0.9": found.ap,
            "objects": float(np.mean([len(np.unique(a)) - 1 for _, a in pairs])),
            "probability_error": max(
                float(abs(b["probability"] - a["probability"]).max())
                for a, b in zip(expected, got, strict=True)
            ),
        }
    errors = [
        float(np.sqrt(np.mean((b["denoised"] - a["denoised"]) ** 2)) / np.std(a["denoised"]))
        for a, b in zip(expected, got, strict=True)
    ]
    return {"relative_error": max(errors)}


def table(bench: Bench) -> list[dict[str, Any]]:
    """Milliseconds a frame with all copies: one alone, and several at once."""
    rows = []
    for engine, model, precision, size in each(bench, bench.asked.sizes):
        cell: Mapping[str, Any] = {
            "engine": engine, "model": model, "precision": precision, "size": size
        }  # fmt: skip

        step = partial(_measured, bench, engine, model, precision, size)
        rows.append({**cell, **bench.attempt(f"{engine} {model} {precision} {size}", step)})
    return rows


def _measured(bench: Bench, engine: str, model: str, precision: str, size: int) -> dict[str, float]:
    draw = np.random.default_rng(bench.seed)
    feeds = [bench.feeds(model, size, draw)] * max(bench.asked.batches)
    found = {}
    with runner(bench, engine, model, precision, size) as ready:
        for n in bench.asked.batches:
            step = partial(ready.frames, feeds[:n])
            found[f"ms_batch_{n}"] = 1e3 * seconds_of(step, bench.asked.rounds) / n
    return found


def _short(found: Any) -> str:
    text = json.dumps(found, default=str)
    return text if len(text) < 200 else f"{text[:197]}..."


def end_to_end(bench: Bench) -> dict[str, Any]:
    """Denoise and segment one camera frame after another: image in, labels and picture out."""
    size = max(bench.asked.sizes)
    low = "fp16" if bench.asked.device == "cuda" else "fp32"
    found: dict[str, Any] = {"size": size, "precision": low}
    draw = np.random.default_rng(bench.seed)
    frame = bench.feeds(DENOISE, size, draw)
    frame |= {"seg_limits": np.zeros(2, np.float32), "seg_centre": np.zeros(1, np.float32)}

    def timed(ready: Runner) -> dict[str, float]:
        ready.frames([frame])
        return {
            "ms_latency": 1e3 * seconds_of(lambda: ready.frames([frame]), bench.asked.rounds),
            "ms_stream": 1e3 * seconds_of(lambda: ready.frames([frame] * 8), 3) / 8,
        }

    def torch_chain(half: bool, compiled: bool) -> dict[str, float]:
        return timed(ChainedTorch(WEIGHTS, bench.asked.device, half, compiled))

    def replayed(compiled: bool) -> dict[str, float]:
        return timed(ChainedReplay(WEIGHTS, compiled))

    found["torch fp32"] = bench.attempt("both: torch fp32", lambda: torch_chain(False, False))
    if bench.asked.device == "cpu":
        found["merged"] = bench.attempt("both: as one graph", lambda: _checked(bench, frame))
        return found
    found["torch fp16"] = bench.attempt("both: torch fp16", lambda: torch_chain(True, False))
    found["torch compile fp16"] = bench.attempt(
        "both: torch compile fp16", lambda: torch_chain(True, True)
    )
    for compiled in (False, True):
        name = f"torch {'compile ' if compiled else ''}graph fp16"
        found[name] = bench.attempt(f"both: {name}", partial(replayed, compiled))
    here = [flavour for flavour in FLAVOURS if flavour.installed]
    content = _both(bench, low) if here else b""
    for flavour in here:
        found[f"{flavour.name} {low}"] = bench.attempt(
            f"both: {flavour.name} {low}", partial(chained, content, flavour, size, timed)
        )
    return found


def _both(bench: Bench, precision: str) -> bytes:
    one, two = (bench.files[model, precision].read_bytes() for model in (DENOISE, SEGMENT))
    return merged(one, two)


def _checked(bench: Bench, frame: Feeds) -> dict[str, Any]:
    path = bench.folder / "both.onnx"
    path.write_bytes(_both(bench, "fp32"))
    return checked(path, WEIGHTS, frame)


def bounds(bench: Bench) -> dict[str, Any]:
    """Least milliseconds that operations and traffic take at the peaks measured here."""
    return bounds_of(bench.report["roofline"], bench.report["peaks"])


def targets(bench: Bench) -> dict[str, str]:
    """Whether what is promised was reached."""
    both = bench.report.get("end_to_end", {})
    eager = both.get("torch fp16", {}).get("ms_stream")
    best = {
        name: one["ms_stream"]
        for name, one in both.items()
        if isinstance(one, dict) and "ms_stream" in one and name not in ("torch fp32", "torch fp16")
    }
    size = both.get("size")
    if not best or eager is None or size != 2048:
        return {"all": "not measured: needs an NVIDIA GPU and size 2048"}
    name = min(best, key=lambda one: best[one])

    def met(fine: bool) -> str:
        return "met" if fine else "missed"

    return {
        f"denoise and segment 2048 in fp16 <= {TARGET_MS} ms": (
            f"{met(best[name] <= TARGET_MS)}: {best[name]:.2f} ms with {name}"
        ),
        f"at least {TARGET_RATIO} x torch eager": (
            f"{met(eager / best[name] >= TARGET_RATIO)}: {eager / best[name]:.2f} x"
        ),
    }


SECTIONS: tuple[tuple[str, Callable[[Bench], Any]], ...] = (
    ("machine", machine),
    ("files", files),
    ("builds", builds),
    ("roofline", roofline),
    ("peaks", peaks),
    ("bounds", bounds),
    ("correctness", correctness),
    ("end_to_end", end_to_end),
    ("table", table),
    ("targets", targets),
)


def main(arguments: list[str] | None = None) -> int:
    """Run all sections, print and write what was found; 1 when a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--sizes", type=lambda text: [int(n) for n in text.split(",")],
                        default=[512, 1024, 2048])  # fmt: skip
    parser.add_argument("--batches", type=lambda text: [int(n) for n in text.split(",")],
                        default=[1, 4])  # fmt: skip
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=9.0, help="no section starts after")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="JSON goes here")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(asked, Path(folder))
        for name, section in SECTIONS:
            bench.report[name] = bench.attempt(name, partial(section, bench))
            if asked.out is not None:  # after each, so that a stop loses little
                asked.out.write_text(json.dumps(bench.report, indent=1, default=str))
    for name, verdict in bench.report["targets"].items():
        print(f"{name}: {verdict}")
    return int(any(str(one).startswith("missed") for one in bench.report["targets"].values()))


if __name__ == "__main__":
    sys.exit(main())
