"""Light from cells through the objective onto the camera: expected photons in each pixel. Pure."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.bodies import Bodies, draw_labels, draw_light, edge, patches
from drivers.simulated.cells import Cells, Floats
from drivers.simulated.texture import CHROMATIN, CYTOPLASM, SIDE, TEXEL_UM, textures

BASE_PIXEL_UM = 0.5
"""Camera pixel under the 20X objective; photons are given for it."""
BASE_EXPOSURE_MS = 20.0
BRIGHTFIELD = "Brightfield"

_RESOLUTION_UM = 0.28
_CONE = 0.35  # growth of the blur per µm out of focus, about that of NA 0.5
_FARTHEST_UM = 20.0
_VARIETY = 1024  # nuclei with different outlines and textures
_LAMP_PHOTONS = 500.0
_HAZE_SIDE_PX = 16

_NUCLEI = {"DAPI": 1.0, "": 1.0, "Cy5": 0.3}
_CYTOPLASM = {"FITC": 0.45, "Rhodamine": 0.3}


@dataclass(frozen=True, slots=True)
class View:
    """What the camera looks at, and how."""

    x_um: float
    """Middle of the image in the sample."""
    y_um: float
    z_um: float
    pixel_um: float
    """Side of an image pixel, binning included."""
    shape: tuple[int, int]
    """(height, width), image pixels."""
    channel: str
    exposure_ms: float
    binning: int = 1
    axis_px: tuple[float, float] = (0.0, 0.0)
    """(y, x) of the optical axis from the middle of the image; not 0 for a ROI off the middle."""
    sensor_px: float = 512.0
    """Longer side of the whole sensor, image pixels."""

    def photons(self) -> float:
        """Photons in an image pixel for each at 20X, 20 ms and no binning."""
        # A stronger objective spreads the light over more pixels, and its wider cone makes up for
        # half of that.
        magnified = self.pixel_um / self.binning / BASE_PIXEL_UM
        return magnified * self.binning**2 * self.exposure_ms / BASE_EXPOSURE_MS


def nuclei_in_view(cells: Cells, view: View) -> Bodies:
    """The nuclei that send light into the image, in its pixels; ``light`` is their brightness."""
    px = view.pixel_um
    waves, origins = _variety()
    kind = cells.texture % _VARIETY
    blur_um = _CONE * np.minimum(np.abs(cells.z_um - view.z_um), _FARTHEST_UM)
    n = len(cells)
    smoother = (1 - 0.8 * cells.condensed)[:, None]
    bodies = Bodies(
        ids=cells.ids,
        y=(cells.y_um - view.y_um) / px + (view.shape[0] - 1) / 2,
        x=(cells.x_um - view.x_um) / px + (view.shape[1] - 1) / 2,
        radius=cells.radius_um / px,
        aspect=cells.aspect,
        angle=cells.angle,
        waves=waves[kind] * smoother,
        light=cells.brightness,
        blur=np.hypot(blur_um, _RESOLUTION_UM) / px,
        grain=1.1 * (1 - 0.5 * cells.condensed),
        texels=np.full(n, px / TEXEL_UM, np.float32),
        origin=origins[kind],
        kind=np.full(n, CHROMATIN, np.int32),
    )
    # A cell body is wider than its nucleus, and so is the light that we must not cut off.
    far = 2.5 * bodies.reach()
    height, width = view.shape
    near = (bodies.y > -far) & (bodies.y < height + far)
    return bodies[near & (bodies.x > -far) & (bodies.x < width + far)]


def photons_in_view(
    nuclei: Bodies, view: View, *, peak_photons: float, background_photons: float
) -> Floats:
    """Expected photons of one exposure with the light on.

    Parameters
    ----------
    nuclei
        From `nuclei_in_view`, bleaching already in ``light``.
    peak_photons, background_photons
        In a pixel at 20X and 20 ms, of an average nucleus and of the medium.

    Returns
    -------
    (y, x) float32, the caller's.
    """
    image = np.zeros(view.shape, np.float32)
    if view.channel == BRIGHTFIELD:
        _draw_shadows(image, _bodies_of_cells(nuclei))
        _draw_shadows(image, nuclei, 0.5)
        image += 1
        np.maximum(image, 0.05, out=image)
        image *= _evenness(view.shape, view.axis_px, view.sensor_px)
        image *= np.float32(_LAMP_PHOTONS * view.photons())
        return image
    table = textures()
    if view.channel in _CYTOPLASM:
        draw_light(image, _bodies_of_cells(nuclei), table)
        holes = nuclei[:]
        holes.light[:] = -0.35 * _mean_light(nuclei)
        draw_light(image, holes, table)
        np.maximum(image, 0, out=image)
        share = _CYTOPLASM[view.channel]
    else:
        draw_light(image, nuclei, table)
        share = _NUCLEI.get(view.channel, 0.02)
    image *= np.float32(peak_photons * share)
    image += _haze(image)
    image += np.float32(background_photons)
    image *= _evenness(view.shape, view.axis_px, view.sensor_px)
    image *= np.float32(view.photons())
    return image


def label_image(cells: Cells, view: View) -> NDArray[np.int32]:
    """(y, x) int32 true outlines of the nuclei: their ids, 0 is background."""
    return draw_labels(view.shape, nuclei_in_view(cells, view))


def _bodies_of_cells(nuclei: Bodies) -> Bodies:
    waves, origins = _variety()
    kind = (nuclei.ids * 7) % _VARIETY
    # Cells round up when they divide, and nearly fill themselves with the nucleus.
    wide = 1.35 + 0.55 * np.clip(nuclei.grain / 1.1 * 2 - 1, 0, 1)
    return Bodies(
        ids=nuclei.ids,
        y=nuclei.y,
        x=nuclei.x,
        radius=nuclei.radius * wide,
        aspect=1 + 1.2 * (nuclei.aspect - 1),
        angle=nuclei.angle,
        waves=2.0 * waves[kind],
        light=nuclei.light,
        blur=np.hypot(nuclei.blur, 0.15 * nuclei.radius).astype(np.float32),
        grain=np.full(len(nuclei), 0.7, np.float32),
        texels=nuclei.texels,
        origin=origins[kind],
        kind=np.full(len(nuclei), CYTOPLASM, np.int32),
    )


def _mean_light(nuclei: Bodies) -> float:
    return float(nuclei.light.mean()) if len(nuclei) else 0.0


def _draw_shadows(image: Floats, bodies: Bodies, strength: float = 1.0) -> None:
    """Dark rim and bright middle, as a transparent thing shows a little out of focus."""
    for part in patches(bodies.near((image.shape[0], image.shape[1]))):
        inside = edge(part)
        rim = inside * (1 - inside)
        shade = strength * (0.22 * inside * inside - 1.3 * rim)
        for i, window, cut in part.windows((image.shape[0], image.shape[1])):
            image[window] += shade[i][cut]


def _haze(image: Floats) -> Floats:
    """A twentieth of the light, spread wide: what is above and below the plane in focus."""
    height, width = image.shape
    side = min(_HAZE_SIDE_PX, height, width)
    rows, columns = height // side, width // side
    coarse = image[: rows * side, : columns * side]
    coarse = coarse.reshape(rows, side, columns, side).mean(axis=(1, 3))
    for _ in range(3):
        wide = np.pad(coarse, 1, mode="edge")
        wide = wide[:-2] + 2 * wide[1:-1] + wide[2:]
        coarse = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 16
    # Not by matrix products: BLAS would start threads that fight with the inference's.
    low, share = _between(width, columns, side)
    coarse = coarse[:, low] * (1 - share) + coarse[:, np.minimum(low + 1, columns - 1)] * share
    low, share = _between(height, rows, side)
    haze: Floats = coarse[low]
    haze *= 0.06 * (1 - share[:, None])
    haze += coarse[np.minimum(low + 1, rows - 1)] * (0.06 * share[:, None])
    return haze


@functools.lru_cache(maxsize=8)
def _between(size: int, coarse: int, side: int) -> tuple[NDArray[np.intp], Floats]:
    """For each of ``size`` pixels the coarse pixel before it, and how far on the next one is."""
    at = np.clip((np.arange(size) - (side - 1) / 2) / side, 0, coarse - 1)
    low = at.astype(np.intp)
    return low, (at - low).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _evenness(shape: tuple[int, int], axis_px: tuple[float, float], sensor_px: float) -> Floats:
    """Illumination, 1 on the optical axis, a tenth less at the side of the sensor."""
    y = np.arange(shape[0]) - (shape[0] - 1) / 2 - axis_px[0]
    x = np.arange(shape[1]) - (shape[1] - 1) / 2 - axis_px[1]
    far = (y[:, None] ** 2 + x[None, :] ** 2) / (sensor_px / 2) ** 2
    even: Floats = (1 / (1 + 0.11 * far)).astype(np.float32)
    even.setflags(write=False)
    return even


@functools.lru_cache(maxsize=1)
def _variety() -> tuple[Floats, Floats]:
    """Outlines (n, 6) and texels under the centre (n, 2), one for each texture number."""
    rng = np.random.default_rng(0x7A)
    waves = rng.normal(0, 0.035, (_VARIETY, 6)) * [1, 1, 0.8, 0.8, 0.5, 0.5]
    origins = rng.uniform(0, SIDE, (_VARIETY, 2))
    return waves.astype(np.float32), origins.astype(np.float32)
