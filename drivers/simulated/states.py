"""Pictures of nuclei that divide and die, with the truth of how each one is.

A usual nucleus is an even disc with grain. Dividing ones are condensed: rounded and clumpy, a
plate, a ring (a plate seen from its pole), or two plates side by side. Dead ones are shrunken
smooth balls, heaps of fragments, faint swollen ghosts, or debris. Brightness and size of all
overlap, so that neither alone tells the state.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.bodies import Bodies, draw_labels, draw_light
from drivers.simulated.fields import (
    cell_bodies,
    make_bodies,
    random_places,
    renumbered,
    uneven_background,
)
from drivers.simulated.sensor import Sensor
from drivers.simulated.texture import CHROMATIN, CLUMPED, CYTOPLASM, textures

STATES = ("interphase", "mitotic", "dead")
PHOTONS = (5.0, 1000.0)
"""Range of the light of a usual nucleus, photons a pixel above the background."""
DIAMETERS_PX = (12.0, 48.0)

Range = tuple[float, float]
Reals = NDArray[np.float64]


class _Look(NamedTuple):
    """How nuclei of one kind are drawn; ranges are relative to a usual nucleus of the picture."""

    state: str
    share: float
    """Of the nuclei in this state."""
    size: Range
    light: Range
    aspect: Range
    waves: Range
    """Roughness of the outline."""
    grain: Range
    kind: int
    blur: Range = (1.0, 1.0)
    form: str = "one"
    """``one`` body, a ``ring``, a ``pair`` of two that are each their own, or a ``heap``."""


_LOOKS = (
    _Look("interphase", 0.80, (0.85, 1.15), (0.8, 1.25), (1.0, 1.5), (0.01, 0.05), (0.6, 1.2), -1),
    _Look("interphase", 0.14, (0.75, 1.1), (0.7, 1.4), (1.5, 2.4), (0.02, 0.09), (0.6, 1.2), -1),
    _Look(
        "interphase", 0.06, (0.9, 1.15), (0.6, 1.0), (1.0, 1.5), (0.01, 0.05), (0.5, 1.0), -1,
        (1.5, 2.5),
    ),
    _Look(
        "mitotic", 0.20, (0.72, 0.98), (1.7, 3.0), (1.0, 1.25), (0.03, 0.08), (0.5, 1.0),
        CLUMPED,
    ),
    _Look(
        "mitotic", 0.15, (0.74, 0.98), (1.7, 2.8), (1.0, 1.15), (0.0, 0.02), (0.3, 0.7),
        CHROMATIN,
    ),
    _Look(
        "mitotic", 0.30, (0.55, 0.85), (1.8, 3.5), (1.8, 3.2), (0.01, 0.05), (0.1, 0.5),
        CHROMATIN,
    ),
    _Look(
        "mitotic", 0.10, (0.72, 0.9), (1.8, 3.0), (1.0, 1.25), (0.02, 0.05), (0.2, 0.6), CLUMPED,
        form="ring",
    ),
    _Look(
        "mitotic", 0.15, (0.48, 0.68), (1.6, 3.0), (1.5, 2.6), (0.01, 0.05), (0.1, 0.5), CHROMATIN,
        form="pair",
    ),
    _Look(
        "mitotic", 0.10, (0.66, 0.82), (1.5, 2.3), (1.3, 1.7), (0.01, 0.05), (0.3, 0.7), CHROMATIN,
        form="pair",
    ),
    _Look("dead", 0.40, (0.32, 0.58), (1.8, 6.0), (1.0, 1.2), (0.0, 0.02), (0.0, 0.15), CHROMATIN),
    _Look(
        "dead", 0.25, (0.6, 0.95), (1.5, 5.0), (1.0, 1.3), (0.0, 0.03), (0.0, 0.15), CHROMATIN,
        form="heap",
    ),
    _Look("dead", 0.20, (0.14, 0.34), (0.3, 3.0), (1.0, 2.4), (0.05, 0.15), (0.0, 0.4), CLUMPED),
    _Look(
        "dead", 0.15, (0.9, 1.5), (0.12, 0.35), (1.0, 1.4), (0.02, 0.08), (0.0, 0.2), CYTOPLASM,
        (1.2, 2.2),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class StateField:
    """One picture and all that is true of it."""

    image: NDArray[np.uint16]
    """(y, x) camera counts."""
    labels: NDArray[np.int32]
    """(y, x), 0 is background; from 1 without a gap."""
    states: tuple[str, ...]
    """One of ``STATES`` for each label in order."""
    seen: NDArray[np.float64]
    """(n,) part of each nucleus that the picture shows, 0 to 1, about; the border cuts some."""
    photons: float
    """Of a usual nucleus, per pixel above the background."""


def render_state_field(
    seed: int,
    shape: tuple[int, int] = (256, 256),
    *,
    diameter_px: float | None = None,
    photons: float | None = None,
) -> StateField:
    """One picture of living, dividing and dead nuclei; the same arguments give the same pixels.

    Parameters
    ----------
    seed
        Of everything that is random.
    shape
        (height, width), px.
    diameter_px
        Of a usual nucleus; None draws one from ``DIAMETERS_PX``.
    photons
        Of a usual nucleus, per pixel; None draws from ``PHOTONS``, each power of ten alike.
    """
    rng = np.random.default_rng([seed, 0x57A7E])
    drawn_px, drawn_photons = _between(rng, DIAMETERS_PX), _between(rng, PHOTONS)
    radius = (diameter_px or drawn_px) / 2
    peak = photons or drawn_photons
    bodies, look, marked = _nuclei(rng, shape, radius)
    table = textures()
    light = np.zeros(shape, np.float32)
    if rng.random() < 0.3:
        living = np.array([one.state == "interphase" for one in _LOOKS])[look]
        draw_light(light, cell_bodies(rng, bodies[living & marked]), table)
    draw_light(light, bodies, table)
    np.maximum(light, 0, out=light)
    light += uneven_background(rng, shape, light)
    gain = float(rng.choice([0.5, 2.0, 8.0])) if peak < 500 else 1.0
    sensor = Sensor(shape, seed, offset=rng.uniform(0, 300), read_noise_e=1.4, gain=gain)
    image = sensor.expose(light * np.float32(peak), rng)
    labels, states, seen = _truth(shape, bodies[marked], look[marked])
    return StateField(image, labels, states, seen, peak)


def write_state_fields(
    out: Path, count: int, seed: int, size_px: int = 256, photons: float | None = None
) -> None:
    """Write pictures, labels, and tables of ``label,class,photons,seen`` into ``out``."""
    import tifffile

    out.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        field = render_state_field(seed + i, (size_px, size_px), photons=photons)
        tifffile.imwrite(out / f"{i:04d}_img.tif", field.image)
        labels = field.labels.astype(np.uint16)
        tifffile.imwrite(out / f"{i:04d}_lab.tif", labels, compression="zlib")
        with (out / f"{i:04d}_cells.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("label", "class", "photons", "seen"))
            for label, (state, seen) in enumerate(zip(field.states, field.seen, strict=True), 1):
                rows.writerow((label, state, f"{field.photons:.4g}", f"{seen:.2f}"))


def _between(rng: np.random.Generator, limits: Range) -> float:
    return float(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]))))


def _nuclei(
    rng: np.random.Generator, shape: tuple[int, int], radius: float
) -> tuple[Bodies, NDArray[np.intp], NDArray[np.bool_]]:
    """Bodies, the look of each, and whether it bears a label (holes do not)."""
    at = _spread(rng, shape, radius)
    n = len(at)
    look = _looks_for(rng, n)
    share = np.array([[*one.size, *one.light, *one.aspect, *one.waves, *one.grain, *one.blur]
                      for one in _LOOKS])[look]  # fmt: skip
    size, light, aspect, rough, grain, blur = (
        rng.uniform(share[:, 2 * k], share[:, 2 * k + 1]) for k in range(6)
    )
    size *= radius * np.exp(rng.normal(0, rng.uniform(0.03, 0.12), n))
    light *= np.exp(rng.normal(0, rng.uniform(0.05, 0.22), n))
    blur *= rng.uniform(0.5, 1.0 + 0.04 * radius)
    waves = rng.normal(0, 1, (n, 6)) * rough[:, None] * [1, 1, 0.8, 0.8, 0.5, 0.5]
    usual = CLUMPED if rng.random() < 0.35 else CHROMATIN
    kind = np.array([one.kind for one in _LOOKS])[look]
    kind[kind < 0] = usual
    angle = rng.uniform(0, np.pi, n)
    texels = (30 / radius) * rng.uniform(0.8, 1.3)
    ids = np.arange(1, n + 1)
    columns = [at[:, 0], at[:, 1], size, aspect, angle, light, blur, grain, kind, look, ids]
    rows = np.c_[np.stack(columns, axis=1), np.ones(n), waves]
    rows = np.concatenate([_parts(rng, row) for row in rows]) if n else rows
    rows[:, 10] += np.where(rows[:, 11] == 2, n, 0)  # the second of a pair is its own nucleus
    bodies = make_bodies(
        rng, rows[:, :3], rows[:, 3], rows[:, 12:], rows[:, 5], rows[:, 6], rows[:, 7],
        texels=texels, kind=0, angle=rows[:, 4],
    )  # fmt: skip
    bodies.kind[:] = rows[:, 8]
    bodies.ids[:] = rows[:, 10]
    return bodies, rows[:, 9].astype(np.intp), rows[:, 11] > 0


def _looks_for(rng: np.random.Generator, n: int) -> NDArray[np.intp]:
    mitotic, dead = rng.choice([0.0, 0.05, 0.15, 0.3], 2)
    of_state = dict(zip(STATES, (1 - mitotic - dead, mitotic, dead), strict=True))
    share = np.array([one.share * of_state[one.state] for one in _LOOKS])
    return rng.choice(len(_LOOKS), n, p=share / share.sum())


def _parts(rng: np.random.Generator, row: Reals) -> Reals:
    """The bodies that one nucleus is made of; the mark is 0 for a hole, 2 for a second nucleus."""
    form = _LOOKS[int(row[9])].form
    if form == "one":
        return row[None]
    y, x, size, angle = row[0], row[1], row[2], row[4]
    if form == "ring":
        hole = row.copy()
        hole[2], hole[5], hole[11] = size * rng.uniform(0.35, 0.55), -0.75 * row[5], 0
        return np.stack([row, hole])
    if form == "pair":
        two = np.stack([row, row])
        across = size * rng.uniform(0.75, 1.5)
        step = np.array([np.cos(angle), -np.sin(angle)]) * across
        two[0, :2] += step
        two[1, :2] -= step
        two[1, 11] = 2
        two[:, 4] += rng.normal(0, 0.12, 2)
        return two
    heap = np.tile(row, (int(rng.integers(3, 8)), 1))
    k = len(heap)
    heap[:, 2] = size * rng.uniform(0.2, 0.5, k)
    way, far = rng.uniform(0, 2 * np.pi, k), size * np.sqrt(rng.uniform(0, 0.7, k))
    heap[:, 0], heap[:, 1] = y + far * np.sin(way), x + far * np.cos(way)
    heap[:, 5] *= rng.uniform(0.5, 1.2, k)
    return heap


def _spread(rng: np.random.Generator, shape: tuple[int, int], radius: float) -> Reals:
    """(n, 2) places of nuclei, crowded in clumps or not."""
    room = (shape[0] + 2 * radius) * (shape[1] + 2 * radius) / (np.pi * radius**2)
    wanted = int(np.clip(room * rng.uniform(0.04, 0.5), 1, 900))
    clumps = random_places(rng, shape, radius, max(1, wanted // 12))
    scatter = rng.choice([0.0, 0.4, 0.8])
    nearest = 2 * radius * rng.uniform(0.95, 1.2)
    at: list[Reals] = []
    for _ in range(wanted * 4):
        if len(at) >= wanted:
            break
        if rng.random() < scatter:
            place = clumps[rng.integers(len(clumps))] + rng.normal(0, 4 * radius, 2)
        else:
            place = random_places(rng, shape, radius, 1)[0].astype(np.float64)
        if not at or (np.hypot(*(np.stack(at) - place).T) > nearest).all():
            at.append(np.asarray(place, np.float64))
    return np.stack(at)


def _truth(
    shape: tuple[int, int], bodies: Bodies, look: NDArray[np.intp]
) -> tuple[NDArray[np.int32], tuple[str, ...], Reals]:
    raw = draw_labels(shape, bodies)
    top = int(bodies.ids.max(initial=0)) + 1
    state_of = np.zeros(top, np.intp)
    state_of[bodies.ids] = np.array([STATES.index(one.state) for one in _LOOKS])[look]
    whole = np.bincount(bodies.ids, np.pi * bodies.radius.astype(np.float64) ** 2, minlength=top)
    area = np.bincount(raw.ravel(), minlength=top)
    cut = np.zeros(top, bool)
    for edge in (raw[0], raw[-1], raw[:, 0], raw[:, -1]):
        cut[edge] = True
    # the balls of a heap overlap, so its whole is taken as larger than it is
    seen = np.where(cut, np.minimum(area / np.maximum(whole, 1), 1), 1.0)
    labels = renumbered(raw)
    first = np.zeros(int(labels.max(initial=0)) + 1, np.intp)
    first[labels.ravel()] = raw.ravel()
    return labels, tuple(STATES[state] for state in state_of[first[1:]]), seen[first[1:]]
