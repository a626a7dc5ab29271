"""Who runs next on an engine that several streams share: pure, with the time as an argument.

Requests are collected until there are enough of one kind, until everybody who asks at present has
asked, or until the oldest has waited for as long as it may. Then the kind that holds the oldest
overdue request runs. Of one kind the oldest request of each stream comes before the second of any,
so a busy stream cannot crowd out a quiet one. What waits is bounded: a stream that asks too often
loses its own oldest request.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

LATELY_MS = 1000.0
"""A stream that has not asked for so long is not waited for."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call that waits for its turn."""

    ticket: int
    """Counts up over all streams."""
    stream: int
    kind: Hashable
    """Requests of one kind can run together."""
    asked_ms: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of asking."""

    ticket: int
    gave_way: int | None
    """Ticket that was dropped for it; ``ticket`` itself where nobody else could give way."""


class Batcher:
    """Requests that wait. One thread at a time uses it; time never goes back.

    Parameters
    ----------
    most
        Requests that run together, at most.
    budget_ms
        How long a request waits for others to come; 0: it does not.
    capacity
        Requests that wait, at most.

    Raises
    ------
    ValueError
        When one of them cannot be.
    """

    def __init__(self, most: int, budget_ms: float, capacity: int) -> None:
        if most < 1 or budget_ms < 0 or capacity < 1:
            raise ValueError(
                f"got most {most}, budget_ms {budget_ms}, capacity {capacity}; need at least 1, 0, "
                "1"
            )
        self._most, self._budget_ms, self._capacity = most, budget_ms, capacity
        self._waiting: OrderedDict[int, Request] = OrderedDict()
        self._asked_ms: dict[int, float] = {}
        """When each stream asked last."""
        self._tickets = 0
        self.dropped: Counter[int] = Counter()
        """Requests of each stream that gave way."""

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, stream: int, kind: Hashable, now_ms: float) -> Asked:
        """Wait in line; who waits longest comes first."""
        self._tickets += 1
        request = Request(self._tickets, stream, kind, now_ms)
        self._asked_ms[stream] = now_ms
        gave_way = self._make_room(request) if len(self._waiting) >= self._capacity else None
        if gave_way is not None:
            self.dropped[gave_way.stream] += 1
            self._waiting.pop(gave_way.ticket, None)
        if gave_way is not request:
            self._waiting[request.ticket] = request
        return Asked(request.ticket, None if gave_way is None else gave_way.ticket)

    def leave(self, stream: int) -> tuple[int, ...]:
        """A stream goes: nobody waits for it any more; tickets of what it still had waiting."""
        self._asked_ms.pop(stream, None)
        gone = tuple(r.ticket for r in self._waiting.values() if r.stream == stream)
        for ticket in gone:
            del self._waiting[ticket]
        return gone

    def wait_ms(self, now_ms: float) -> float | None:
        """How long until `take` gives something: 0 now, None if nothing waits."""
        if not self._waiting:
            return None
        oldest = next(iter(self._waiting.values()))
        left = oldest.asked_ms + self._budget_ms - now_ms
        if left <= 0 or self._full() is not None or not self._expected(now_ms):
            return 0.0
        return left

    def take(self, now_ms: float) -> tuple[Request, ...]:
        """What runs now, together, the oldest first; nothing where waiting is still worth it."""
        if self.wait_ms(now_ms) != 0:
            return ()
        oldest = next(iter(self._waiting.values()))
        full = self._full()
        overdue = now_ms - oldest.asked_ms >= self._budget_ms
        kind = oldest.kind if overdue or full is None else full
        before: Counter[int] = Counter()
        ranked: list[tuple[int, int]] = []
        for request in self._waiting.values():
            if request.kind == kind:
                ranked.append((before[request.stream], request.ticket))
                before[request.stream] += 1
        chosen = sorted(ticket for _, ticket in sorted(ranked)[: self._most])
        return tuple(self._waiting.pop(ticket) for ticket in chosen)

    def _full(self) -> Hashable | None:
        """The first kind of which as many wait as can run together."""
        count: Counter[Hashable] = Counter(r.kind for r in self._waiting.values())
        return next((kind for kind, number in count.items() if number >= self._most), None)

    def _expected(self, now_ms: float) -> bool:
        """Whether a stream that asked lately has nothing in line, and so may ask soon."""
        here = {request.stream for request in self._waiting.values()}
        return any(
            now_ms - asked <= LATELY_MS
            for stream, asked in self._asked_ms.items()
            if stream not in here
        )

    def _make_room(self, request: Request) -> Request:
        """Who gives way: the stream's own oldest, else that of the stream with most in line."""
        count = Counter(r.stream for r in self._waiting.values())
        if count[request.stream]:
            crowded = request.stream
        else:
            crowded, number = count.most_common(1)[0]
            if number < 2:
                return request
        return next(r for r in self._waiting.values() if r.stream == crowded)
