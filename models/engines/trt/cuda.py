"""An NVIDIA GPU through ``cuda-python``: no torch, no framework."""

from __future__ import annotations

import ctypes
import sys
import time
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import Any

from models.engines.trt.device import GpuInfo, Handle
from models.errors import EngineDeviceLost, EngineError, EngineOutOfMemory

INSTALL = 'pip install "parfocal[gpu]"'

LOST = (
    "cudaErrorIllegalAddress",
    "cudaErrorLaunchFailure",
    "cudaErrorLaunchTimeout",
    "cudaErrorHardwareStackError",
    "cudaErrorIllegalInstruction",
    "cudaErrorMisalignedAddress",
    "cudaErrorInvalidPc",
    "cudaErrorInvalidAddressSpace",
    "cudaErrorAssert",
    "cudaErrorECCUncorrectable",
    "cudaErrorNvlinkUncorrectable",
    "cudaErrorContained",
    "cudaErrorTensorMemoryLeak",
    "cudaErrorDevicesUnavailable",
    "cudaErrorDeviceUninitialized",
    "cudaErrorContextIsDestroyed",
    "cudaErrorExternalDevice",
    "cudaErrorMpsClientTerminated",
    "cudaErrorUnknown",
)
"""After one of these the process can no longer use the GPU: it must be started again."""

NO_MEMORY = ("cudaErrorMemoryAllocation", "cudaErrorLaunchOutOfResources")

PAUSE_S = 50e-6
"""Between two looks at an event: shorter than any frame, and the core is free meanwhile."""


@cache
def driver_present() -> bool:
    """Whether the driver of an NVIDIA GPU is installed here; loads nothing else."""
    names = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


@cache
def capability_here() -> str:
    """Compute capability of the first GPU, as ``8.6``; empty where none answers.

    Takes no memory on the GPU.
    """
    if find_spec("cuda") is None or find_spec("cuda.bindings") is None or not driver_present():
        return ""
    from cuda.bindings import runtime

    kinds, fine = runtime.cudaDeviceAttr, runtime.cudaError_t.cudaSuccess
    parts = []
    for kind in (kinds.cudaDevAttrComputeCapabilityMajor, kinds.cudaDevAttrComputeCapabilityMinor):
        error, value = runtime.cudaDeviceGetAttribute(kind, 0)
        if error != fine:
            return ""
        parts.append(str(value))
    return ".".join(parts)


def open_cuda(index: int = 0) -> CudaGpu:
    """The GPU of that number, ready for use.

    Raises
    ------
    EngineError
        When there is none, or its driver or ``cuda-python`` is missing; the message says which.
    """
    if find_spec("cuda") is None or find_spec("cuda.bindings") is None:
        raise EngineError(f"cuda-python is not installed; `{INSTALL}`, or set another engine")
    if not driver_present():
        raise EngineError(
            "no NVIDIA GPU driver on this machine; install the driver of the GPU, or set engine "
            "to onnxruntime"
        )
    from cuda.bindings import runtime

    error, count = runtime.cudaGetDeviceCount()
    if error != runtime.cudaError_t.cudaSuccess or not count or index >= count:
        raise EngineError(
            f"no NVIDIA GPU answers (found {count or 0}, {_text(runtime, error)}); check "
            "`nvidia-smi`, update the driver, or set engine to onnxruntime"
        )
    done(runtime, runtime.cudaSetDevice(index))
    found = done(runtime, runtime.cudaGetDeviceProperties(index))
    name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
    info = GpuInfo(
        name.rstrip("\0"),
        f"{found.major}.{found.minor}",
        _driver_version(runtime),
        int(found.totalGlobalMem),
    )
    return CudaGpu(runtime, info)


def done(runtime: Any, answer: tuple[Any, ...]) -> Any:
    """What a call of CUDA gave, or its error as one of ours.

    Raises
    ------
    EngineOutOfMemory
        When the GPU, or page-locked memory, is full.
    EngineDeviceLost
        When the GPU can no longer be used by this process.
    EngineError
        For all else.
    """
    error, *rest = answer
    if error == runtime.cudaError_t.cudaSuccess:
        return rest[0] if rest else None
    text = _text(runtime, error)
    if error.name in NO_MEMORY:
        # not a lasting error: CUDA goes on once it has been read
        runtime.cudaGetLastError()
        raise EngineOutOfMemory(
            f"the GPU has no memory left ({text}); close other programs on it, or take "
            "smaller images"
        )
    if error.name in LOST:
        raise EngineDeviceLost(f"the GPU no longer answers ({text}); start inference again")
    raise EngineError(f"CUDA failed: {text}")


def _text(runtime: Any, error: Any) -> str:
    with suppress(ValueError, TypeError):
        return f"{error.name}: {runtime.cudaGetErrorString(error)[1].decode()}"
    return str(error)


