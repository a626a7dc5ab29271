"""ONNX Runtime on the CPU: the engine that every installation has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.engines.base import Arrays, Shape, filled, model_name, not_open, refuse_precision
from models.engines.buffers import ResultBuffers
from models.engines.inside import check_held
from models.errors import EngineError
from models.result import EngineInfo

NAME = "onnxruntime"
PROVIDER = "CPUExecutionProvider"
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
}
"""Outputs that can be written straight into memory of ours."""

LARGE = 65_536
"""From this many values on they are; below, saying where costs more than fresh memory."""


class OnnxRuntimeEngine:
    """Runs an ONNX file on the CPU.

    Parameters
    ----------
    path
        ONNX file.
    precision
        ``fp32``, or ``int8`` of a file that was built in it; anything else is refused.
    threads
        Threads of one run.
    """

    def __init__(self, path: Path, precision: str = "fp32", threads: int = 1) -> None:
        refuse_precision(NAME, precision, ("fp32", "int8"))
        self._path, self._precision, self._threads = path, precision, threads
        self._session: Any = None
        self._info: EngineInfo | None = None
        self._known: dict[str, tuple[int, ...] | None] = {}
        self._forms: dict[str, tuple[int | str | None, ...]] = {}
        self._outputs: list[tuple[str, type | None, tuple[int | str | None, ...]]] = []
        self._buffers = ResultBuffers()

    def __enter__(self) -> Self:
        """Load the file; raises ``EngineError`` when another provider would run it."""
        import onnxruntime as ort

        name = model_name(self._path)
        check_held(self._path, NAME, self._precision)
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        # Threads wait for the next layer awake, for the next frame asleep: between frames, spinning
        # threads would take cores from the camera's process.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(str(self._path), options, providers=[PROVIDER])
        except Exception as error:  # its exceptions share no base class of their own
            raise EngineError(f"ONNX Runtime cannot load {self._path}: {error}") from error
        active = session.get_providers()
        if active != [PROVIDER]:
            raise EngineError(f"asked ONNX Runtime for {PROVIDER}, it runs {active}")
        self._session = session
        for given in session.get_inputs():
            # a free length is a name or None in place of a number
            fixed = all(isinstance(length, int) for length in given.shape)
            self._known[given.name] = tuple(given.shape) if fixed else None
            self._forms[given.name] = tuple(given.shape)
        self._outputs = [
            (one.name, _TYPES.get(one.type), tuple(one.shape)) for one in session.get_outputs()
        ]
        self._info = EngineInfo(NAME, self._precision, f"cpu, {self._threads} threads", name)
        return self

    def __exit__(self, *exc: object) -> None:
        """Let the session go. Safe to call twice."""
        self._session = None

    @property
    def info(self) -> EngineInfo:
        """What runs: provider as the session reports it."""
        if self._session is None or self._info is None:
            raise not_open(NAME)
        return self._info

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what the network takes."""
        if self._session is None:
            raise not_open(NAME)
        return tuple(self._known)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Lengths of the axes of each input, None where free."""
        if self._session is None:
            raise not_open(NAME)
        return {
            name: tuple(k if isinstance(k, int) else None for k in form)
            for name, form in self._forms.items()
        }

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs by name; fresh arrays."""
        if self._session is None:
            raise not_open(NAME)
        given = filled(inputs, self._known)
        try:
            shapes = self._lengths_of_outputs(given)
            if shapes is not None and sum(map(math.prod, shapes.values())) >= LARGE:
                return self._run_into(given, shapes)
            names = [name for name, _, _ in self._outputs]
            return dict(zip(names, self._session.run(names, given), strict=True))
        except Exception as error:  # as above
            raise EngineError(f"ONNX Runtime failed on {self._path.name}: {error}") from error

    def _run_into(
        self, given: dict[str, NDArray[Any]], shapes: dict[str, tuple[int, ...]]
    ) -> Arrays:
        """Have the outputs written into memory of ours, which is used again."""
        binding = self._session.io_binding()
        given = {name: np.ascontiguousarray(array) for name, array in given.items()}
        for name, array in given.items():
            binding.bind_cpu_input(name, array)
        found: Arrays = {}
        for name, dtype, _ in self._outputs:
            found[name] = array = self._buffers.take(shapes[name], dtype)
            binding.bind_output(name, "cpu", 0, dtype, shapes[name], array.ctypes.data)
        self._session.run_with_iobinding(binding)
        return found

    def _lengths_of_outputs(
        self, given: Mapping[str, NDArray[Any]]
    ) -> dict[str, tuple[int, ...]] | None:
        """Shape of each output, or None where only running tells."""
        lengths: dict[Any, int] = {}
        for name, shape in self._forms.items():
            if name in given:
                lengths.update(zip(shape, given[name].shape, strict=False))
        found: dict[str, tuple[int, ...]] = {}
        for name, dtype, form in self._outputs:
            found[name] = tuple(k if isinstance(k, int) else lengths.get(k, -1) for k in form)
            if dtype is None or min(found[name], default=1) < 1:
                return None
        return found
