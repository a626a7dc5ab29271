"""Frame ring: pixels move once, from the camera into shared memory; readers check before and after.

Each slot has a generation number: odd while it is written, even when whole. A descriptor names
slot and generation, so a reader that comes late finds another number and knows that its frame is
gone (``StaleSlot``): an overwritten slot is counted, never shown or analysed. The writer never
waits for a reader.

One slot can hold several planes (raw, or labels and denoised image), so the inference process
answers through the same kind of ring.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from drivers.errors import SettingsError, StaleSlot, WireError
from drivers.sharedmem import AttachedSegment, OwnedSegment, room_bytes

_ALIGN = 64
_DTYPES = ("uint8", "uint16", "int32", "float32")
_KEPT_EPOCHS = 3
FILLED_S = 0.5
"""A descriptor may come before the pixels that it names; they are there after so long, or lost."""
_AWAKE_LOOKS = 200
"""At a slot that is being filled: mostly it is done before one who sleeps is awake again."""
_FILLING_S = 0.0001
"""Between two looks after that."""
_KEPT_FORMS = 8

_Form = tuple[tuple[str, tuple[int, ...], np.dtype[Any]], ...]


class Plane(msgspec.Struct, frozen=True, array_like=True):
    """Where one (y, x) array lies inside a slot."""

    name: str
    offset: int
    height: int
    width: int
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return self.height * self.width * np.dtype(self.dtype).itemsize


class SlotRef(msgspec.Struct, frozen=True, array_like=True):
    """A claim on one slot of one ring; good while the slot's generation equals ``generation``."""

    ring: str
    size: int
    depth: int
    slot: int
    generation: int
    planes: tuple[Plane, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    depth: int
    slot_bytes: int

    @property
    def header_bytes(self) -> int:
        return _aligned(self.depth * 8)

    @property
    def size(self) -> int:
        return self.header_bytes + self.depth * self.slot_bytes

    def slot_start(self, slot: int) -> int:
        return self.header_bytes + slot * self.slot_bytes


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A slot that is promised: its reader may be told of it while it is still being filled."""

    ref: SlotRef
    _generations: NDArray[np.int64]
    _copies: tuple[tuple[NDArray[Any], NDArray[Any]], ...]
    """Where to and where from."""

    def fill(self) -> None:
        """Copy the arrays in; before the next claim on the ring, which would follow too soon."""
        for target, array in self._copies:
            np.copyto(target, array)
        self._generations[self.ref.slot] = self.ref.generation


class FrameRing:
    """The writing end; one thread of one process writes.

    The memory is taken at the first ``write``, or ahead of it by `reserve`. When arrays no longer
    fit into a slot (larger ROI, less binning, deeper pixels) a new segment is made; the last few
    stay linked so that readers can finish what they were told of.

    Parameters
    ----------
    budget_mb
        Shared memory for one segment, MiB. The ring is as deep as fits, within the two bounds.
    min_depth, max_depth
        Slots. With less room than ``min_depth`` slots the ring refuses (``SettingsError``).
    """

    def __init__(self, budget_mb: float = 256.0, min_depth: int = 4, max_depth: int = 64) -> None:
        self._budget = int(budget_mb * 2**20)
        self._bounds = (min_depth, max_depth)
        self._segments: list[OwnedSegment] = []
        self._layout: _Layout | None = None
        self._generations: NDArray[np.int64] | None = None
        self._bytes: NDArray[np.uint8] | None = None
        self._next = 0
        # What to write is nearly always of the same form; working it out costs more than copying
        # a small frame.
        self._placed: dict[_Form, tuple[tuple[Plane, ...], int]] = {}
        self._targets: dict[tuple[int, _Form], tuple[NDArray[Any], ...]] = {}

    @property
    def depth(self) -> int:
        """Slots of the segment in use; 0 before the first write."""
        return self._layout.depth if self._layout else 0

    def reserve(self, planes: Mapping[str, tuple[tuple[int, int], str]]) -> None:
        """Take the memory now: half a GiB takes a second, in which a camera's buffer fills.

        Parameters
        ----------
        planes
            Name -> (y, x) shape and dtype of the arrays that will be written.
        """
        form = tuple((name, shape, np.dtype(dtype)) for name, (shape, dtype) in planes.items())
        self._fit(self._place(form)[1])

    def write(self, planes: Mapping[str, NDArray[Any]]) -> SlotRef:
        """Copy the arrays into the oldest slot and return the claim on it.

        Parameters
        ----------
        planes
            Name -> (y, x) array, C-contiguous, of uint8, uint16, int32 or float32.
        """
        claim = self.claim(planes)
        claim.fill()
        return claim.ref

    def claim(self, planes: Mapping[str, NDArray[Any]]) -> Claim:
        """As `write`, but the arrays are only copied when the claim is told to.

        A reader that is told of the slot before waits for it, see `RingReader.view`.
        """
        form = tuple((name, array.shape, array.dtype) for name, array in planes.items())
        placed, needed = self._place(form)
        layout = self._fit(needed)
        assert self._generations is not None
        slot = self._next % layout.depth
        self._next += 1
        targets = self._targets.get((slot, form))
        if targets is None:
            targets = self._targets[slot, form] = self._look(layout, slot, placed)
        generation = int(self._generations[slot]) + 2
        self._generations[slot] = generation - 1
        ref = SlotRef(
            ring=self._segments[-1].name,
            size=layout.size,
            depth=layout.depth,
            slot=slot,
            generation=generation,
            planes=placed,
        )
        copies = tuple(zip(targets, planes.values(), strict=True))
        return Claim(ref, self._generations, copies)

    def close(self) -> None:
        """Unlink all segments. Safe to call twice."""
        self._targets.clear()
        self._generations = None
        self._bytes = None
        self._layout = None
        for segment in self._segments:
            segment.close()
        self._segments.clear()

    def _place(self, form: _Form) -> tuple[tuple[Plane, ...], int]:
        known = self._placed.get(form)
        if known is None:
            if len(self._placed) >= _KEPT_FORMS:
                self._placed.clear()
                self._targets.clear()
            known = self._placed[form] = _place(form)
        return known

    def _look(
        self, layout: _Layout, slot: int, placed: tuple[Plane, ...]
    ) -> tuple[NDArray[Any], ...]:
        assert self._bytes is not None
        start = layout.slot_start(slot)
        return tuple(_plane_of(self._bytes, start, plane) for plane in placed)

    def _fit(self, needed: int) -> _Layout:
        if self._layout is not None and needed <= self._layout.slot_bytes:
            return self._layout
        low, high = self._bounds
        budget = self._budget
        room = room_bytes()
        if room is not None:
            budget = min(budget, room)
        depth = min(high, max(budget // needed, 0))
        if depth < low:
            raise SettingsError(
                f"frame ring: {low} slots of {needed / 2**20:.1f} MiB need "
                f"{low * needed / 2**20:.0f} MiB of shared memory, {budget / 2**20:.0f} MiB are "
                "allowed or left; raise the budget, enlarge /dev/shm or image a smaller ROI"
            )
        layout = _Layout(depth=depth, slot_bytes=needed)
        segment = OwnedSegment(layout.size)
        self._targets.clear()
        self._segments.append(segment)
        while len(self._segments) > _KEPT_EPOCHS:
            self._segments.pop(0).close()
        self._generations = np.frombuffer(segment.buffer, np.int64, depth)
        self._bytes = np.frombuffer(segment.buffer, np.uint8)
        self._layout = layout
        self._next = 0
        return layout


@dataclass(slots=True)
class _Mapped:
    """One ring that the reader looks into."""

    segment: AttachedSegment
    whole: NDArray[np.uint8]
    generations: NDArray[np.int64]
    seen: dict[tuple[int, tuple[Plane, ...]], dict[str, NDArray[Any]]]
    """Slot and planes -> arrays; descriptors that were found sound."""


class RingReader:
    """The reading end. Attaches to rings as descriptors name them; holds the last few.

    Nothing here blocks, unless it is told how long it may. One thread uses one reader.
    """

    def __init__(self) -> None:
        # By size and depth too: a wrong descriptor must not spoil the right ones after it.
        self._attached: dict[tuple[str, int, int], _Mapped] = {}

    def view(self, ref: SlotRef, wait_s: float = 0.0) -> dict[str, NDArray[Any]]:
        """Look into the slot without copying; call ``check`` after use, or use ``copy``.

        A slot that is promised and still being filled is waited for, ``wait_s`` seconds at most.

        Returns
        -------
        dict
            Name -> (y, x) read-only array. Good until the writer comes round again: what was made
            of it counts only if ``check(ref)`` passes afterwards.

        Raises
        ------
        StaleSlot
            The slot holds another frame by now.
        WireError
            The descriptor does not fit the memory that it names.
        """
        mapped = self._open(ref)
        deadline = time.monotonic() + wait_s if wait_s else 0.0
        looks = 0
        while mapped.generations[ref.slot] == ref.generation - 1 and time.monotonic() < deadline:
            time.sleep(_FILLING_S if looks >= _AWAKE_LOOKS else 0.0)
            looks += 1
        self.check(ref)
        key = (ref.slot, ref.planes)
        arrays = mapped.seen.get(key)
        if arrays is None:
            layout = _checked_layout(ref)
            start = layout.slot_start(ref.slot)
            arrays = {}
            for plane in ref.planes:
                array = _plane_of(mapped.whole, start, plane)
                array.flags.writeable = False
                arrays[plane.name] = array
            if len(mapped.seen) >= _KEPT_FORMS * ref.depth:
                mapped.seen.clear()
            mapped.seen[key] = arrays
        return dict(arrays)

    def copy(self, ref: SlotRef, wait_s: float = 0.0) -> dict[str, NDArray[Any]]:
        """Copy the slot's arrays out and prove that they are whole; waits and raises as `view`."""
        arrays = {name: array.copy() for name, array in self.view(ref, wait_s).items()}
        self.check(ref)
        return arrays

    def check(self, ref: SlotRef) -> None:
        """Raise ``StaleSlot`` unless the slot still holds the generation that ``ref`` names."""
        found = int(self._open(ref).generations[ref.slot])
        if found != ref.generation:
            raise StaleSlot(
                f"slot {ref.slot} of {ref.ring}: need generation {ref.generation}, found {found}; "
                "the reader is slower than the ring is deep"
            )

    def close(self) -> None:
        """Let go of every ring. Safe to call twice."""
        while self._attached:
            self._let_go(next(iter(self._attached)))

    def _open(self, ref: SlotRef) -> _Mapped:
        mapped = self._attached.get((ref.ring, ref.size, ref.depth))
        if mapped is None:
            mapped = self._attach(ref)
        if not 0 <= ref.slot < ref.depth:
            raise WireError(f"descriptor does not fit its ring: {ref}")
        return mapped

    def _attach(self, ref: SlotRef) -> _Mapped:
        _checked_layout(ref)
        segment = AttachedSegment(ref.ring, ref.size)
        mapped = _Mapped(
            segment,
            np.frombuffer(segment.buffer, np.uint8),
            np.frombuffer(segment.buffer, np.int64, ref.depth),
            {},
        )
        self._attached[ref.ring, ref.size, ref.depth] = mapped
        while len(self._attached) > _KEPT_EPOCHS:
            self._let_go(next(iter(self._attached)))
        return mapped

    def _let_go(self, key: tuple[str, int, int]) -> None:
        # Our own arrays go first: the mapping closes when nothing looks into it.
        segment = self._attached.pop(key).segment
        segment.close()


def _plane_of(whole: NDArray[np.uint8], start: int, plane: Plane) -> NDArray[Any]:
    begin = start + plane.offset
    flat: NDArray[Any] = whole[begin : begin + plane.nbytes].view(plane.dtype)
    return flat.reshape(plane.height, plane.width)


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _place(form: _Form) -> tuple[tuple[Plane, ...], int]:
    placed = []
    offset = 0
    for name, shape, dtype in form:
        if len(shape) != 2 or dtype.name not in _DTYPES or 0 in shape:
            raise WireError(
                f"plane {name}: got {dtype} {shape}, need a non-empty (y, x) array of "
                + ", ".join(_DTYPES)
            )
        plane = Plane(name, offset, shape[0], shape[1], dtype.name)
        placed.append(plane)
        offset += _aligned(plane.nbytes)
    return tuple(placed), offset


def _checked_layout(ref: SlotRef) -> _Layout:
    """Refuse a descriptor whose numbers do not add up, before any memory is touched."""
    header = _aligned(ref.depth * 8) if ref.depth > 0 else 0
    slot_bytes = (ref.size - header) // ref.depth if ref.depth > 0 else 0
    sound = (
        0 <= ref.slot < ref.depth <= 4096
        and slot_bytes > 0
        and all(
            plane.dtype in _DTYPES
            and plane.height > 0
            and plane.width > 0
            and plane.offset >= 0
            and plane.offset % _ALIGN == 0
            and plane.offset + plane.nbytes <= slot_bytes
            for plane in ref.planes
        )
    )
    if not sound:
        raise WireError(f"descriptor does not fit its ring: {ref}")
    return _Layout(depth=ref.depth, slot_bytes=slot_bytes)
