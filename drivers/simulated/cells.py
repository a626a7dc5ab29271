"""What the optics need to know about cells, and how a nucleus looks through its cycle. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CONDENSED_FROM = 0.92
"""Share of the cycle after which the nucleus rounds up and brightens."""
PLATE_FROM = 0.97
"""Share of the cycle after which the chromosomes stand in a plate."""
YOUNG_UNTIL = 0.06
"""Share of the cycle in which a daughter grows back from condensed."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Nuclei at one moment; each array has one entry a nucleus."""

    ids: NDArray[np.int32]
    """From 1; never used again."""
    x_um: Floats
    """Position in the sample."""
    y_um: Floats
    z_um: Floats
    """Above the plane that is in focus at z = 0."""
    angle: Floats
    """Of the long axis against +x, radians."""
    radius_um: Floats
    """Of the disc of the same area."""
    aspect: Floats
    """Long axis over short axis."""
    brightness: Floats
    """1 is an average nucleus."""
    condensed: Floats
    """0 in interphase, 1 with condensed chromosomes."""
    texture: NDArray[np.int32]
    """Number of its texture."""

    def __len__(self) -> int:
        return len(self.ids)

    def pick(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Cells:
        """Those nuclei alone."""
        return Cells(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Factors on a nucleus' own size and light at a point of its cycle."""

    radius: Floats
    aspect: Floats
    brightness: Floats
    condensed: Floats


def shape_in_cycle(age: Floats, own_aspect: Floats) -> Shape:
    """Size, form and light of nuclei.

    Parameters
    ----------
    age
        (n,) share of the cycle that has passed, 0 to 1.
    own_aspect
        (n,) aspect in interphase.

    Returns
    -------
    `Shape`; `radius` and `brightness` are factors, `aspect` is the aspect itself.
    """
    grown = 0.85 + 0.25 * np.minimum(age / CONDENSED_FROM, 1)
    young = 1 - _ramp(age, 0, YOUNG_UNTIL)
    rounded = _ramp(age, CONDENSED_FROM, 0.95)
    plate = _ramp(age, PLATE_FROM, 0.98)
    radius = grown * (1 - 0.15 * rounded) * (1 - 0.15 * plate)
    radius = radius * (1 - young) + 0.72 * young
    aspect = own_aspect + (1.05 - own_aspect) * rounded + 1.2 * plate
    aspect = aspect * (1 - young) + 1.6 * young
    brightness = 1 + 0.8 * rounded + 0.5 * plate + 0.6 * young
    condensed = np.maximum(rounded, young)
    return Shape(*(_float32(a) for a in (radius, aspect, brightness, condensed)))


def _ramp(value: Floats, start: float, end: float) -> Floats:
    """0 before ``start``, 1 after ``end``, smooth between."""
    share = np.clip((value - start) / (end - start), 0, 1)
    return _float32(share * share * (3 - 2 * share))


def _float32(values: NDArray[np.floating]) -> Floats:
    return values.astype(np.float32, copy=False)
