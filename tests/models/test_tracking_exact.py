"""Small quarrels decided exactly: against every decision that there is."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tracking.bidding import Offers
from models.tracking.exact import decide

TRACKS, SLOTS, OBJECTS = 3, 3, 4
prices = st.integers(-40, 120).map(lambda tenth: tenth / 10)


@st.composite
def quarrels(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """Candidates and prices of a few tracks that want the same few objects."""
    obj = np.array([draw(st.permutations(range(OBJECTS)))[:SLOTS] for _ in range(TRACKS)])
    one = np.array([[draw(prices) for _ in range(SLOTS)] for _ in range(TRACKS)])
    two = np.full((TRACKS, SLOTS, SLOTS), np.inf)
    for track in range(TRACKS):
        for a in range(SLOTS):
            for b in range(a):
                two[track, a, b] = two[track, b, a] = draw(prices)
    end = np.array([draw(prices) for _ in range(TRACKS)])
    birth = np.array([draw(prices) for _ in range(OBJECTS)])
    return obj, one, two, end, birth


def cost_of(quarrel: tuple[np.ndarray, ...], taken: list[tuple[int, ...]]) -> float:
    """Total price of what each track takes, in slots; inf where two take one object."""
    obj, one, two, end, birth = quarrel
    used = [int(obj[track, slot]) for track, slots in enumerate(taken) for slot in slots]
    if len(set(used)) < len(used):
        return np.inf
    total = sum(float(birth[k]) for k in range(OBJECTS) if k not in used)
    for track, slots in enumerate(taken):
        price = {0: end[track], 1: one[track, slots[0]] if slots else 0.0}.get(len(slots))
        total += float(two[track, slots[0], slots[1]] if price is None else price)
    return total


@settings(max_examples=150, deadline=None)
@given(quarrels())
def test_no_decision_is_cheaper(quarrel: tuple[np.ndarray, ...]) -> None:
    obj = quarrel[0]
    may = [(), *((s,) for s in range(SLOTS)), *((a, b) for b in range(SLOTS) for a in range(b))]
    least = min(cost_of(quarrel, list(taken)) for taken in product(may, repeat=TRACKS))
    first, second = decide(*quarrel)
    slot = [{int(k): s for s, k in enumerate(row)} for row in obj]
    chosen = [
        tuple(slot[track][int(k)] for k in pair if k >= 0)
        for track, pair in enumerate(zip(first, second, strict=True))
    ]
    assert abs(cost_of(quarrel, chosen) - least) < 1e-9


@settings(max_examples=100, deadline=None)
@given(quarrels(), st.integers(0, 2**31))
def test_a_bid_is_what_having_an_object_saves(quarrel: tuple[np.ndarray, ...], seed: int) -> None:
    _, one, two, end, _ = quarrel
    ask = np.random.default_rng(seed).uniform(-2, 4, (TRACKS, SLOTS))
    bids, (low, high) = Offers.of(one, two, end).bids(np.ascontiguousarray(ask.T))
    for track in range(TRACKS):
        total = {(): float(end[track])}
        for a in range(SLOTS):
            total[(a,)] = float(one[track, a] - ask[track, a])
            for b in range(a):
                total[(b, a)] = float(two[track, a, b] - ask[track, a] - ask[track, b])
        for slot in range(SLOTS):
            having = min(v for k, v in total.items() if slot in k) + ask[track, slot]
            lacking = min(v for k, v in total.items() if slot not in k)
            assert abs(bids[slot, track] - (having - lacking)) < 1e-9
        wanted = tuple(int(k) for k in (low[track], high[track]) if k >= 0)
        assert abs(total[wanted] - min(total.values())) < 1e-9
