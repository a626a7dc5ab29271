"""The layer over CUDA, as far as it shows without a GPU.

CUDA's own bindings take each call with these arguments and answer that there is no driver, which
becomes one error of ours: so no call fails for its form. What they do needs a GPU.
"""

from __future__ import annotations

from typing import Any

import pytest

from models.engines.trt.cuda import LOST, NO_MEMORY, CudaGpu, capability_here, done, driver_present
from models.engines.trt.device import GpuInfo
from models.errors import EngineDeviceLost, EngineError, EngineOutOfMemory

runtime = pytest.importorskip("cuda.bindings.runtime", reason="needs the extra parfocal[gpu]")

STREAM, EVENT, GRAPH = runtime.cudaStream_t(0), runtime.cudaEvent_t(0), runtime.cudaGraphExec_t(0)
CALLS: dict[str, tuple[Any, ...]] = {
    "host_memory": (64,),
    "free_host": (0,),
    "memory": (64,),
    "free": (0,),
    "stream": (),
    "free_stream": (STREAM,),
    "event": (),
    "free_event": (EVENT,),
    "record": (EVENT, STREAM),
    "wait": (STREAM, EVENT),
    "to_gpu": (4096, 8192, 16, STREAM),
    "to_host": (4096, 8192, 16, STREAM),
    "within": (4096, 8192, 16, STREAM),
    "begin_capture": (STREAM,),
    "end_capture": (STREAM,),
    "launch": (GRAPH, STREAM),
    "free_graph": (GRAPH,),
    "finish": (EVENT, 1.0),
    "finish_stream": (STREAM, 1.0),
}


@pytest.mark.skipif(driver_present(), reason="with a driver these would be real calls")
@pytest.mark.parametrize("name", CALLS)
def test_cuda_takes_each_call(name: str) -> None:
    gpu = CudaGpu(runtime, GpuInfo("none", "0.0", "", 0))
    with pytest.raises(EngineError, match="cudaErrorInsufficientDriver"):
        getattr(gpu, name)(*CALLS[name])


@pytest.mark.skipif(driver_present(), reason="this machine has a driver")
def test_without_a_driver_there_is_no_gpu() -> None:
    assert capability_here() == ""


def test_errors_are_of_the_kind_that_decides_what_follows() -> None:
    kinds = runtime.cudaError_t
    for name in NO_MEMORY:
        with pytest.raises(EngineOutOfMemory, match=name):
            done(runtime, (getattr(kinds, name),))
    for name in LOST:
        with pytest.raises(EngineDeviceLost, match=name):
            done(runtime, (getattr(kinds, name),))
    with pytest.raises(EngineError, match="invalid argument") as caught:
        done(runtime, (kinds.cudaErrorInvalidValue,))
    assert type(caught.value) is EngineError
    assert done(runtime, (kinds.cudaSuccess, 7)) == 7
    assert done(runtime, (kinds.cudaSuccess,)) is None


class NeverReady:
    """CUDA with work that does not end; all else is CUDA's own."""

    def __getattr__(self, name: str) -> Any:
        return getattr(runtime, name)

    def cudaEventQuery(self, _: object) -> tuple[Any]:
        return (runtime.cudaError_t.cudaErrorNotReady,)


def test_no_wait_is_without_end() -> None:
    gpu = CudaGpu(NeverReady(), GpuInfo("none", "0.0", "", 0))
    with pytest.raises(EngineDeviceLost, match=r"within 0\.01 s"):
        gpu.finish(EVENT, 0.01)
