"""OpenVINO on the CPU: an optional engine, on Intel and AMD often the faster one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.engines.base import Arrays, Shape, filled, model_name, not_open, refuse_precision
from models.engines.buffers import ResultBuffers
from models.engines.inside import check_held
from models.engines.openvino_graph import speed_up
from models.errors import EngineError
from models.result import EngineInfo

NAME = "openvino"
_TYPES = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What its layers that are not quantised compute in."""


class OpenVinoEngine:
    """Runs an ONNX file on the CPU.

    Parameters
    ----------
    path
        ONNX file.
    precision
        ``fp32``, ``bf16``, or ``int8`` of a file that was built in it. Left to itself OpenVINO
        takes bf16 where the CPU has it; here it takes what was asked, and says so when it cannot.
    threads
        Threads of one run.
    """

    def __init__(self, path: Path, precision: str = "fp32", threads: int = 1) -> None:
        refuse_precision(NAME, precision, tuple(_TYPES))
        self._path, self._precision, self._threads = path, precision, threads
        self._request: Any = None
        self._info: EngineInfo | None = None
        self._known: dict[str, tuple[int, ...] | None] = {}
        self._shapes: dict[str, Shape] = {}
        self._buffers = ResultBuffers()

    def __enter__(self) -> Self:
        """Compile for this CPU; raises ``EngineError`` when another precision would run."""
        # Importing OpenVINO reports that to its makers over the network, from a thread that stays.
        # Without the package that sends it, it takes a stub of its own.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        try:
            import openvino as ov
        except ImportError as error:
            raise EngineError(
                'OpenVINO is not installed; `pip install "parfocal[openvino]"`, or set engine to '
                "onnxruntime"
            ) from error
        name = model_name(self._path)
        check_held(self._path, NAME, self._precision)
        wanted = _TYPES[self._precision]
        settings = {
            "INFERENCE_PRECISION_HINT": wanted,
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            core = ov.Core()
            model = core.read_model(str(self._path))
            speed_up(model)
            compiled = core.compile_model(model, "CPU", settings)
            ran = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
            devices = list(compiled.get_property("EXECUTION_DEVICES"))
        except Exception as error:  # it raises plain RuntimeError and others
            raise EngineError(f"OpenVINO cannot load {self._path}: {error}") from error
        if ran != wanted or devices != ["CPU"]:
            raise EngineError(
                f"asked OpenVINO for {wanted} on CPU, it runs {ran} on {devices}; set precision "
                "to fp32"
            )
        if self._precision == "int8" and not _in_eight_bits(compiled):
            raise EngineError(
                f"OpenVINO runs no convolution of {self._path.name} in int8 on this CPU; set model "
                "to the file that it was built from and precision to fp32"
            )
        self._request = compiled.create_infer_request()
        for port in compiled.inputs:
            shape = port.get_partial_shape()
            fixed = shape.is_static
            self._shapes[port.get_any_name()] = tuple(
                length.get_length() if length.is_static else None for length in shape
            )
            self._known[port.get_any_name()] = tuple(port.shape) if fixed else None
        self._info = EngineInfo(NAME, self._precision, f"cpu, {self._threads} threads", name)
        return self

    def __exit__(self, *exc: object) -> None:
        """Let the network go. Safe to call twice."""
        self._request = None

    @property
    def info(self) -> EngineInfo:
        """What runs: precision and device as the compiled network reports them."""
        if self._request is None or self._info is None:
            raise not_open(NAME)
        return self._info

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what the network takes."""
        if self._request is None:
            raise not_open(NAME)
        return tuple(self._known)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Lengths of the axes of each input, None where free."""
        if self._request is None:
            raise not_open(NAME)
        return dict(self._shapes)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs by name, in memory of ours: what the engine gives, it writes over next time."""
        if self._request is None:
            raise not_open(NAME)
        try:
            found = self._request.infer(filled(inputs, self._known))
        except Exception as error:  # as above
            raise EngineError(f"OpenVINO failed on {self._path.name}: {error}") from error
        copies: Arrays = {}
        for port, array in found.items():
            copies[port.get_any_name()] = copy = self._buffers.take(array.shape, array.dtype)
            np.copyto(copy, array)
        return copies


def _in_eight_bits(compiled: Any) -> bool:
    """Whether a convolution of the compiled network gives values of eight bits."""
    layers = (layer.get_rt_info() for layer in compiled.get_runtime_model().get_ops())
    return any(
        what["layerType"].astype(str) == "Convolution"
        and what["runtimePrecision"].astype(str) in ("u8", "i8")
        for what in layers
    )
