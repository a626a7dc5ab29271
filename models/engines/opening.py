"""Opening an engine by name. A further engine is one more file and one more row here."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from models.engines.base import Engine
from models.engines.plugins import PREFIX, plugged_engine
from models.engines.threads import Threads, resolve_threads
from models.engines.trt.flavours import CLASSIC, flavour_named
from models.errors import EngineError


class _Row(NamedTuple):
    name: str
    module: str
    class_name: str
    needs: str
    """Module whose presence says that the engine is installed."""
    gpu: bool = False
    """It needs an NVIDIA GPU as well."""


ENGINES = (
    _Row("tensorrt", "models.engines.trt.engine", "classic_engine", "tensorrt", gpu=True),
    _Row("tensorrt-rtx", "models.engines.trt.engine", "rtx_engine", "tensorrt_rtx", gpu=True),
    _Row("openvino", "models.engines.openvino", "OpenVinoEngine", "openvino"),
    _Row("onnxruntime", "models.engines.onnxruntime", "OnnxRuntimeEngine", "onnxruntime"),
    _Row("torch", "models.engines.torch", "TorchEngine", "torch"),
)
"""In the order in which ``auto`` takes the first that can be opened here."""

EXTRAS = {"openvino": "openvino", "torch": "train", "tensorrt-rtx": "gpu"}
"""Optional part of the installation that an engine comes with; those of every one have none."""


def engines_installed() -> tuple[str, ...]:
    """Names of the engines that can be opened here, in the order of ``auto``.

    Those for a GPU are among them where one answers that they run on.
    """
    return tuple(row.name for row in ENGINES if find_spec(row.needs) is not None and _fits(row))


def _fits(row: _Row) -> bool:
    """Whether what an engine needs beside its package is there."""
    if not row.gpu:
        return True
    from models.engines.trt.cuda import capability_here

    capability = capability_here()
    return bool(capability) and flavour_named(row.name).accepts(capability)


def open_engine(
    path: Path, engine: str = "onnxruntime", precision: str = "fp32", threads: Threads = 1
) -> Engine:
    """Engine for an ONNX file, not yet loaded: hold it in a ``with`` block.

    Parameters
    ----------
    path
        ONNX file.
    engine
        Name of one of ``ENGINES``, or ``auto`` for the first of `engines_installed`.
        ``auto`` chooses by what is installed alone; one that then fails is never replaced.
        ``plugin:NAME`` is one of other people's, see `models.engines.plugins`.
    precision
        ``fp32``, or what else the engine knows.
    threads
        Threads of one run on the CPU; ``auto`` leaves the camera and the recorder a core.

    Raises
    ------
    EngineError
        When the engine is unknown, not installed, or does not know the precision.
    """
    if engine == "auto":
        installed = engines_installed()
        if not installed:
            raise EngineError("no engine is installed; `pip install onnxruntime`")
        engine = installed[0]
    if engine.startswith(PREFIX):
        return plugged_engine(engine, path, precision, resolve_threads(threads))
    row = next((row for row in ENGINES if row.name == engine), None)
    if row is None:
        known = ", ".join(row.name for row in ENGINES)
        raise EngineError(f"no engine named {engine!r}; need one of {known}, or auto")
    if find_spec(row.needs) is None:
        extra = EXTRAS.get(engine)
        how = f'`pip install "parfocal[{extra}]"`' if extra else "reinstall parfocal"
        if engine == CLASSIC.name:
            how = f"`{CLASSIC.install}`"
        raise EngineError(f"engine {engine} is not installed; {how}, or set another engine")
    make = getattr(import_module(row.module), row.class_name)
    made: Engine = make(path, precision, resolve_threads(threads))
    return made
