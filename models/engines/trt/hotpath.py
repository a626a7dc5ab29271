"""Frames through a GPU with nothing to wait for: copy in, compute and copy out side by side.

For each set of shapes there is a lane with two slots. Each slot has page-locked memory to copy
from, GPU memory for inputs and outputs, and the network as a captured CUDA graph on just that
memory. While one slot computes, the next frame is copied into the other, and the last result out::

    copy in    [ 1 ][ 2 ]     [ 3 ]
    compute         [  1  ][  2  ][  3  ]
    copy out               [ 1 ]  [ 2 ]  [ 3 ]

Once a lane exists, a frame allocates nothing and enqueues a dozen calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engines.base import Arrays
from models.engines.trt.device import Gpu, Handle, view
from models.engines.trt.lane import SLOTS, Lane, Slot
from models.engines.trt.lending import Lender
from models.engines.trt.plan import Plan, Shapes
from models.errors import EngineDeviceLost, EngineError, EngineOutOfMemory, EngineShapeError

LANES = 4
"""Sets of shapes kept ready; the one used longest ago makes room for a further one."""

RUN_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """A frame that is under way."""

    number: int
    lane: Lane
    slot: Slot
    wanted: tuple[str, ...]


class HotPath:
    """Runs a loaded engine on a GPU. One thread uses it.

    Parameters
    ----------
    gpu, plan
        Where, and what; both stay the caller's to close, after this.
    resident
        Output that an input takes over, by the input's name: where the input is left out, the
        newest output of the shapes last used stands in, and never leaves the GPU.
    capture
        Capture each slot as a CUDA graph.
    """

    def __init__(
        self,
        gpu: Gpu,
        plan: Plan,
        resident: Mapping[str, str] | None = None,
        *,
        capture: bool = True,
    ) -> None:
        self._gpu, self._plan, self._capture = gpu, plan, capture
        self._resident = dict(resident or {})
        self._lanes: OrderedDict[tuple[tuple[int, ...], ...], Lane] = OrderedDict()
        self._lender = Lender(gpu)
        self._streams: tuple[Handle, ...] = tuple(gpu.stream() for _ in range(3))
        self._count = self._made = 0
        self._lost = False

    @property
    def no_graph(self) -> str:
        """Why runs are not replayed from a captured graph; empty where they are."""
        return next((lane.no_graph for lane in self._lanes.values() if lane.no_graph), "")

    @property
    def lanes_made(self) -> int:
        """How many sets of shapes were made ready so far."""
        return self._made

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs by name; blocks until done. Arrays are the caller's own."""
        return self.collect(self.submit(inputs))

    def submit(
        self, inputs: Mapping[str, NDArray[Any]], wanted: Collection[str] | None = None
    ) -> Ticket:
        """Start a frame and return; at most two of the same shapes are under way.

        Parameters
        ----------
        inputs
            All inputs by name; resident ones may be left out. Free to change once this returns.
        wanted
            Outputs that will be collected, all when None.

        Raises
        ------
        EngineShapeError
            When an input is missing or the engine is not built for its shape.
        EngineError
            When two are under way already: collect one first.
        """
        if not self._streams:
            raise EngineError("the hot path is closed")
        try:
            shapes, carried = self._shapes(inputs)
            lane = self._lane(shapes)
            slot = next((one for one in lane.slots if not one.busy), None)
            if slot is None:
                raise EngineError(f"{SLOTS} frames are under way; collect one before the next")
            names = tuple(lane.bound.outputs) if wanted is None else tuple(wanted)
            self._start(lane, slot, inputs, carried, names)
        except EngineDeviceLost:
            self._lost = True
            raise
        self._count += 1
        slot.busy, lane.newest = self._count, slot
        return Ticket(self._count, lane, slot, names)

    def collect(self, ticket: Ticket) -> Arrays:
        """Outputs of a frame; blocks until it is done, or ``EngineDeviceLost`` after 30 s."""
        lane, slot = ticket.lane, ticket.slot
        if slot.busy != ticket.number:
            raise EngineError("this frame was collected before")
        try:
            self._gpu.finish(slot.done, RUN_TIMEOUT_S)
        except EngineDeviceLost:
            self._lost = True
            raise
        finally:
            slot.busy = 0
        return {name: self._handed_over(lane, slot, name) for name in ticket.wanted}

    def close(self) -> None:
        """Wait for what is under way, give all back. Safe to call twice."""
        streams, self._streams = self._streams, ()
        for stream in streams:
            # what was under way is thrown away, so how it ended does not matter any more
            with suppress(EngineError):
                self._gpu.finish_stream(stream, 0.0 if self._lost else RUN_TIMEOUT_S)
        while self._lanes:
            self._lanes.popitem()[1].close()
        for give in (self._lender.close, *(lambda s=s: self._gpu.free_stream(s) for s in streams)):
            with suppress(EngineError):
                give()

    def _start(
        self,
        lane: Lane,
        slot: Slot,
        inputs: Mapping[str, NDArray[Any]],
        carried: tuple[str, ...],
        wanted: tuple[str, ...],
    ) -> None:
        gpu = self._gpu
        into, compute, out = self._streams
        for name, staged in slot.views.items():
            if name not in carried:
                np.copyto(staged, inputs[name], casting="same_kind")
                gpu.to_gpu(slot.into[name], slot.staged[name], lane.sizes[name], into)
        gpu.record(slot.arrived, into)
        gpu.wait(compute, slot.arrived)
        if carried and lane.newest is None:
            raise EngineShapeError(f"input {carried[0]!r} was left out, and no frame was before")
        for name in carried if lane.newest is not None else ():
            source = lane.newest.out[self._resident[name]]  # type: ignore[union-attr]
            gpu.within(slot.into[name], source, lane.sizes[name], compute)
        lane.enqueue(slot)
        gpu.record(slot.computed, compute)
        gpu.wait(out, slot.computed)
        for name in wanted:
            gpu.to_host(slot.results[name], slot.out[name], lane.sizes[name], out)
        gpu.record(slot.done, out)

    def _handed_over(self, lane: Lane, slot: Slot, name: str) -> NDArray[Any]:
        """The result as an array of the caller's own, without a copy while there is memory."""
        address, shape, dtype = slot.results[name], lane.shapes[name], lane.types[name]
        spare = self._lender.spare(lane.sizes[name])
        if spare is None:
            return view(address, shape, dtype).copy()
        slot.results[name] = spare
        return self._lender.lend(address, shape, dtype)

    def _shapes(self, inputs: Mapping[str, NDArray[Any]]) -> tuple[Shapes, tuple[str, ...]]:
        """Shape of each input, and which are carried over from the frame before."""
        known = [port.name for port in self._plan.inputs]
        for name in inputs:
            if name not in known:
                raise EngineShapeError(f"no input named {name!r}; need {', '.join(known)}")
        shapes: dict[str, tuple[int, ...]] = {}
        carried = []
        last = next(reversed(self._lanes.values()), None)
        for name in known:
            if name in inputs:
                shapes[name] = inputs[name].shape
            elif name in self._resident and last is not None:
                shapes[name] = last.shapes[self._resident[name]]
                carried.append(name)
            else:
                raise EngineShapeError(f"input {name!r} is missing")
        for name, shape in shapes.items():
            least, _, most = self._plan.limits(name)
            pairs = zip(least, shape, most, strict=False)
            if len(shape) != len(least) or any(not low <= k <= top for low, k, top in pairs):
                raise EngineShapeError(
                    f"{name!r} is {shape}, the engine was built for {least} to {most}; build it "
                    "for this size, as with `parfocal models build --shapes`"
                )
        return shapes, tuple(carried)

    def _lane(self, shapes: Shapes) -> Lane:
        key = tuple(shapes[one.name] for one in self._plan.inputs)
        if key in self._lanes:
            self._lanes.move_to_end(key)
            return self._lanes[key]
        while len(self._lanes) >= LANES:
            oldest, lane = next(iter(self._lanes.items()))
            if any(slot.busy for slot in lane.slots):
                raise EngineError(f"{LANES} sizes are under way; collect before the next")
            del self._lanes[oldest]
            lane.close()
            self._lender.keep_only({n for one in self._lanes.values() for n in one.sizes.values()})
        try:
            self._lanes[key] = self._new_lane(shapes)
        except EngineOutOfMemory:
            if not self._lanes or any(s.busy for one in self._lanes.values() for s in one.slots):
                raise
            # memory that other sizes hold may be enough for this one
            while self._lanes:
                self._lanes.popitem()[1].close()
            self._lender.keep_only(())
            self._lanes[key] = self._new_lane(shapes)
        return self._lanes[key]

    def _new_lane(self, shapes: Shapes) -> Lane:
        stream = self._streams[1]
        self._made += 1
        return Lane(self._gpu, self._plan, self._lender, stream, shapes, capture=self._capture)
