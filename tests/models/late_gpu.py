"""A device that moves real memory, as late as CUDA would be allowed to.

It stands in for `models.engines.trt.cuda.CudaGpu` in the tests of what is built upon it: each copy
and run is done only once somebody waits for it, and only if an event or its stream orders it so. A
wait that is missing in the hot path therefore gives wrong pixels here, and memory that is not given
back is counted. `OrtPlan` stands in for TensorRT: a run is ONNX Runtime on that memory.

What this cannot show: that CUDA and TensorRT take these calls, in these types, and are fast. For
that there is ``benchmarks/gpu.py``, on a machine with a GPU.
"""

# ruff: noqa: ARG002  # a stand-in takes what the real one takes

from __future__ import annotations

import ctypes
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from models.engines.trt.build import Port
from models.engines.trt.device import GpuInfo, view
from models.engines.trt.plan import Bound, Shapes, dtype_of
from models.engines.trt.sizes import Range, Sizes
from models.errors import EngineDeviceLost, EngineError, EngineOutOfMemory


@dataclass(eq=False)
class Event:
    asked: int = 0
    reached: int = 0
    stream: Stream | None = None


@dataclass(eq=False)
class Stream:
    work: deque[Callable[[], None]] = field(default_factory=deque)
    captured: list[Callable[[], None]] | None = None


class LateGpu:
    """See the module. ``faults`` maps a method's name to what its n-th call raises."""

    def __init__(self, most_bytes: int = 1 << 40, capability: str = "8.6") -> None:
        self.info = GpuInfo("Test board", capability, "1.0", most_bytes)
        self._most = most_bytes
        self._memory: dict[int, Any] = {}
        self.calls: Counter[str] = Counter()
        self.faults: dict[tuple[str, int], EngineError] = {}
        self.open: Counter[str] = Counter()

    @property
    def used(self) -> int:
        return sum(ctypes.sizeof(one) for one in self._memory.values())

    def _called(self, name: str) -> None:
        self.calls[name] += 1
        fault = self.faults.get((name, self.calls[name]))
        if fault is not None:
            raise fault

    def _take(self, size: int) -> int:
        if self.used + size > self._most:
            raise EngineOutOfMemory(f"no {size} bytes left")
        held = (ctypes.c_uint8 * size)()
        address = ctypes.addressof(held)
        np.frombuffer(held, np.uint8)[:] = 0xA5  # nobody may count on zeros
        self._memory[address] = held
        return address

    def _give(self, address: int) -> None:
        del self._memory[address]

    def host_memory(self, size: int) -> int:
        self._called("host_memory")
        return self._take(size)

    def free_host(self, address: int) -> None:
        self._give(address)

    def memory(self, size: int) -> int:
        self._called("memory")
        return self._take(size)

    def free(self, address: int) -> None:
        self._give(address)

    def stream(self) -> Stream:
        self.open["stream"] += 1
        return Stream()

    def free_stream(self, stream: Stream) -> None:
        self.open["stream"] -= 1

    def event(self) -> Event:
        self.open["event"] += 1
        return Event()

    def free_event(self, event: Event) -> None:
        self.open["event"] -= 1

    def put(self, stream: Stream, work: Callable[[], None]) -> None:
        if stream.captured is None:
            stream.work.append(work)
        else:
            stream.captured.append(work)

    def record(self, event: Event, stream: Stream) -> None:
        event.asked += 1
        event.stream = stream
        number = event.asked

        def reach() -> None:
            event.reached = number

        self.put(stream, reach)

    def wait(self, stream: Stream, event: Event) -> None:
        number = event.asked
        self.put(stream, lambda: self._until(event, number))

    def _copy(self, to: int, source: int, size: int, stream: Stream) -> None:
        self._called("copy")
        self.put(stream, lambda: ctypes.memmove(to, source, size) and None)

    to_gpu = to_host = within = _copy

    def begin_capture(self, stream: Stream) -> None:
        self._called("begin_capture")
        stream.captured = []

    def end_capture(self, stream: Stream) -> list[Callable[[], None]]:
        assert stream.captured is not None, "capture was never begun"
        graph, stream.captured = stream.captured, None
        self._called("end_capture")
        self.open["graph"] += 1
        return graph

    def launch(self, graph: list[Callable[[], None]], stream: Stream) -> None:
        self._called("launch")
        for work in graph:
            self.put(stream, work)

    def free_graph(self, graph: object) -> None:
        self.open["graph"] -= 1

    def finish(self, event: Event, timeout_s: float) -> None:
        self._called("finish")
        self._until(event, event.asked)

    def finish_stream(self, stream: Stream, timeout_s: float) -> None:
        self._called("finish_stream")
        while stream.work:
            stream.work.popleft()()

    def _until(self, event: Event, number: int) -> None:
        while event.reached < number:
            if event.stream is None or not event.stream.work:
                raise EngineDeviceLost("an event is waited for that nothing will reach")
            event.stream.work.popleft()()

    def close(self) -> None:
        self.open["closed"] += 1


