"""Opening an engine by name. A further engine is one more file and one more row here."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from models.engines.base import Engine
from models.errors import EngineError


class _Row(NamedTuple):
    name: str
    module: str
    class_name: str
    needs: str
    """Module whose presence says that the engine is installed."""


ENGINES = (
    _Row("openvino", "models.engines.openvino", "OpenVinoEngine", "openvino"),
    _Row("onnxruntime", "models.engines.onnxruntime", "OnnxRuntimeEngine", "onnxruntime"),
)
"""In the order in which ``auto`` takes the first that is installed."""


def engines_installed() -> tuple[str, ...]:
    """Names of the engines that can be opened here, in the order of ``auto``."""
    return tuple(row.name for row in ENGINES if find_spec(row.needs) is not None)


def open_engine(
    path: Path, engine: str = "onnxruntime", precision: str = "fp32", threads: int = 1
) -> Engine:
    """Engine for an ONNX file, not yet loaded: hold it in a ``with`` block.

    Parameters
    ----------
    path
        ONNX file.
    engine
        ``onnxruntime``, ``openvino``, or ``auto`` for the first of ``ENGINES`` that is installed.
        ``auto`` chooses by what is installed alone; one that then fails is never replaced.
    precision
        ``fp32``, or what else the engine knows.
    threads
        Threads of one run.

    Raises
    ------
    EngineError
        When the engine is unknown, not installed, or does not know the precision.
    """
    installed = engines_installed()
    if engine == "auto":
        if not installed:
            raise EngineError("no engine is installed; `pip install onnxruntime`")
        engine = installed[0]
    row = next((row for row in ENGINES if row.name == engine), None)
    if row is None:
        known = ", ".join(row.name for row in ENGINES)
        raise EngineError(f"no engine named {engine!r}; need one of {known}, or auto")
    if engine not in installed:
        extra = f'`pip install "parfocal[{engine}]"`' if engine != "onnxruntime" else "reinstall"
        raise EngineError(f"engine {engine} is not installed; {extra}, or set another engine")
    made: Engine = getattr(import_module(row.module), row.class_name)(path, precision, threads)
    return made
