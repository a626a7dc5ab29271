"""ONNX Runtime on the CPU: the engine that every installation has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from models.engines.base import Arrays, Shape, filled, model_name, not_open, refuse_precision
from models.errors import EngineError
from models.result import EngineInfo

NAME = "onnxruntime"
PROVIDER = "CPUExecutionProvider"


class OnnxRuntimeEngine:
    """Runs an ONNX file in float32 on the CPU.

    Parameters
    ----------
    path
        ONNX file.
    precision
        ``fp32``; anything else is refused.
    threads
        Threads of one run.
    """

    def __init__(self, path: Path, precision: str = "fp32", threads: int = 1) -> None:
        refuse_precision(NAME, precision, ("fp32",))
        self._path, self._threads = path, threads
        self._session: Any = None
        self._info: EngineInfo | None = None
        self._known: dict[str, tuple[int, ...] | None] = {}

    def __enter__(self) -> Self:
        """Load the file; raises ``EngineError`` when another provider would run it."""
        import onnxruntime as ort

        name = model_name(self._path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        # Between frames, spinning threads would take cores from the camera's process.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
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
        self._info = EngineInfo(NAME, "fp32", f"cpu, {self._threads} threads", name)
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
            given.name: tuple(k if isinstance(k, int) else None for k in given.shape)
            for given in self._session.get_inputs()
        }

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs by name; fresh arrays."""
        if self._session is None:
            raise not_open(NAME)
        names = [output.name for output in self._session.get_outputs()]
        try:
            found = self._session.run(names, filled(inputs, self._known))
        except Exception as error:  # as above
            raise EngineError(f"ONNX Runtime failed on {self._path.name}: {error}") from error
        return dict(zip(names, found, strict=True))
