"""A built engine that is ready to run: what the hot path asks of TensorRT, and TensorRT itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from models.engines.trt.build import Port
from models.engines.trt.device import Handle
from models.engines.trt.flavours import Flavour, import_flavour, listening
from models.engines.trt.sizes import Range
from models.errors import (
    EngineError,
    EngineFileError,
    EngineOutOfMemory,
    EngineShapeError,
    EngineVersionError,
)

Shapes = Mapping[str, tuple[int, ...]]


class Bound(Protocol):
    """An engine set to one set of shapes, with memory of its own."""

    @property
    def outputs(self) -> Shapes:
        """Shape of each output."""

    @property
    def scratch_bytes(self) -> int:
        """GPU memory that it needs beside inputs and outputs."""

    def use_scratch(self, address: int, size: int) -> None:
        """Give it that memory; kept by the caller until `close`."""

    def bind(self, name: str, address: int) -> None:
        """Where on the GPU an input or output lies from now on."""

    def enqueue(self, stream: Handle) -> None:
        """Queue one run; raises as ``Gpu`` does."""

    def capturable(self, stream: Handle) -> bool:
        """Whether a run can be captured as a graph."""

    def close(self) -> None:
        """Let it go. Safe to call twice."""


class Plan(Protocol):
    """A built engine, loaded."""

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it takes."""

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What it gives."""

    def limits(self, name: str) -> Range:
        """Shapes of an input that it was built for."""

    def bound(self, shapes: Shapes) -> Bound:
        """Set to these shapes of all inputs; ``EngineShapeError`` when it is not built for them."""

    def jit_cache(self) -> bytes | None:
        """What the first run compiled, to be given to the next start; None where nothing is."""

    def close(self) -> None:
        """Let it go, after all that is bound. Safe to call twice."""


def dtype_of(port: Port) -> np.dtype[Any]:
    """How numpy holds what goes in or out; ``EngineError`` for a type that it does not have."""
    try:
        return np.dtype(port.type)
    except TypeError as error:
        raise EngineError(
            f"{port.name!r} is {port.type}, which arrays cannot hold; build the network with "
            "float32 inputs and outputs"
        ) from error


def load_plan(flavour: Flavour, engine: bytes, jit: bytes | None = None) -> TensorRtPlan:
    """Load a built engine on the current GPU.

    Parameters
    ----------
    flavour
        What built it.
    engine
        The serialised engine, from a source that is trusted: TensorRT runs what is in it.
    jit
        What `Plan.jit_cache` gave after an earlier run here.

    Raises
    ------
    EngineVersionError
        When it was built by another version or for another GPU.
    EngineFileError
        When it is damaged.
    EngineOutOfMemory
        When it does not fit into the GPU.
    """
    trt = import_flavour(flavour)
    said = listening(flavour)
    said.lines.clear()
    try:
        runtime = trt.Runtime(said.logger)
    except (TypeError, RuntimeError) as error:  # what its bindings make of a null pointer
        raise EngineError(f"{flavour.name} cannot start: {said.last()}") from error
    if hasattr(runtime, "get_engine_validity"):
        _check_valid(flavour, trt, runtime, engine)
    loaded = runtime.deserialize_cuda_engine(engine)
    if loaded is None:
        raise _error(EngineFileError, f"{flavour.name} cannot load the engine", said.last())
    return TensorRtPlan(flavour, runtime, loaded, jit)


def _check_valid(flavour: Flavour, trt: Any, runtime: Any, engine: bytes) -> None:
    validity, reasons = runtime.get_engine_validity(engine)
    if validity != trt.EngineValidity.INVALID:
        return
    mask = int(reasons)
    kinds = trt.EngineInvalidityDiagnostics.__members__.items()
    names = [name for name, member in kinds if mask & int(member)]
    text = ", ".join(name.lower().replace("_", " ") for name in names)
    text = text or listening(flavour).last()
    if "MALFORMED_ENGINE" in names:
        raise EngineFileError(f"the engine is damaged ({text}); build it again")
    if "INSUFFICIENT_GPU_MEMORY" in names:
        raise EngineOutOfMemory(f"the engine does not fit into the GPU ({text})")
    raise EngineVersionError(f"the engine does not fit this machine ({text}); build it again here")


def _error(kind: type[EngineError], what: str, reason: str) -> EngineError:
    """The error, or that of memory where TensorRT speaks of it."""
    low = reason.lower()
    if "out of memory" in low or "outofmemory" in low or "insufficient memory" in low:
        return EngineOutOfMemory(f"{what}: {reason}; close other programs on the GPU")
    return kind(f"{what}: {reason}")


class TensorRtPlan:
    """An engine of either flavour; see `Plan`. Made by `load_plan`."""

    def __init__(self, flavour: Flavour, runtime: Any, engine: Any, jit: bytes | None) -> None:
        self._flavour, self._runtime, self._engine = flavour, runtime, engine
        self._trt = import_flavour(flavour)
        self._cache: Any = None
        self._config: Any = None
        if flavour.runtime_cache:
            self._config = engine.create_runtime_config()
            self._cache = self._config.create_runtime_cache()
            if jit is not None and not self._cache.deserialize(jit):
                self._cache.reset()  # of another driver: it is compiled again
            self._config.set_runtime_cache(self._cache)
            # graphs are captured by the hot path, with the copies' events round them; and what is
            # captured must be the kernels for this shape, not those that stand in for them
            self._config.cuda_graph_strategy = self._trt.CudaGraphStrategy.DISABLED
            strategy = self._trt.DynamicShapesKernelSpecializationStrategy
            self._config.dynamic_shapes_kernel_specialization_strategy = strategy.EAGER
            self._config.set_execution_context_allocation_strategy(
                self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
            )
        names = [engine.get_tensor_name(k) for k in range(engine.num_io_tensors)]
        given = self._trt.TensorIOMode.INPUT
        self._inputs = tuple(self._port(n) for n in names if engine.get_tensor_mode(n) == given)
        self._outputs = tuple(self._port(n) for n in names if engine.get_tensor_mode(n) != given)

    def _port(self, name: str) -> Port:
        shape = tuple(k if k >= 0 else None for k in self._engine.get_tensor_shape(name))
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        return Port(name, dtype.name, shape)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What it gives."""
        return self._outputs

    def limits(self, name: str) -> Range:
        """Shapes of an input that it was built for."""
        fixed = next(one.shape for one in self._inputs if one.name == name)
        if None not in fixed:
            shape = tuple(k or 0 for k in fixed)
            return Range(shape, shape, shape)
        least, usual, most = self._engine.get_tensor_profile_shape(name, 0)
        return Range(tuple(least), tuple(usual), tuple(most))

    def bound(self, shapes: Shapes) -> Bound:
        """Set to these shapes of all inputs."""
        how = self._config
        if how is None:
            how = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        what = f"{self._flavour.name} cannot set up a run"
        try:
            context = self._engine.create_execution_context(how)
            if context is None:
                raise _error(EngineError, what, listening(self._flavour).last())
            return _TensorRtBound(self._flavour, context, self._outputs, shapes)
        except RuntimeError as error:
            reason = f"{error}; {listening(self._flavour).last()}"
            raise _error(EngineError, what, reason) from error

    def jit_cache(self) -> bytes | None:
        """What the first run compiled."""
        if self._cache is None:
            return None
        blob = self._cache.serialize()
        return None if blob is None else bytes(blob)

    def close(self) -> None:
        """Let it go; order matters to TensorRT."""
        self._cache = self._config = self._engine = self._runtime = None


