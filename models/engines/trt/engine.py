"""TensorRT on an NVIDIA GPU, in either flavour: one adapter, since they have one interface.

An engine is built from the ONNX file once and kept, see ``models.engines.trt.cache``. One that lies
beside the file, as ``parfocal models build`` writes it, is taken first.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.engines.base import Arrays, Shape, filled, model_name, not_open, refuse_precision
from models.engines.ranks import MOST_PIXELS
from models.engines.trt.build import Built, build_engine
from models.engines.trt.cache import (
    JIT,
    EngineCache,
    EngineKey,
    cache_folder,
    key_of,
    read_kept,
    write_kept,
)
from models.engines.trt.cuda import open_cuda
from models.engines.trt.device import Gpu
from models.engines.trt.flavours import CLASSIC, RTX, Flavour, flavour_for, version_of
from models.engines.trt.hotpath import HotPath, Ticket
from models.engines.trt.plan import Plan, dtype_of, load_plan
from models.engines.trt.sizes import Sizes
from models.errors import (
    EngineError,
    EngineFileError,
    EngineShapeError,
    EngineValueError,
    EngineVersionError,
)
from models.result import EngineInfo

PRECISIONS = ("fp32", "fp16", "bf16", "int8")

_log = logging.getLogger(__name__)


def engine_beside(path: Path, flavour: str) -> Path:
    """Where an engine lies that was built ahead for an ONNX file and comes with it."""
    return path.with_name(f"{path.stem}.{flavour}.engine")


def write_ahead(path: Path, built: Built) -> Path:
    """Write an engine that was built ahead beside its ONNX file, where it is found; its path.

    Raises
    ------
    EngineError
        When the disk does not take it.
    """
    target = engine_beside(path, built.flavour)
    key = EngineKey(
        model=path.stem,
        model_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        precision=built.precision,
        sizes=str(built.sizes),
        flavour=built.flavour,
        flavour_version=built.flavour_version,
        gpu="",
        capability=",".join(built.capabilities),
        driver="",
    )
    write_kept(target, key, built.engine)
    return target


class TensorRtEngine:
    """Runs an ONNX file on an NVIDIA GPU.

    Parameters
    ----------
    path
        ONNX file; its precision is that of its graph.
    precision
        ``fp32``, ``fp16``, ``bf16`` or ``int8``: what the file must turn out to be.
    flavour
        Which TensorRT.
    sizes
        Image sizes to build for; any from 16 x 16 to 4096 x 4096 when None.
    cache
        Where built engines are kept; this user's folder when None.
    open_gpu, load, build, version
        What opens the GPU, loads an engine, builds one, and tells the version that does so.
    """

    def __init__(
        self,
        path: Path,
        precision: str = "fp32",
        flavour: Flavour = RTX,
        *,
        sizes: Sizes | None = None,
        cache: EngineCache | None = None,
        open_gpu: Callable[[], Gpu] = open_cuda,
        load: Callable[[Flavour, bytes, bytes | None], Plan] = load_plan,
        build: Callable[..., Built] = build_engine,
        version: Callable[[Flavour], str] = version_of,
    ) -> None:
        refuse_precision(flavour.name, precision, PRECISIONS)
        self._path, self._precision, self._flavour = path, precision, flavour
        self._sizes, self._cache = sizes or Sizes(), cache or EngineCache(cache_folder())
        self._open_gpu, self._load, self._build = open_gpu, load, build
        self._version = version
        self._gpu: Gpu | None = None
        self._plan: Plan | None = None
        self._hot: HotPath | None = None
        self._key: EngineKey | None = None
        self._model = self._origin = ""
        self._known: dict[str, tuple[int, ...] | None] = {}
        self._jit, self._saved, self._sorts = b"", 0, False

    def __enter__(self) -> Self:
        """Load or build the engine and run it once.

        Raises
        ------
        EngineError
            When there is no GPU or none that this flavour runs on, when the file is of another
            precision than asked, or when the engine cannot be built.
        """
        self._model = model_name(self._path)
        version = self._version(self._flavour)
        try:
            self._gpu = self._open_gpu()
            self._check_gpu(self._gpu)
            content = self._path.read_bytes()
            self._sorts = b"TopK" in content
            self._key = self._key_here(self._gpu, version, hashlib.sha256(content).hexdigest())
            self._plan = self._loaded(self._key)
            self._hot = HotPath(self._gpu, self._plan)
            self._known = {
                one.name: tuple(k or 0 for k in one.shape) if None not in one.shape else None
                for one in self._plan.inputs
            }
            self._prove()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """Let the network and the GPU go. Safe to call twice."""
        hot, plan, gpu = self._hot, self._plan, self._gpu
        self._hot = self._plan = self._gpu = None
        for one in (hot, plan, gpu):
            if one is not None:
                one.close()

    @property
    def info(self) -> EngineInfo:
        """What runs: the GPU as its driver reports it, and whether runs are not captured."""
        gpu, hot = self._gpu, self._hot
        if gpu is None or hot is None:
            raise not_open(self._flavour.name)
        device = str(gpu.info) + (f", no CUDA graph: {hot.no_graph}" if hot.no_graph else "")
        return EngineInfo(self._flavour.name, self._precision, device, self._model)

    @property
    def origin(self) -> str:
        """Where the engine came from: kept, or built and why."""
        return self._origin

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what the network takes."""
        return tuple(one.name for one in self._opened()[0].inputs)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Lengths of the axes of each input, None where free."""
        return {one.name: one.shape for one in self._opened()[0].inputs}

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs by name; blocks until done. Arrays are the caller's own."""
        return self.collect(self.submit(inputs))

    def submit(self, inputs: Mapping[str, NDArray[Any]]) -> Ticket:
        """Start a run and return, so that the next one can be copied in beside it.

        At most two of the same shapes are under way; each must be collected.
        """
        _, hot = self._opened()
        try:
            if self._sorts:
                _check_pixels(inputs)
            return hot.submit(filled(inputs, self._known))
        except EngineError as error:
            raise self._named(error) from error

    def collect(self, ticket: Ticket) -> Arrays:
        """Outputs of a run that was started; blocks until it is done."""
        _, hot = self._opened()
        try:
            found = hot.collect(ticket)
        except EngineError as error:
            raise self._named(error) from error
        if hot.lanes_made > self._saved:
            self._keep_jit(hot.lanes_made)
        return found

    def _named(self, error: EngineError) -> EngineError:
        return type(error)(f"{self._flavour.name} failed on {self._path.name}: {error}")

    def _opened(self) -> tuple[Plan, HotPath]:
        if self._plan is None or self._hot is None:
            raise not_open(self._flavour.name)
        return self._plan, self._hot

    def _check_gpu(self, gpu: Gpu) -> None:
        capability = gpu.info.capability
        if not self._flavour.accepts(capability):
            other = flavour_for(capability)
            raise EngineError(
                f"{self._flavour.name} does not run on {gpu.info.name} (compute capability "
                f"{capability}, it takes {', '.join(self._flavour.capabilities)}); "
                f"`{other.install}` and set engine to {other.name}"
            )

    def _key_here(self, gpu: Gpu, version: str, sha256: str) -> EngineKey:
        return EngineKey(
            model=self._path.stem,
            model_sha256=sha256,
            precision=self._precision,
            sizes=str(self._sizes),
            flavour=self._flavour.name,
            flavour_version=version,
            gpu=gpu.info.name,
            capability=gpu.info.capability,
            driver=gpu.info.driver,
        )

    def _loaded(self, key: EngineKey) -> Plan:
        """The engine beside the file, the one in the cache, or a new one."""
        kept = self._cache.load(key, JIT)
        self._jit = kept.payload or b""
        jit = kept.payload
        beside = self._beside(key)
        reason = ""
        for name, content in (("beside the model", beside), ("kept", None)):
            if name == "kept":
                found = self._cache.load(key)
                content, reason = found.payload, reason or found.reason
            if content is None:
                continue
            try:
                plan = self._load(self._flavour, content, jit)
            except (EngineFileError, EngineVersionError) as error:
                reason = str(error)
                if name == "kept":
                    self._cache.remove(key)
                continue
            self._origin = name
            return plan
        return self._load(self._flavour, self._built(key, reason), jit)

    def _beside(self, key: EngineKey) -> bytes | None:
        path = engine_beside(self._path, self._flavour.name)
        made_for = key_of(path)
        if made_for is None or key.capability not in made_for.capability.split(","):
            return None
        free = ("gpu", "driver", "capability", "sizes", "model")
        return read_kept(path, key, ignore=free).payload

    def _built(self, key: EngineKey, reason: str) -> bytes:
        start = time.monotonic()
        targets = (key.capability,) if self._flavour.builds_without_gpu else ()
        built = self._build(
            self._path, flavour=self._flavour.name, shapes=self._sizes, capabilities=targets
        )
        if built.precision != self._precision:
            raise EngineError(
                f"{self._path.name} computes in {built.precision}, asked for {self._precision}; "
                f"`parfocal models build {self._path.stem} --engine {self._flavour.name} "
                f"--precision {self._precision} --out DIR` makes one that does, or set precision "
                f"to {built.precision}"
            )
        self._origin = f"built in {time.monotonic() - start:.1f} s ({reason})"
        try:
            self._cache.save(key, built.engine)
        except EngineError as error:
            # it runs all the same, and is built again at the next start
            _log.warning("%s", error)
        return built.engine

    def _prove(self) -> None:
        """Run once on an empty image of the least size: the GPU answers, and with numbers."""
        plan, hot = self._opened()
        empty = {
            one.name: np.zeros(plan.limits(one.name).least, dtype_of(one)) for one in plan.inputs
        }
        for name, array in hot.run(empty).items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise EngineValueError(
                    f"{self._path.name} gives values that are not numbers in {name!r} for an "
                    f"empty image at {self._precision}; set precision to fp32"
                )
        self._keep_jit(hot.lanes_made)

    def _keep_jit(self, lanes: int) -> None:
        """Keep what was compiled for new shapes, for a fast next start."""
        plan, _ = self._opened()
        self._saved = lanes
        blob = plan.jit_cache()
        if blob is None or blob == self._jit or self._key is None:
            return
        self._jit = blob
        try:
            self._cache.save(self._key, blob, JIT)
        except EngineError as error:
            _log.warning("%s", error)


def _check_pixels(inputs: Mapping[str, NDArray[Any]]) -> None:
    for name, array in inputs.items():
        if array.size > MOST_PIXELS:
            raise EngineShapeError(
                f"{name!r} is {array.shape}, need at most {MOST_PIXELS} pixels; cut it into tiles"
            )


def rtx_engine(path: Path, precision: str = "fp32", threads: int = 1) -> TensorRtEngine:
    """Engine ``tensorrt-rtx`` as ``open_engine`` makes it; threads are the GPU's own affair."""
    del threads
    return TensorRtEngine(path, precision, RTX)


def classic_engine(path: Path, precision: str = "fp32", threads: int = 1) -> TensorRtEngine:
    """Engine ``tensorrt`` as ``open_engine`` makes it; threads are the GPU's own affair."""
    del threads
    return TensorRtEngine(path, precision, CLASSIC)
