"""PyTorch, eager: what every other engine is compared with, and what training runs on.

The ONNX file's weights go back into the modules that they were exported from, and those are run as
a user of torch would run them. On an NVIDIA GPU the first run of a size is recorded as a CUDA graph
and replayed from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.engines.base import Arrays, Shape, filled, model_name, not_open, refuse_precision
from models.errors import EngineError, EngineFileError, EngineOutOfMemory, ModelError
from models.result import EngineInfo

NAME = "torch"
PRECISIONS = ("fp32", "fp16", "bf16")
GRAPHS = 8
"""Most sizes kept as CUDA graphs; of more, the oldest is recorded anew when it comes again."""


class TorchEngine:
    """Runs an ONNX file of this program through torch.

    Parameters
    ----------
    path
        ONNX file in float32.
    precision
        ``fp32``, or ``fp16`` or ``bf16`` for the convolutions; normalising and grouping stay in
        float32. On a GPU ``fp32`` is without TF32.
    threads
        Threads of one run on the CPU. Torch has one number for the whole process: it is set while
        the engine is open. Its threads spin for a moment after each run, which cannot be changed
        from here, so beside a camera another engine is the better one.
    device
        ``cpu``, ``cuda``, or ``auto`` for the GPU where torch sees one.
    """

    def __init__(
        self, path: Path, precision: str = "fp32", threads: int = 1, device: str = "auto"
    ) -> None:
        refuse_precision(NAME, precision, PRECISIONS)
        if device not in ("auto", "cpu", "cuda"):
            raise EngineError(f"torch runs on cpu or cuda, not {device!r}; or auto")
        self._path, self._precision, self._threads = path, precision, threads
        self._wanted = device
        self._stack = ExitStack()
        self._runner: _Eager | _Replayed | None = None
        self._rebuilt: Any = None
        self._info: EngineInfo | None = None
        self._known: dict[str, tuple[int, ...] | None] = {}

    def __enter__(self) -> Self:
        """Rebuild the network; raises ``EngineError`` when it would not run as asked."""
        try:
            import torch

            from models.training.rebuild import module_from_onnx
        except ImportError as error:
            raise EngineError(
                f'engine torch needs torch and onnx: {error}; `pip install "parfocal[train]"`, or '
                "set another engine"
            ) from error
        name = model_name(self._path)
        there = torch.cuda.is_available()
        if self._wanted == "cuda" and not there:
            raise EngineError("asked torch for cuda, it sees no NVIDIA GPU; set device to cpu")
        device = torch.device("cuda" if there and self._wanted != "cpu" else "cpu")
        try:
            rebuilt = module_from_onnx(self._path)
        except ModelError as error:
            raise EngineFileError(f"torch cannot load {self._path}: {error}") from error
        dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
        module = rebuilt.module.to(device)
        narrow = _narrowed(module, rebuilt.convolutions, dtype[self._precision])
        _prove(module, narrow, device, dtype[self._precision])
        if device.type == "cpu":
            self._stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(self._threads)
            where = f"cpu, {torch.get_num_threads()} threads"
            self._runner = _Eager(module, device)
        else:
            major, minor = torch.cuda.get_device_capability(device)
            where = f"{torch.cuda.get_device_name(device)}, cc {major}.{minor}"
            self._runner = _Replayed(module, device)
        self._rebuilt = rebuilt
        for key, shape in rebuilt.inputs.items():
            lengths = tuple(length for length in shape if length is not None)
            self._known[key] = lengths if len(lengths) == len(shape) else None
        self._info = EngineInfo(NAME, self._precision, where, name)
        return self

    def __exit__(self, *exc: object) -> None:
        """Let the network go and give torch its threads back. Safe to call twice."""
        self._runner = self._rebuilt = None
        self._stack.close()

    @property
    def info(self) -> EngineInfo:
        """What runs: where the weights lie, and on a GPU whether graphs are replayed."""
        if self._runner is None or self._info is None:
            raise not_open(NAME)
        held = self._info
        return EngineInfo(held.name, held.precision, held.device + self._runner.note, held.model)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what the network takes."""
        if self._runner is None:
            raise not_open(NAME)
        return tuple(self._known)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Lengths of the axes of each input, None where free."""
        if self._runner is None:
            raise not_open(NAME)
        return dict(self._rebuilt.inputs)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs by name; fresh arrays."""
        if self._runner is None:
            raise not_open(NAME)
        given = filled(inputs, self._known)
        if set(given) != set(self._known):
            raise EngineError(
                f"torch failed on {self._path.name}: got {', '.join(given)}, need "
                f"{', '.join(self._known)}"
            )
        import torch

        try:
            found = self._runner([_owned(given[name]) for name in self._known])
        except torch.cuda.OutOfMemoryError as error:
            raise EngineOutOfMemory(f"torch failed on {self._path.name}: {error}") from error
        except Exception as error:  # torch raises RuntimeError, IndexError and its own
            raise EngineError(f"torch failed on {self._path.name}: {error}") from error
        return dict(zip(self._rebuilt.outputs, found, strict=True))


