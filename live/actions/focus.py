"""Software autofocus: a sweep, a finer sweep round its best plane, a parabola through its top.

Sharpness is Brenner's (Brenner et al., J. Histochem. Cytochem. 24, 1976): the variance of
differences between pixels a few apart, here four and of a smoothed image, both ways. So it rises
from far away, where a Laplacian sees noise alone, and noise hardly moves its top.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import useq
from numpy.typing import NDArray

from drivers import Frame
from live.plan.blocks import ActionFailed, Effect, Home, Script, Shift, move

FINER = 4
"""The second sweep has steps of this part of the first's."""
LAG_PX = 4
CONTRAST_NEEDED = 1.05
"""The best plane is at least so much sharper than the median one, or there is nothing to see."""


def sharpness(pixels: NDArray[np.generic]) -> float:
    """How sharp a (y, x) image is; compares images of one scene only."""
    smooth = _smoothed(_smoothed(pixels.astype(np.float32)))
    down, across = smooth[LAG_PX:] - smooth[:-LAG_PX], smooth[:, LAG_PX:] - smooth[:, :-LAG_PX]
    return float(down.var() + across.var()) / max(float(smooth.mean()), 1e-6)


def _smoothed(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of 3 x 3 pixels; two rows and columns fewer."""
    rows = image[:-2] + image[1:-1] + image[2:]
    mean: NDArray[np.float32] = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / np.float32(9)
    return mean


def autofocus(event: useq.MDAEvent, range_um: float, step_um: float, position: str) -> Script:
    """Script that finds the focus and lets the plan go on there.

    Parameters
    ----------
    event
        How to image; its focus is the middle of the sweep.
    range_um, step_um
        Of the first sweep.
    position
        Of the plan whose focus is shifted.
    """

    def script(here: Home) -> Generator[useq.MDAEvent, Frame | None, Effect | None]:
        middle = here.z_um
        reach = np.arange(int(range_um / step_um + 1e-9) + 1) * step_um
        planes = middle - reach[-1] / 2 + reach
        scores = yield from _sweep(event, planes)
        if max(scores) < CONTRAST_NEEDED * float(np.median(scores)):
            raise ActionFailed("autofocus: no plane is sharper than the others")
        best = int(np.argmax(scores))
        if best in (0, len(planes) - 1):
            raise ActionFailed(
                f"autofocus: the sharpest plane, z = {planes[best]:g} µm, is the last of the "
                "sweep; make range_um larger"
            )
        finer = step_um / FINER
        near = planes[best] + np.arange(-FINER + 1, FINER) * finer
        scores = yield from _sweep(event, near)
        focus = _top(near, scores)
        yield move(z_pos=focus)
        return Shift(position, z_um=focus - middle)

    return script


def _sweep(
    event: useq.MDAEvent, planes: Sequence[float] | NDArray[np.float64]
) -> Generator[useq.MDAEvent, Frame | None, list[float]]:
    scores = []
    for z_um in planes:
        frame = yield event.model_copy(update={"z_pos": float(z_um)})
        assert frame is not None
        scores.append(sharpness(frame.pixels))
    return scores


def _top(planes: NDArray[np.float64], scores: Sequence[float]) -> float:
    """Vertex of the parabola through the highest point and its neighbours."""
    best = int(np.argmax(scores))
    if best in (0, len(planes) - 1):
        return float(planes[best])
    below, top, above = scores[best - 1 : best + 2]
    bend = below - 2 * top + above
    offset = 0.5 * (below - above) / bend if bend < 0 else 0.0
    return float(planes[best] + offset * (planes[1] - planes[0]))
