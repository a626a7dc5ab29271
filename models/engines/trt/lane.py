"""A lane: one set of shapes with all the memory that it needs, and its run as a captured graph."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engines.trt.device import Gpu, Handle, view
from models.engines.trt.lending import Lender
from models.engines.trt.plan import Bound, Plan, Shapes, dtype_of
from models.errors import EngineDeviceLost, EngineError, EngineOutOfMemory

SLOTS = 2
"""Frames of the same shapes that may be under way at once."""

FIRST_TIMEOUT_S = 300.0
"""The first run of a shape may compile for the GPU."""


@dataclass(slots=True)
class Slot:
    """Memory of one frame that is under way."""

    staged: dict[str, int] = field(default_factory=dict)
    """Page-locked addresses that inputs are copied from."""
    views: dict[str, NDArray[Any]] = field(default_factory=dict)
    """The same as arrays."""
    into: dict[str, int] = field(default_factory=dict)
    """GPU addresses of inputs."""
    out: dict[str, int] = field(default_factory=dict)
    """GPU addresses of outputs."""
    results: dict[str, int] = field(default_factory=dict)
    """Page-locked addresses that outputs are copied to."""
    graph: Handle = None
    events: list[Handle] = field(default_factory=list)
    busy: int = 0
    """Number of the frame under way here; 0 when free."""

    @property
    def arrived(self) -> Handle:
        """Marks that the inputs are on the GPU."""
        return self.events[0]

    @property
    def computed(self) -> Handle:
        """Marks that the outputs are there."""
        return self.events[1]

    @property
    def done(self) -> Handle:
        """Marks that the results are on the host."""
        return self.events[2]


class Lane:
    """One set of shapes, ready to run. Made and used by ``HotPath`` alone.

    Parameters
    ----------
    gpu, plan, lender, stream
        Where it takes memory, and the stream that computes.
    shapes
        Of all inputs.
    capture
        Capture each slot as a CUDA graph.

    Raises
    ------
    EngineOutOfMemory
        When it does not fit; all that it took is given back.
    EngineShapeError
        When the engine is not built for these shapes.
    """

    def __init__(
        self,
        gpu: Gpu,
        plan: Plan,
        lender: Lender,
        stream: Handle,
        shapes: Shapes,
        *,
        capture: bool,
    ) -> None:
        self._gpu, self._lender, self._stream = gpu, lender, stream
        self.no_graph = "" if capture else "switched off"
        """Why runs are not replayed from a captured graph; empty where they are."""
        self.bound: Bound = plan.bound(shapes)
        self.shapes: dict[str, tuple[int, ...]] = {**shapes, **self.bound.outputs}
        self.types = {one.name: dtype_of(one) for one in (*plan.inputs, *plan.outputs)}
        self.sizes = {
            name: int(np.prod(shape, dtype=np.int64)) * self.types[name].itemsize
            for name, shape in self.shapes.items()
        }
        self.slots = tuple(Slot() for _ in range(SLOTS))
        self.newest: Slot | None = None
        """The one that computed last."""
        self._scratch = 0
        try:
            self._furnish(tuple(shapes))
            for slot in self.slots:
                self._warm(slot)
        except EngineError:
            self.close()
            raise

    def enqueue(self, slot: Slot) -> None:
        """Queue the run of a slot: its graph, or the engine itself where there is none."""
        if slot.graph is not None:
            self._gpu.launch(slot.graph, self._stream)
            return
        self._bind(slot)
        self.bound.enqueue(self._stream)

    def close(self) -> None:
        """Give all back; nothing may be under way. Safe to call twice."""
        gpu = self._gpu
        for slot in self.slots:
            graphs = [] if slot.graph is None else [slot.graph]
            slot.graph = None
            slot.views.clear()
            for give, taken in (
                (gpu.free_graph, graphs),
                (gpu.free_event, slot.events),
                (gpu.free_host, [*slot.staged.values(), *slot.results.values()]),
                (gpu.free, [*slot.into.values(), *slot.out.values()]),
            ):
                for one in taken:
                    # a GPU that was lost refuses this too, and that it was lost has been told
                    with suppress(EngineError):
                        give(one)
            slot.events = []
            for kept in (slot.staged, slot.into, slot.out, slot.results):
                kept.clear()
        self.bound.close()
        if self._scratch:
            with suppress(EngineError):  # as above
                gpu.free(self._scratch)
            self._scratch = 0

    def _furnish(self, inputs: tuple[str, ...]) -> None:
        gpu, need = self._gpu, self.bound.scratch_bytes
        self._scratch = gpu.memory(max(need, 1))
        self.bound.use_scratch(self._scratch, need)
        for slot in self.slots:
            for name in inputs:
                slot.into[name] = gpu.memory(max(self.sizes[name], 1))
                slot.staged[name] = gpu.host_memory(max(self.sizes[name], 1))
                seen = view(slot.staged[name], self.shapes[name], self.types[name])
                seen[...] = 0
                slot.views[name] = seen
            for name in self.bound.outputs:
                slot.out[name] = gpu.memory(max(self.sizes[name], 1))
                slot.results[name] = self._lender.make(self.sizes[name])
            slot.events.extend(gpu.event() for _ in range(3))

    def _bind(self, slot: Slot) -> None:
        for name, address in (*slot.into.items(), *slot.out.items()):
            self.bound.bind(name, address)

    def _warm(self, slot: Slot) -> None:
        """Run once on zeros, then capture: what the first run sets up must not be in the graph."""
        gpu = self._gpu
        for name, address in slot.into.items():
            gpu.to_gpu(address, slot.staged[name], self.sizes[name], self._stream)
        self._bind(slot)
        self.bound.enqueue(self._stream)
        gpu.finish_stream(self._stream, FIRST_TIMEOUT_S)
        if self.no_graph:
            return
        if not self.bound.capturable(self._stream):
            self.no_graph = "the engine cannot be captured"
            return
        try:
            slot.graph = self._captured()
        except (EngineOutOfMemory, EngineDeviceLost):
            raise
        except EngineError as error:
            self.no_graph = str(error)

    def _captured(self) -> Handle:
        gpu = self._gpu
        gpu.begin_capture(self._stream)
        try:
            self.bound.enqueue(self._stream)
        except EngineError:
            # whatever failed, the stream must not stay in capture
            with suppress(EngineError):
                gpu.free_graph(gpu.end_capture(self._stream))
            raise
        return gpu.end_capture(self._stream)