def _owned(array: NDArray[Any]) -> NDArray[Any]:
    """The array as torch takes it: contiguous, and writable, though nobody writes to it."""
    array = np.ascontiguousarray(array)
    return array if array.flags.writeable else array.copy()


def _narrowed(module: Any, names: tuple[str, ...], dtype: Any) -> list[Any]:
    """Put the submodules of these names into ``dtype``, floats going in and out as before."""
    held = [module.get_submodule(name) for name in names]
    for part in held:
        part.to(dtype)
        part.register_forward_pre_hook(lambda _, args: tuple(one.to(dtype) for one in args))
        part.register_forward_hook(lambda *given: given[-1].float())
    return held


def _prove(module: Any, narrow: list[Any], device: Any, dtype: Any) -> None:
    """Raise ``EngineError`` unless the weights lie where and as they were asked to."""
    where = {weight.device.type for weight in module.parameters()} or {device.type}
    what = {weight.dtype for part in narrow for weight in part.parameters()} or {dtype}
    if where != {device.type} or what != {dtype}:
        raise EngineError(f"asked torch for {dtype} on {device}, it runs {what} on {where}")


class _Eager:
    """One call of the module after another."""

    note = ""

    def __init__(self, module: Any, device: Any) -> None:
        self._module, self._device = module, device

    def __call__(self, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        import torch

        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            tensors = [torch.from_numpy(array).to(self._device) for array in arrays]
            return [out.cpu().numpy() for out in self._module(*tensors)]


class _Replayed:
    """A CUDA graph for each size, recorded at its first run."""

    def __init__(self, module: Any, device: Any) -> None:
        self._module, self._device = module, device
        self._graphs: dict[tuple[tuple[int, ...], ...], tuple[Any, list[Any], list[Any]]] = {}
        self._refused = ""

    @property
    def note(self) -> str:
        """What is to be said of it beside the device."""
        return f", no CUDA graph: {self._refused}" if self._refused else ", CUDA graph"

    def __call__(self, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        import torch

        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            if self._refused:
                return _Eager(self._module, self._device)(arrays)
            key = tuple(array.shape for array in arrays)
            if key not in self._graphs:
                try:
                    self._record(key, arrays)
                except torch.cuda.OutOfMemoryError:
                    raise
                except RuntimeError as error:  # stated in `note`, which goes into every report
                    self._refused = str(error).splitlines()[0]
                    return _Eager(self._module, self._device)(arrays)
            graph, taken, given = self._graphs[key]
            for tensor, array in zip(taken, arrays, strict=True):
                tensor.copy_(torch.from_numpy(array))
            graph.replay()
            return [out.cpu().numpy() for out in given]

    def _record(self, key: tuple[tuple[int, ...], ...], arrays: list[NDArray[Any]]) -> None:
        import torch

        taken = [torch.from_numpy(array).to(self._device) for array in arrays]
        # what is chosen and allocated at the first runs must not end up in the graph
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call, unused-ignore]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._module(*taken)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            given = list(self._module(*taken))
        while len(self._graphs) >= GRAPHS:
            self._graphs.pop(next(iter(self._graphs)))
        self._graphs[key] = (graph, taken, given)
