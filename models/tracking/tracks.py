"""The tracks as the linker sees them, in the pixels of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.tracking.bodies import Bodies, Ints, Reals
from models.tracking.costs import Habits
from models.tracking.fates import Fates


@dataclass(frozen=True, slots=True)
class Tracked:
    """Tracks (m,) and where and how they are expected."""

    expected: Bodies
    probes: NDArray[np.float32]
    """Offsets (m, PROBES, 2) of points inside each track, pixels; ``AWAY``: none."""
    probe_count: Reals
    """(m,) how many of them there are."""
    missed: NDArray[np.int32]
    """(m,) frames since in which it was in view and not found."""
    steps: Reals
    """(m,) usual intervals since it was found."""
    fates: Fates

    def again(self, habits: Habits) -> Reals:
        """Price (m,) of coming back: a track not found before has ended or was overlooked."""
        return np.asarray(self.missed * np.log1p(habits.ends / habits.misses))

    def of(self, rows: Ints) -> Tracked:
        """Some of them, a copy."""
        return Tracked(
            self.expected.take(rows),
            self.probes[rows],
            self.probe_count[rows],
            self.missed[rows],
            self.steps[rows],
            self.fates.of(rows),
        )
