"""The engines that ``benchmarks/gpu.py`` compares: frames in, results on the host out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.engines.base import Engine

Feeds = dict[str, NDArray[Any]]


def scene(size: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """Soft spots on a background with shot noise and noise of reading out, (y, x) counts."""
    y, x = np.mgrid[0:32, 0:32].astype(np.float32) - 15.5
    image: NDArray[np.float32] = np.full((size, size), 100.0, np.float32)
    for _ in range(max(size * size // 1600, 1)):
        top, left = draw.integers(0, max(size - 32, 1), 2)
        spot = np.exp(-(y**2 + x**2) / (2 * draw.uniform(3, 6) ** 2)) * draw.uniform(200, 2000)
        image[top : top + 32, left : left + 32] += spot[: size - top, : size - left]
    noisy = draw.poisson(image) + draw.normal(0, 2, image.shape)
    return noisy.astype(np.float32)


class Runner(Protocol):
    """Frames in, results on the host out."""

    def frames(self, feeds: list[Feeds]) -> list[Feeds]:
        """Results of several frames, in order; blocks until the last one is there."""


class OnnxRuntimeRunner:
    """The reference: ONNX Runtime on the CPU, float32."""

    def __init__(self, path: Path) -> None:
        import onnxruntime as ort

        self._session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._names = [one.name for one in self._session.get_outputs()]

    def frames(self, feeds: list[Feeds]) -> list[Feeds]:
        """One after the other."""
        return [dict(zip(self._names, self._session.run(None, one), strict=True)) for one in feeds]


class OneByOne:
    """An engine of this program, one frame after the other."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def frames(self, feeds: list[Feeds]) -> list[Feeds]:
        """One after the other."""
        return [self._engine.run(one) for one in feeds]


class TensorRtRunner:
    """Frames through the hot path, two under way at once."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def frames(self, feeds: list[Feeds]) -> list[Feeds]:
        """Each is copied in while the one before computes."""
        done, ticket = [], None
        for one in feeds:
            following = self._engine.submit(one)
            if ticket is not None:
                done.append(self._engine.collect(ticket))
            ticket = following
        return [*done, self._engine.collect(ticket)]


class TorchRunner:
    """The same network in torch, as its users write it."""

    def __init__(self, path: Path, device: str, half: bool, compiled: bool) -> None:
        import torch

        from models.training.rebuild import module_from_onnx

        self._torch, self._device, self._half = torch, device, half
        rebuilt = module_from_onnx(path)
        self._inputs, self._outputs = tuple(rebuilt.inputs), rebuilt.outputs
        module = rebuilt.module.to(device)
        self._module: Any = torch.compile(module, dynamic=False) if compiled else module

    def frames(self, feeds: list[Feeds]) -> list[Feeds]:
        """One after the other, each copied in and out."""
        torch = self._torch
        done = []
        low = torch.autocast(self._device, torch.float16, enabled=self._half)
        with torch.inference_mode(), low:
            for one in feeds:
                given = [torch.from_numpy(one[name]).to(self._device) for name in self._inputs]
                found = [out.cpu().numpy() for out in self._module(*given)]
                done.append(dict(zip(self._outputs, found, strict=True)))
        return done


@contextmanager
def at_work(
    engine: str,
    path: Path,
    shipped: Path,
    precision: str,
    size: int,
    device: str,
    folder: Path,
) -> Iterator[Runner]:
    """An engine, open for images of one size.

    Parameters
    ----------
    engine
        ``onnxruntime``, ``torch``, ``torch compile``, ``torch graph`` or a flavour of TensorRT.
    path, shipped
        The file in this precision, and in float32.
    device
        Where torch runs.
    folder
        For built engines.
    """
    if engine == "onnxruntime":
        yield OnnxRuntimeRunner(path)
    elif engine == "torch graph":
        from models.engines.torch import TorchEngine

        with TorchEngine(shipped, precision, device="cuda") as replayed:
            yield OneByOne(replayed)
    elif engine.startswith("torch"):
        yield TorchRunner(shipped, device, precision == "fp16", engine == "torch compile")
    else:
        from models.engines.trt.cache import EngineCache
        from models.engines.trt.engine import TensorRtEngine
        from models.engines.trt.flavours import flavour_named
        from models.engines.trt.sizes import Sizes

        flavour, cache = flavour_named(engine), EngineCache(folder / "cache")
        sizes = Sizes.only(size, size)
        with TensorRtEngine(path, precision, flavour, sizes=sizes, cache=cache) as opened:
            if "no CUDA graph" in opened.info.device:
                print(f"    {opened.info.device}")
            yield TensorRtRunner(opened)