class _TensorRtBound:
    def __init__(
        self, flavour: Flavour, context: Any, outputs: tuple[Port, ...], shapes: Shapes
    ) -> None:
        self._flavour, self._context = flavour, context
        said = listening(flavour)
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise EngineShapeError(
                    f"{flavour.name} does not take {name!r} of {shape}: {said.last()}"
                )
        unknown = context.infer_shapes()
        if unknown:
            raise EngineShapeError(f"{flavour.name} needs the shapes of {', '.join(unknown)}")
        self._outputs = {one.name: tuple(context.get_tensor_shape(one.name)) for one in outputs}
        for name, shape in self._outputs.items():
            if min(shape, default=0) < 0:
                raise EngineShapeError(
                    f"the size of output {name!r} is known only after the run ({shape}); need a "
                    "network whose outputs follow from its inputs' sizes"
                )
        self._scratch = int(context.update_device_memory_size_for_shapes())

    @property
    def outputs(self) -> Shapes:
        return self._outputs

    @property
    def scratch_bytes(self) -> int:
        return self._scratch

    def use_scratch(self, address: int, size: int) -> None:
        self._context.set_device_memory(address, size)

    def bind(self, name: str, address: int) -> None:
        if not self._context.set_tensor_address(name, address):
            reason = listening(self._flavour).last()
            raise EngineError(f"{self._flavour.name} does not take the memory of {name}: {reason}")

    def enqueue(self, stream: Handle) -> None:
        if not self._context.execute_async_v3(int(stream)):
            reason = listening(self._flavour).last()
            raise _error(EngineError, f"{self._flavour.name} failed to run", reason)

    def capturable(self, stream: Handle) -> bool:
        known = getattr(self._context, "is_stream_capturable", None)
        return True if known is None else bool(known(int(stream)))

    def close(self) -> None:
        self._context = None
