"""What the hot path asks of a GPU: memory, copies, streams, events and captured graphs.

`models.engines.trt.cuda` does all this with CUDA. Handles are whole numbers or what CUDA gave;
nothing but the device that made one looks into it.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Handle = Any
"""A stream, event or graph."""


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """The GPU, as its driver reports it."""

    name: str
    capability: str
    """Compute capability, as ``8.6``."""
    driver: str
    """Version of the driver."""
    memory_bytes: int

    def __str__(self) -> str:
        return f"{self.name}, cc {self.capability}, driver {self.driver}"


class Gpu(Protocol):
    """One GPU. One thread uses it.

    Each call raises ``EngineOutOfMemory`` or ``EngineDeviceLost`` where that is what happened, and
    ``EngineError`` for all else; of work in a stream that may be at a later call.
    """

    @property
    def info(self) -> GpuInfo:
        """Which GPU."""

    def host_memory(self, size: int) -> int:
        """Address of page-locked host memory, which copies can run beside other work."""

    def free_host(self, address: int) -> None:
        """Give host memory back."""

    def memory(self, size: int) -> int:
        """Address of memory on the GPU."""

    def free(self, address: int) -> None:
        """Give GPU memory back, once nothing uses it."""

    def stream(self) -> Handle:
        """A queue of work; what is in one runs in order, beside that of others."""

    def free_stream(self, stream: Handle) -> None:
        """Give a stream back."""

    def event(self) -> Handle:
        """A mark to wait for."""

    def free_event(self, event: Handle) -> None:
        """Give an event back."""

    def record(self, event: Handle, stream: Handle) -> None:
        """Put a mark into a stream."""

    def wait(self, stream: Handle, event: Handle) -> None:
        """Let what comes next in a stream wait for the last mark."""

    def to_gpu(self, to: int, source: int, size: int, stream: Handle) -> None:
        """Queue a copy from page-locked memory."""

    def to_host(self, to: int, source: int, size: int, stream: Handle) -> None:
        """Queue a copy to page-locked memory."""

    def within(self, to: int, source: int, size: int, stream: Handle) -> None:
        """Queue a copy from GPU to GPU memory."""

    def begin_capture(self, stream: Handle) -> None:
        """From here on keep what is put into the stream, and do not run it."""

    def end_capture(self, stream: Handle) -> Handle:
        """The graph of what was put in since; it can be launched again and again."""

    def launch(self, graph: Handle, stream: Handle) -> None:
        """Queue a captured graph."""

    def free_graph(self, graph: Handle) -> None:
        """Give a graph back."""

    def finish(self, event: Handle, timeout_s: float) -> None:
        """Block until the last mark is reached; ``EngineDeviceLost`` after so many seconds."""

    def finish_stream(self, stream: Handle, timeout_s: float) -> None:
        """Block until all in the stream is done; ``EngineDeviceLost`` after so many seconds."""

    def close(self) -> None:
        """Let the GPU go. Safe to call twice."""


def view(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Host memory as an array; valid while the memory is."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size == 0:
        return np.zeros(shape, dtype)
    held: Any = (ctypes.c_uint8 * size).from_address(address)
    array: NDArray[Any] = np.frombuffer(held, dtype).reshape(shape)
    return array