class OrtPlan:
    """A network as ONNX Runtime computes it, on the memory of a `LateGpu`."""

    def __init__(self, gpu: LateGpu, path: Path, sizes: Sizes | None = None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.gpu = gpu
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        kinds = {"tensor(float)": "float32", "tensor(int32)": "int32"}

        def ports(found: list[Any]) -> tuple[Port, ...]:
            return tuple(
                Port(
                    one.name,
                    kinds[one.type],
                    tuple(k if isinstance(k, int) else None for k in one.shape),
                )
                for one in found
            )

        self.inputs, self.outputs = (
            ports(self.session.get_inputs()),
            ports(self.session.get_outputs()),
        )
        axes = {one.name: tuple(one.shape) for one in self.session.get_inputs()}
        self._ranges = (sizes or Sizes()).ranges(axes)
        self.can_capture = True
        self.scale = 1.0
        """Of each result of floats; not a number: to see whether that is noticed."""
        self.runs = 0
        self.bounds = 0

    def limits(self, name: str) -> Range:
        if name in self._ranges:
            return self._ranges[name]
        fixed = tuple(k or 0 for port in self.inputs if port.name == name for k in port.shape)
        return Range(fixed, fixed, fixed)

    def bound(self, shapes: Shapes) -> Bound:
        self.bounds += 1
        return _OrtBound(self, dict(shapes))

    def compute(self, addresses: dict[str, int], shapes: Shapes) -> None:
        self.runs += 1
        types = {one.name: dtype_of(one) for one in (*self.inputs, *self.outputs)}
        feeds = {
            one.name: view(addresses[one.name], shapes[one.name], types[one.name])
            for one in self.inputs
        }
        names = [one.name for one in self.outputs]
        for name, found in zip(names, self.session.run(names, feeds), strict=True):
            scaled = found * self.scale if found.dtype.kind == "f" else found
            view(addresses[name], found.shape, types[name])[...] = scaled

    def jit_cache(self) -> bytes | None:
        return b"compiled for %d shapes" % self.bounds

    def close(self) -> None:
        pass


class _OrtBound:
    scratch_bytes = 100

    def __init__(self, plan: OrtPlan, shapes: dict[str, tuple[int, ...]]) -> None:
        self._plan, self._shapes = plan, shapes
        self._addresses: dict[str, int] = {}
        empty = {k: np.zeros(v, np.float32) for k, v in shapes.items()}
        names = [one.name for one in plan.outputs]
        found = plan.session.run(names, empty)
        self.outputs = {name: one.shape for name, one in zip(names, found, strict=True)}

    def use_scratch(self, address: int, size: int) -> None:
        assert size == self.scratch_bytes

    def bind(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def enqueue(self, stream: Stream) -> None:
        self._plan.gpu._called("enqueue")
        at = dict(self._addresses)
        self._plan.gpu.put(stream, lambda: self._plan.compute(at, self._shapes))

    def capturable(self, stream: Stream) -> bool:
        return self._plan.can_capture

    def close(self) -> None:
        pass
