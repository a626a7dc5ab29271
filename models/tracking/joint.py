"""Links, divisions, ends and appearances of one frame, decided together.

Each track takes one hypothesis (an object, two daughters, or none), each object belongs to at most
one (Padfield et al., Medical Image Analysis 2011, who solve it as a coupled flow). Here prices are
passed along the pairs until both sides agree: a track bids for an object what it would save, an
object asks what its second best bidder offers. For single links this is the belief propagation
that Bayati, Shah and Sharma (IEEE Trans. Inf. Theory 2008) prove exact for matchings; with pairs
it solves the linear relaxation where that is tight, which it nearly always is. What has not
settled at the end is decided piece by piece, the surest first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.tracking.assign import assign, groups
from models.tracking.bidding import Offers
from models.tracking.bodies import Ints, Reals
from models.tracking.exact import MOST_TRACKS, decide

ROUNDS = 24
"""Exchanges of prices at most, before the surest are fixed and the others go on."""
SURELY = 0.9
"""A decision less likely than this is doubtful."""
DAMPING = 0.5
"""Part of the old price that is kept: groups that disagree would swing for ever."""
_LOOK = 4
"""Exchanges after which it is looked at who has settled."""
_FEWER = 0.8
"""Where more than this part goes on, leaving the others out would save nothing."""
_PIECES = 4
_WORTH = 0.02
"""A piece that fixes a smaller part than this promises nothing of the next."""
_LARGE = 200.0


@dataclass(frozen=True, slots=True)
class Choices:
    """Candidates of m tracks, at most k objects each, as dense tables; empty places cost inf."""

    obj: Ints
    """(m, k) object in each slot, or -1."""
    one: Reals
    """(m, k) price of taking that object."""
    two: Reals
    """(m, k, k) price of dividing into two of them; symmetric, inf on the diagonal."""
    end: Reals
    """(m,) price of taking none."""
    usable: NDArray[np.bool_]
    """(m, k) slots that have a price, alone or in a pair."""
    splits: NDArray[np.bool_]
    """(m,) tracks that may divide."""

    def offers(self) -> Offers:
        """The prices as `Offers` has them, a copy."""
        return Offers.of(self.one, self.two, self.end)

    def of(self, rows: Ints) -> Choices:
        """Those of some tracks, a copy."""
        return Choices(
            self.obj[rows],
            self.one[rows],
            self.two[rows],
            self.end[rows],
            self.usable[rows],
            self.splits[rows],
        )


@dataclass(frozen=True, slots=True)
class Settled:
    """What the tracks take, and how likely it was otherwise."""

    first: Ints
    """(m,) object of each track, -1 for none."""
    second: Ints
    """(m,) its second daughter, -1 for none."""
    divides: Reals
    """(m,) how likely the track divides, given what its objects ask."""
    ends: Reals
    """(m,) how likely it takes none."""
    comes: Reals
    """(n,) how likely the object is new, given what the tracks bid."""
    plain: NDArray[np.bool_]
    """(m,) tracks that had no choice, nor had their object."""

    @property
    def doubtful(self) -> float:
        """Part of the tracks about which another frame like this could well decide otherwise."""
        fate = np.where(self.second >= 0, self.divides, 1 - self.divides - self.ends)
        fate = np.where(self.first < 0, self.ends, fate)
        return float(np.mean(fate < SURELY)) if len(fate) else 0.0

    def put(self, rows: Ints, other: Settled) -> None:
        """Replace what some tracks take; theirs are all objects that no plain track has."""
        self.first[rows], self.second[rows] = other.first, other.second
        self.divides[rows], self.ends[rows] = other.divides, other.ends
        own = np.ones(len(self.comes), dtype=bool)
        own[self.first[self.plain & (self.first >= 0)]] = False
        self.comes[own] = other.comes[own]


def settle(choices: Choices, birth: Reals) -> Settled:
    """Decide; ``birth`` (n,) is the price of an object that no track takes."""
    m, n = len(choices.end), len(birth)
    usable = choices.usable
    wanted = np.bincount(choices.obj[usable], minlength=n)
    count = usable.sum(axis=1)
    slot = usable.argmax(axis=1)
    own = choices.obj[np.arange(m), slot]
    cost = np.where(count > 0, choices.one[np.arange(m), slot], np.inf)
    alone = (count == 1) & np.append(wanted == 1, False)[own] & ~choices.splits
    plain = alone | (count == 0)
    none = np.exp(-choices.end)
    links = Settled(
        np.where(alone, own, -1),
        np.full(m, -1, dtype=np.intp),
        np.zeros(m),
        np.where(count == 0, 1.0, 0.0),
        np.ones(n),
        plain,
    )
    mine = own[alone]
    links.ends[alone] = none[alone] / (none[alone] + np.exp(birth[mine] - cost[alone]))
    links.comes[mine] = links.ends[alone]
    rows = np.flatnonzero(~plain)
    if len(rows):
        _settle_groups(choices.of(rows), birth, links, rows)
    return links


def total_price(choices: Choices, links: Settled, birth: Reals) -> float:
    """What these links cost: tracks that go on, divide and end, and objects that are new."""
    total = float(choices.end[links.first < 0].sum())
    owned = np.zeros(len(birth), dtype=bool)
    for which in (links.first, links.second):
        owned[which[which >= 0]] = True
    total += float(birth[~owned].sum())
    rows = np.flatnonzero(links.first >= 0)
    one = (choices.obj[rows] == links.first[rows, None]).argmax(axis=1)
    two = (choices.obj[rows] == links.second[rows, None]).argmax(axis=1)
    split = links.second[rows] >= 0
    cost = np.where(split, choices.two[rows, one, two], choices.one[rows, one])
    return total + float(cost.sum())


def _settle_groups(choices: Choices, birth: Reals, links: Settled, rows: Ints) -> None:
    """Let each of these tracks take what is best for it, then settle the groups that quarrel.

    Where no two want the same the sum of the least prices is reached, so nothing can be cheaper.
    """
    n = len(birth)
    ask = birth[choices.obj]
    _, want = choices.offers().bids(np.ascontiguousarray(ask.T))
    wanted = np.zeros(n, dtype=np.intp)
    for which, slot in zip((links.first, links.second), want, strict=True):
        has = np.flatnonzero(slot >= 0)
        which[rows[has]] = choices.obj[has, slot[has]]
        wanted += np.bincount(which[rows[has]], minlength=n)
    links.divides[rows], links.ends[rows], comes = _likely(choices, birth, ask)
    own = choices.obj[choices.usable]
    links.comes[own] = comes[own]
    if not (wanted > 1).any():
        return
    track, slot = np.nonzero(choices.usable)
    obj = choices.obj[track, slot]
    group = groups(track, obj, len(rows), n)
    loud = np.zeros(len(rows) + n, dtype=bool)
    loud[group[wanted[obj] > 1]] = True
    part = np.unique(track[loud[group]])
    links.first[rows[part]] = links.second[rows[part]] = -1
    _settle_rest(choices.of(part), birth, links, rows[part])


def _settle_rest(choices: Choices, birth: Reals, links: Settled, rows: Ints) -> None:
    """Decide for the tracks ``rows``, whose choices these are."""
    free = np.ones(len(birth) + 1, dtype=bool)
    free[links.first[links.first >= 0]] = False
    reward = birth[choices.obj]
    for piece in range(_PIECES):
        gone = ~free[choices.obj]
        choices.one[gone] = np.inf
        choices.two[gone] = np.inf
        choices.two.transpose(0, 2, 1)[gone] = np.inf
        choices.usable[gone] = False
        slots, sure, reward = _exchange(choices, birth, reward)
        if piece == 0:
            links.divides[rows], links.ends[rows], comes = _likely(choices, birth, reward)
            own = choices.obj[choices.usable]
            links.comes[own] = comes[own]
        for which, slot in zip((links.first, links.second), slots, strict=True):
            has = np.flatnonzero(sure & (slot >= 0))
            which[rows[has]] = choices.obj[has, slot[has]]
            free[which[rows[has]]] = False
        rows, reward, choices = rows[~sure], reward[~sure], choices.of(np.flatnonzero(~sure))
        if len(rows) == 0:
            return
        rows, reward, choices = _decide_small(choices, birth, reward, free, links, rows)
        if len(rows) == 0:
            return
        if np.count_nonzero(sure) < _WORTH * len(sure):
            break
    at, slot = np.nonzero(np.isfinite(choices.one) & free[choices.obj] & (choices.obj >= 0))
    taken, _ = assign(at, choices.obj[at, slot], choices.one[at, slot], choices.end, birth)
    links.first[rows] = taken


def _decide_small(
    choices: Choices,
    birth: Reals,
    reward: Reals,
    free: NDArray[np.bool_],
    links: Settled,
    rows: Ints,
) -> tuple[Ints, Reals, Choices]:
    """Decide groups of a few tracks exactly; what is left of rows, rewards and choices."""
    gone = ~free[choices.obj]
    choices.one[gone] = np.inf
    choices.two[gone] = np.inf
    choices.two.transpose(0, 2, 1)[gone] = np.inf
    choices.usable[gone] = False
    track, slot = np.nonzero(choices.usable)
    piece = np.arange(len(rows))
    piece[track] = groups(track, choices.obj[track, slot], len(rows), len(birth))
    _, which, size = np.unique(piece, return_inverse=True, return_counts=True)
    small = size[which] <= MOST_TRACKS
    for number in np.unique(which[small]).tolist():
        at = np.flatnonzero(which == number)
        part = choices.of(at)
        first, second = decide(part.obj, part.one, part.two, part.end, birth)
        links.first[rows[at]], links.second[rows[at]] = first, second
        for taken in (first, second):
            free[taken[taken >= 0]] = False
    left = np.flatnonzero(~small)
    return rows[left], reward[left], choices.of(left)


def _likely(choices: Choices, birth: Reals, ask: Reals) -> tuple[Reals, Reals, Reals]:
    """How likely tracks divide and end and objects are new, from the prices at the end."""
    bids = choices.offers().bids(np.ascontiguousarray(ask.T))[0].T
    one = np.exp(-np.clip(choices.one - ask, -_LARGE, _LARGE)).sum(axis=1)
    pair = choices.two - ask[:, None, :] - ask[:, :, None]
    two = np.exp(-np.clip(pair, -_LARGE, _LARGE)).sum(axis=(1, 2)) / 2 * choices.splits
    none = np.exp(-choices.end)
    every = one + two + none
    use = choices.obj >= 0
    weight = np.exp(-np.clip(bids[use], -_LARGE, _LARGE))
    taken = np.bincount(choices.obj[use], weights=weight, minlength=len(birth))
    new = np.exp(-birth)
    return two / every, none / every, new / (new + taken)


def _exchange(
    choices: Choices, birth: Reals, ask: Reals, rounds: int = ROUNDS
) -> tuple[tuple[Ints, Ints], NDArray[np.bool_], Reals]:
    """Slots that each track wants, whether all its objects agree, and the last prices.

    Groups that have settled are left alone while the others go on.
    """
    m = len(choices.obj)
    track, slot = np.nonzero(choices.usable)
    obj = choices.obj[track, slot]
    order = np.argsort(obj, kind="stable")
    track, slot, obj = track[order], slot[order], obj[order]
    last = (np.full(m, -1, dtype=np.intp),) * 2
    if len(obj) == 0:
        return last, np.ones(m, dtype=bool), ask
    start = np.flatnonzero(np.concatenate(([True], obj[1:] != obj[:-1])))
    group = np.repeat(np.arange(len(start)), np.diff(np.concatenate((start, [len(obj)]))))
    most = birth[obj]
    edge = np.full(choices.obj.shape, -1, dtype=np.intp)
    edge[track, slot] = np.arange(len(obj))
    offers, asked = choices.offers(), np.ascontiguousarray(ask.T)
    settled = np.zeros(m, dtype=bool)
    for done in range(1, rounds + 1):
        bids, want = offers.bids(asked)
        bid = bids[slot, track]
        low = np.minimum.reduceat(bid, start)
        at_low = bid <= low[group]
        # of equal bids the first one counts, so that two never both pay the lower price
        best = np.full(len(start), len(obj))
        np.minimum.at(best, group[at_low], np.flatnonzero(at_low))
        others = bid.copy()
        others[best] = np.inf
        other = low[group]
        other[best] = np.minimum.reduceat(others, start)
        asked[slot, track] += (1 - DAMPING) * (np.minimum(most, other) - asked[slot, track])
        same = (want[0] == last[0]) & (want[1] == last[1])
        last = want
        if done % _LOOK and done < rounds:
            continue
        settled = same & _agreed(want, edge, best, group, bid, most)
        if settled.all() or done == rounds:
            break
        piece = np.zeros(m, dtype=np.intp)
        piece[track] = groups(track, obj, m, len(birth))
        restless = np.zeros(m + len(birth), dtype=bool)
        restless[piece[~settled]] = True
        rest = np.flatnonzero(restless[piece])
        if len(rest) > _FEWER * m:
            continue
        ask = np.ascontiguousarray(asked.T)
        inner, settled[rest], ask[rest] = _exchange(
            choices.of(rest), birth, ask[rest], rounds - done
        )
        for all_of, some in zip(last, inner, strict=True):
            all_of[rest] = some
        return last, settled, ask
    return last, settled, np.ascontiguousarray(asked.T)


def _agreed(
    want: tuple[Ints, Ints], edge: Ints, best: Ints, group: Ints, bid: Reals, most: Reals
) -> NDArray[np.bool_]:
    """Tracks whose wishes are the choice of their objects, and whom no other object chooses."""
    m = len(edge)
    rows = np.arange(m)
    chosen = np.zeros(len(group), dtype=bool)
    chosen[best] = bid[best] < most[best]
    wished = np.zeros(len(group), dtype=bool)
    for slot in want:
        has = slot >= 0
        wished[edge[rows[has], slot[has]]] = True
    odd = chosen != wished
    strange = np.append(odd, False)
    return np.asarray(~strange[edge].any(axis=1))
