"""The two flavours of TensorRT side by side: all in which they differ for this program."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from models.errors import EngineError

KEPT_MESSAGES = 20
"""Of what TensorRT last said, so many lines are kept for the message of an error."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """One flavour of TensorRT."""

    name: str
    """As settings name it."""
    module: str
    """What Python imports."""
    install: str
    """The line that installs it."""
    capabilities: tuple[str, ...]
    """Compute capabilities of the GPUs that it runs on, as ``8.6``; a last ``+`` is: and above."""
    builds_without_gpu: bool
    """Engines are built for named GPUs; otherwise on the GPU that is to run them."""
    runtime_cache: bool
    """It compiles for the GPU at the first run, and what it compiled can be kept."""

    @property
    def installed(self) -> bool:
        """Whether its package is there; imports nothing."""
        return find_spec(self.module) is not None

    def accepts(self, capability: str) -> bool:
        """Whether it runs on a GPU of this compute capability, given as ``8.6``."""
        major, minor = (int(part) for part in capability.split("."))
        for known in self.capabilities:
            at = tuple(int(part) for part in known.rstrip("+").split("."))
            if (major, minor) == at or (known.endswith("+") and (major, minor) > at):
                return True
        return False


RTX = Flavour(
    name="tensorrt-rtx",
    module="tensorrt_rtx",
    install='pip install "parfocal[gpu]"',
    capabilities=("7.5", "8.0", "8.6", "8.9", "12.0", "12.1"),
    builds_without_gpu=True,
    runtime_cache=True,
)
"""For workstations and laptops: compiled ahead in under a second, finished on the GPU."""

CLASSIC = Flavour(
    name="tensorrt",
    module="tensorrt",
    install='pip install tensorrt-cu13 "cuda-python>=13"',
    capabilities=("7.5+",),
    builds_without_gpu=False,
    runtime_cache=False,
)
"""For every NVIDIA GPU since 2018, data centres included: built on it, by trying kernels out."""

FLAVOURS = (CLASSIC, RTX)
"""In the order in which one is taken where both would run."""


def flavour_named(name: str) -> Flavour:
    """The flavour that settings name so; raises ``EngineError`` when there is none."""
    for one in FLAVOURS:
        if one.name == name:
            return one
    known = " or ".join(one.name for one in FLAVOURS)
    raise EngineError(f"no flavour of TensorRT is named {name!r}; need {known}")


def flavour_for(capability: str) -> Flavour:
    """The flavour to install for a GPU of this compute capability, given as ``8.6``."""
    return RTX if RTX.accepts(capability) else CLASSIC


def import_flavour(flavour: Flavour) -> Any:
    """The Python module of a flavour; raises ``EngineError`` with the line that installs it."""
    try:
        return import_module(flavour.module)
    except ImportError as error:
        raise EngineError(
            f"engine {flavour.name} is not installed ({error}); `{flavour.install}`, or set "
            "another engine"
        ) from error


def version_of(flavour: Flavour) -> str:
    """Version of the installed package; engines built by another one are not loaded."""
    return str(import_flavour(flavour).__version__)


@dataclass(frozen=True, slots=True)
class Said:
    """What TensorRT reports to its logger, kept for error messages."""

    logger: Any
    lines: deque[str]

    def last(self) -> str:
        """The newest complaints in one line, and forget them."""
        text = "; ".join(self.lines) or "it gave no reason"
        self.lines.clear()
        return text


@cache
def listening(flavour: Flavour) -> Said:
    """The one logger of a flavour in this process: TensorRT ignores every further one."""
    trt = import_flavour(flavour)
    lines: deque[str] = deque(maxlen=KEPT_MESSAGES)
    keep: Callable[[str], None] = lines.append

    parent: Any = trt.ILogger

    class Logger(parent):  # type: ignore[misc]
        def __init__(self) -> None:
            parent.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                keep(str(text))

    return Said(Logger(), lines)
