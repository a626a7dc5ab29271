"""How hard the epidermis is: what a model reaches that has seen the answers.

    python -m benchmarks.lineage_ceiling [FOLDS]

Gradient boosting is trained on the other frames of the very same movie, in 7 folds, and is told the
true past of each cell: its age, its last move and growth, where its sister is. It judges every link
and every division that could be, and an integer programme takes the likeliest set of them in which
each object comes from one cell. A tracker in a run has none of this: it sees a movie for the first
time, and its past is what it published itself.

The truth has no newcomers, so the model may have none; but it has 8 mothers of three, and the third
daughter then takes another cell's place. So the second figures are with newcomers at a price.

It is no proof that nothing can be better: 14 folds, which leave out one frame at a time, give a
little more (link F1 0.981, division-link F1 0.880; 0.885 with newcomers).
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.lineage_data import (
    EPIDERMIS,
    SMALLEST_PX,
    Links,
    Movie,
    Reals,
    distances,
    division_link_f1,
    epidermis,
    link_f1,
    ours,
    pasts,
)

FOLDS: Final = 7
"""Each is a seventh of the frames, judged by what was learned of the others."""
BARS: Final = (0.985, 0.88)
REACH_PX: Final = 26.0
NEAREST: Final = 9
MIDDLE_PX: Final = 18.0
"""The middle of two daughters is not farther from where their mother should be."""
APART_PX: Final = 42.0
ROUND_PX: Final = 40.0
"""Within this, cells and objects are counted."""
DEAR: Final = 6.0
NEVER: Final = 1e3
"""Prices of a newcomer, in logarithms of odds; the second nobody pays who has any other way."""


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """What cells may become, one way a row."""

    rows: NDArray[np.int64]
    """(n, 2) cell and object, or (n, 3) cell and both daughters."""
    features: Reals
    right: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """From one frame to the next."""

    cells: int
    objects: int
    ways: tuple[Ways, Ways]
    """Links and divisions."""


def judged(steps: Sequence[Step], folds: int) -> list[list[Reals]]:
    """Log odds of all links and divisions of each step, by models that were trained on others."""
    try:
        learner: Any = import_module("sklearn.ensemble").HistGradientBoostingClassifier
    except ImportError as error:
        why = "the ceiling needs scikit-learn; install it with: pip install 'parfocal[score]'"
        raise SystemExit(why) from error
    odds: list[list[Reals]] = [[] for _ in steps]
    for fold in range(folds):
        known = [step for k, step in enumerate(steps) if k % folds != fold]
        for kind in (0, 1):
            features, right = (
                np.concatenate([getattr(step.ways[kind], name) for step in known])
                for name in ("features", "right")
            )
            model = learner(
                max_iter=200, learning_rate=0.05, max_leaf_nodes=10, l2_regularization=5.0,
                early_stopping=False, random_state=0,
            ).fit(features, right)  # fmt: skip
            for k in range(fold, len(steps), folds):
                chance = model.predict_proba(steps[k].ways[kind].features)[:, 1]
                chance = chance.clip(1e-5, 1 - 1e-5)
                odds[k].append(np.log(chance / (1 - chance)))
    return odds


def decide(step: Step, odds: Sequence[Reals], newcomer: float) -> list[list[int]]:
    """The likeliest ways that fit together: each cell goes one at most, each object comes by one.

    Parameters
    ----------
    step
        All ways that there are.
    odds
        Logarithm of the odds of each link and of each division.
    newcomer
        Price of an object that comes from nowhere; a cell that ends costs nothing.
    """
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import csr_array, eye_array, hstack

    ways = [*step.ways[0].rows.tolist(), *step.ways[1].rows.tolist()]
    of = [(cell, *(step.cells + one for one in into)) for cell, *into in ways]
    column = np.repeat(np.arange(len(ways)), [len(one) for one in of])
    takes = csr_array((np.ones(len(column)), (np.concatenate(of), column)))
    count = step.cells + step.objects
    takes.resize(count, len(ways))
    prices = [-odds[0], -odds[1], np.zeros(step.cells), np.full(step.objects, newcomer)]
    found = milp(
        np.concatenate(prices),
        constraints=LinearConstraint(hstack([takes, eye_array(count)]), 1, 1),
        integrality=np.ones(len(ways) + count),
        bounds=(0, 1),
    )
    return [ways[k] for k in np.flatnonzero(found.x[: len(ways)] > 0.5).tolist()]


def links_of(steps: Sequence[Step], odds: Sequence[Sequence[Reals]], newcomer: float) -> Links:
    """What is decided of all steps."""
    return frozenset(
        ((frame, cell), (frame + 1, row))
        for frame, (step, its) in enumerate(zip(steps, odds, strict=True))
        for cell, *into in decide(step, its, newcomer)
        for row in into
    )


def flow_of(p: Reals, q: Reals) -> Reals:
    """Where the neighbourhood of each cell goes: mean move of twelve sure neighbours."""
    flow = np.zeros_like(p)
    for _ in range(3):
        far = distances(p + flow, q)
        to, back = far.argmin(axis=1), far.argmin(axis=0)
        sure = np.flatnonzero((back[to] == np.arange(len(p))) & (far.min(axis=1) < 9.0))
        near = distances(p, p[sure])
        near[sure, np.arange(len(sure))] = np.inf  # not by its own move
        flow = (q[to[sure]] - p[sure])[np.argsort(near, axis=1)[:, :12]].mean(axis=1)
    return flow


def step_of(movie: Movie, frame: int, past: Reals) -> Step:
    """All that may become of the cells of a frame."""
    p, q = movie.places(frame), movie.places(frame + 1)
    areas = (movie.tables[k]["area_px"].astype(np.float64) for k in (frame, frame + 1))
    before, after = (np.log(np.maximum(a, SMALLEST_PX) / np.median(a[a > 0])) for a in areas)
    expected = p + flow_of(p, q)
    far, between, apart = distances(expected, q), distances(expected, expected), distances(q, q)
    best, second = np.sort(far, axis=0)[:2]
    rival = np.where(far == best, second, best)  # how near the next other cell is
    crowd = (far < ROUND_PX).sum(axis=1) - (between < ROUND_PX).sum(axis=1)
    own = np.c_[
        before, crowd, np.sort(between, axis=1)[:, 1], past[:, [0, 1, 4]], np.sort(far)[:, :3]
    ]
    truth: dict[int, list[int]] = {}
    for (k, cell), (_, row) in movie.truth:
        if k == frame:
            truth.setdefault(cell, []).append(row)
    rows: tuple[list[list[int]], list[list[int]]] = ([], [])
    features: tuple[list[list[float]], list[list[float]]] = ([], [])
    for i, move in enumerate(past[:, 2:4]):
        near = [j for j in np.argsort(far[i])[:NEAREST].tolist() if far[i, j] < REACH_PX]
        for rank, j in enumerate(near):
            onward = (q[j] - expected[i]) @ move / (np.hypot(*move) + 2)
            gap = np.partition(apart[j], 1)[1]
            more = [far[i, j], rank, after[j], after[j] - before[i], rival[i, j], gap, onward]
            rows[0].append([i, j])
            features[0].append([*own[i], *more])
        for j, k in combinations(near, 2):
            off = np.hypot(*((q[j] + q[k]) / 2 - expected[i]))
            if off > MIDDLE_PX or apart[j, k] > APART_PX:
                continue
            whole = np.logaddexp(after[j], after[k]) - before[i]
            next_to = np.partition(np.hypot(*(expected - (q[j] + q[k]) / 2).T), 1)[1]
            more = [off, apart[j, k], whole, abs(after[j] - after[k]), far[i, j], far[i, k]]
            more += [*sorted((rival[i, j], rival[i, k])), next_to, min(after[j], after[k])]
            rows[1].append([i, j, k])
            features[1].append([*own[i], *more])
    ways = []
    for some, what in zip(rows, features, strict=True):
        right = [sorted(truth.get(one[0], [])) == sorted(one[1:]) for one in some]
        ways.append(Ways(np.array(some), np.array(what), np.array(right)))
    return Step(len(p), len(q), (ways[0], ways[1]))


def without(links: Links, frames: Collection[int]) -> Links:
    """Links that do not begin in one of these frames."""
    return frozenset(one for one in links if one[0][0] not in frames)


def main() -> None:
    """Print ours, the models and the bars; then without the worst frames; then frame by frame."""
    if not EPIDERMIS.is_file():
        raise SystemExit(f"needs {EPIDERMIS}")
    movie = epidermis()
    steps = [step_of(movie, frame, past) for frame, past in enumerate(pasts(movie)[:-1])]
    odds = judged(steps, int(sys.argv[1]) if len(sys.argv) > 1 else FOLDS)
    told = [ours(movie), links_of(steps, odds, NEVER), links_of(steps, odds, DEAR)]
    head = ("ours, causal", "ceiling", "with newcomers", "asked for")
    sys.stdout.write(f"{'link F1, division-link F1':28s}" + "".join(f"{h:>18s}" for h in head))

    def show(what: str, left_out: Collection[int]) -> None:
        true = without(movie.truth, left_out)
        kept = [without(links, left_out) for links in told]
        pairs = [*((link_f1(x, true), division_link_f1(x, true)) for x in kept), BARS]
        sys.stdout.write(f"\n{what:28s}" + "".join(f"{a:11.4f}{b:7.4f}" for a, b in pairs))

    show("all frames", ())
    show("without frame 8", (8,))
    show("without frames 0 and 8", (0, 8))
    for frame, step in enumerate(steps):
        show(f"frame {frame}, {step.cells} to {step.objects}", set(range(len(steps))) - {frame})
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