def _driver_version(runtime: Any) -> str:
    """As ``nvidia-smi`` shows it, else the CUDA version that the driver serves."""
    try:
        from cuda.bindings import nvml

        nvml.init_v2()
        try:
            return str(nvml.system_get_driver_version())
        finally:
            nvml.shutdown()
    except Exception:  # NVML is missing on some boards, and its errors share no public base
        number = int(runtime.cudaDriverGetVersion()[1])
        return f"for CUDA {number // 1000}.{number % 1000 // 10}"


class CudaGpu:
    """One NVIDIA GPU; see `Gpu`. Made by `open_cuda`."""

    def __init__(self, runtime: Any, info: GpuInfo) -> None:
        self._rt, self._info = runtime, info

    @property
    def info(self) -> GpuInfo:
        """Which GPU."""
        return self._info

    def _do(self, answer: tuple[Any, ...]) -> Any:
        return done(self._rt, answer)

    def host_memory(self, size: int) -> int:
        """Address of page-locked host memory."""
        return int(self._do(self._rt.cudaMallocHost(size)))

    def free_host(self, address: int) -> None:
        """Give host memory back."""
        self._do(self._rt.cudaFreeHost(address))

    def memory(self, size: int) -> int:
        """Address of memory on the GPU."""
        return int(self._do(self._rt.cudaMalloc(size)))

    def free(self, address: int) -> None:
        """Give GPU memory back."""
        self._do(self._rt.cudaFree(address))

    def stream(self) -> Handle:
        """A queue of work, beside the default one."""
        return self._do(self._rt.cudaStreamCreateWithFlags(self._rt.cudaStreamNonBlocking))

    def free_stream(self, stream: Handle) -> None:
        """Give a stream back."""
        self._do(self._rt.cudaStreamDestroy(stream))

    def event(self) -> Handle:
        """A mark to wait for."""
        return self._do(self._rt.cudaEventCreateWithFlags(self._rt.cudaEventDisableTiming))

    def free_event(self, event: Handle) -> None:
        """Give an event back."""
        self._do(self._rt.cudaEventDestroy(event))

    def record(self, event: Handle, stream: Handle) -> None:
        """Put a mark into a stream."""
        self._do(self._rt.cudaEventRecord(event, stream))

    def wait(self, stream: Handle, event: Handle) -> None:
        """Let what comes next in a stream wait for the last mark."""
        self._do(self._rt.cudaStreamWaitEvent(stream, event, 0))

    def to_gpu(self, to: int, source: int, size: int, stream: Handle) -> None:
        """Queue a copy from page-locked memory."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._do(self._rt.cudaMemcpyAsync(to, source, size, kind, stream))

    def to_host(self, to: int, source: int, size: int, stream: Handle) -> None:
        """Queue a copy to page-locked memory."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._do(self._rt.cudaMemcpyAsync(to, source, size, kind, stream))

    def within(self, to: int, source: int, size: int, stream: Handle) -> None:
        """Queue a copy from GPU to GPU memory."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._do(self._rt.cudaMemcpyAsync(to, source, size, kind, stream))

    def begin_capture(self, stream: Handle) -> None:
        """Keep what is put into the stream, and do not run it."""
        # other threads of the process may use the GPU meanwhile
        mode = self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._do(self._rt.cudaStreamBeginCapture(stream, mode))

    def end_capture(self, stream: Handle) -> Handle:
        """The graph of what was put in since."""
        graph = self._do(self._rt.cudaStreamEndCapture(stream))
        try:
            return self._do(self._rt.cudaGraphInstantiate(graph, 0))
        finally:
            self._do(self._rt.cudaGraphDestroy(graph))

    def launch(self, graph: Handle, stream: Handle) -> None:
        """Queue a captured graph."""
        self._do(self._rt.cudaGraphLaunch(graph, stream))

    def free_graph(self, graph: Handle) -> None:
        """Give a graph back."""
        self._do(self._rt.cudaGraphExecDestroy(graph))

    def finish(self, event: Handle, timeout_s: float) -> None:
        """Block until the last mark is reached."""
        self._poll(lambda: self._rt.cudaEventQuery(event), timeout_s)

    def finish_stream(self, stream: Handle, timeout_s: float) -> None:
        """Block until all in the stream is done."""
        self._poll(lambda: self._rt.cudaStreamQuery(stream), timeout_s)

    def _poll(self, look: Any, timeout_s: float) -> None:
        # CUDA's own waits know no timeout
        until = time.monotonic() + timeout_s
        while True:
            (error,) = look()
            if error == self._rt.cudaError_t.cudaSuccess:
                return
            if error != self._rt.cudaError_t.cudaErrorNotReady:
                done(self._rt, (error,))
            if time.monotonic() > until:
                raise EngineDeviceLost(
                    f"the GPU did not answer within {timeout_s:g} s; start inference again"
                )
            time.sleep(PAUSE_S)

    def close(self) -> None:
        """Nothing to do: memory, streams and graphs are given back by those who took them."""
