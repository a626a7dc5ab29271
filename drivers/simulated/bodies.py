"""Shapes into pixels: a table of bodies is drawn by painters, with no convolution.

A body is an ellipse with a waved outline. For each pixel near it, one pass gives the signed depth
below its outline; painters turn depth into light. A blurred edge is then a logistic function of the
depth over the blur, and a blurred inside a blurred texture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.texture import BLURS, SIDE

F32 = NDArray[np.float32]
Int = NDArray[np.intp]
_CHUNK_PX = 15_000  # pixels that are worked on at once: the arrays of one pass stay in the cache


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """n bodies in pixel coordinates of one image; each field is an array along n.

    The outline of a body is its unit circle, waved by ``waves``, stretched to half axes ``radius *
    sqrt(aspect)`` and ``radius / sqrt(aspect)``, and turned by ``angle``.
    """

    ids: NDArray[np.int32]
    y: F32
    """Centre, px; whole numbers are centres of pixels."""
    x: F32
    radius: F32
    """Geometric mean of the half axes, px."""
    aspect: F32
    """Long over short axis."""
    angle: F32
    """Of the long axis from +x towards +y, rad."""
    waves: F32
    """(n, 6) relative amplitude of cos and sin of 2, 3 and 4 waves round the outline."""
    light: F32
    """Brightness of the inside, in the unit of the image drawn into."""
    blur: F32
    """Standard deviation of the point spread, px."""
    grain: F32
    """Contrast of the texture; 1 is that of the table."""
    texels: F32
    """Texels a pixel."""
    origin: F32
    """(n, 2) texel (v, u) under the centre."""
    kind: NDArray[np.int32]
    """Which texture."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, pick: Int | NDArray[np.bool_] | slice) -> Self:
        return replace(self, **{f.name: getattr(self, f.name)[pick] for f in fields(self)})

    def reach(self) -> F32:
        """How far from its centre each body gives light, px."""
        bulge = 1 + np.abs(self.waves).sum(axis=1)
        reach: F32 = self.radius * np.sqrt(self.aspect) * bulge + 3.2 * self.blur + 1
        return reach

    def near(self, shape: tuple[int, int]) -> Self:
        """Those that reach into an image of ``shape``."""
        far = self.reach()
        inside = (self.y > -far) & (self.y < shape[0] - 1 + far)
        return self[inside & (self.x > -far) & (self.x < shape[1] - 1 + far)]


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Square surroundings of some bodies: arrays are (n, side, side)."""

    bodies: Bodies
    top: Int
    """(n,) row and column of the first pixel; may lie outside the image."""
    left: Int
    rho: F32
    """Distance from the centre relative to the outline: below 1 is inside."""
    u: F32
    """Pixel position along and across the long axis, px."""
    v: F32

    def depth(self) -> F32:
        """Below the outline, px; negative outside."""
        depth: F32 = (1 - self.rho) * self.bodies.radius[:, None, None]
        return depth

    def texture(self, table: F32) -> F32:
        """Texture under each pixel, in the stage that suits the body's blur and the pixel size."""
        bodies = self.bodies
        texels = bodies.texels[:, None, None]
        iv = (self.v * texels + bodies.origin[:, 0, None, None]).astype(np.int32) & (SIDE - 1)
        iu = (self.u * texels + bodies.origin[:, 1, None, None]).astype(np.int32) & (SIDE - 1)
        # Half a pixel's width of blur keeps coarse pixels from picking single texels.
        blur = np.hypot(bodies.blur, 0.5) * bodies.texels
        stage = np.abs(blur[:, None] - np.asarray(BLURS, np.float32)).argmin(axis=1)
        plane = (bodies.kind * len(BLURS) + stage).astype(np.int32)[:, None, None]
        picked: F32 = table.reshape(-1).take((plane * SIDE + iv) * SIDE + iu)
        return picked

    def windows(self, shape: tuple[int, int]) -> Iterator[tuple[int, tuple[slice, slice], Cut]]:
        """For each body its index, its window in the image, and the part of its patch there."""
        side = self.rho.shape[1]
        for i, (top, left) in enumerate(zip(self.top.tolist(), self.left.tolist(), strict=True)):
            y0, y1 = max(top, 0), min(top + side, shape[0])
            x0, x1 = max(left, 0), min(left + side, shape[1])
            if y0 < y1 and x0 < x1:
                cut = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
                yield i, (slice(y0, y1), slice(x0, x1)), cut


Cut = tuple[slice, slice]


def patches(bodies: Bodies) -> Iterator[Patches]:
    """Surroundings of all bodies, a few of alike size at a time."""
    reach = bodies.reach()
    order = np.argsort(reach, kind="stable")
    start = 0
    while start < len(order):
        # The largest of the chunk rules; the next guess at it errs by little.
        guess = int(np.ceil(reach[order[start]])) * 2 + 1
        stop = min(start + max(1, _CHUNK_PX // guess**2), len(order))
        half = int(np.ceil(reach[order[stop - 1]]))
        yield _surroundings(bodies[order[start:stop]], half)
        start = stop


def draw_light(image: F32, bodies: Bodies, table: F32) -> None:
    """Add fluorescent bodies to an image, in place.

    Parameters
    ----------
    image
        (y, x) float32.
    bodies
        What to draw; what lies outside the image is left out.
    table
        From `drivers.simulated.texture.textures`.
    """
    for part in patches(bodies.near((image.shape[0], image.shape[1]))):
        these = part.bodies
        light = edge(part)
        # Flat cells are a little thinner towards their rim.
        inner = np.minimum(part.rho, 1.0)
        inner *= inner
        inner *= -0.25
        inner += 1.0
        inner += these.grain[:, None, None] * part.texture(table)
        np.maximum(inner, 0.05, out=inner)
        light *= inner
        # Blur spreads the light over a wider area; what a body sends out stays the same.
        spread = 1 + 1.5 * (these.blur / these.radius) ** 2
        light *= (these.light / spread)[:, None, None]
        for i, window, cut in part.windows((image.shape[0], image.shape[1])):
            image[window] += light[i][cut]


def edge(part: Patches) -> F32:
    """Blurred inside of the outlines: near 1 inside, 1/2 on the outline, near 0 outside."""
    # A logistic curve with factor 1.702 is the normal distribution's to within 0.01.
    slope = (-1.702 / np.maximum(part.bodies.blur, 0.3))[:, None, None]
    soft = part.depth()
    soft *= slope
    np.clip(soft, -30, 30, out=soft)
    np.exp(soft, out=soft)
    soft += 1
    np.reciprocal(soft, out=soft)
    return soft


def draw_labels(shape: tuple[int, int], bodies: Bodies) -> NDArray[np.int32]:
    """(y, x) int32 label image: the id of the body, 0 outside; where two overlap, the deeper."""
    labels = np.zeros(shape, np.int32)
    closest = np.ones(shape, np.float32)
    for part in patches(bodies.near(shape)):
        for i, window, cut in part.windows(shape):
            rho = part.rho[i][cut]
            here = rho < closest[window]
            closest[window][here] = rho[here]
            labels[window][here] = part.bodies.ids[i]
    return labels


def _surroundings(bodies: Bodies, half: int) -> Patches:
    row, column = np.rint(bodies.y), np.rint(bodies.x)
    grid = np.arange(-half, half + 1, dtype=np.float32)
    dy = grid[None, :, None] + (row - bodies.y)[:, None, None]
    dx = grid[None, None, :] + (column - bodies.x)[:, None, None]
    cos, sin = np.cos(bodies.angle)[:, None, None], np.sin(bodies.angle)[:, None, None]
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    root = np.sqrt(bodies.aspect)
    c = u * (1 / (bodies.radius * root))[:, None, None]
    s = v * (root / bodies.radius)[:, None, None]
    rho = np.sqrt(c * c + s * s)
    rho += 1e-6
    # The outline's waves by the angle sums: no arc tangent for each pixel.
    c /= rho
    s /= rho
    wave = np.moveaxis(bodies.waves, 1, 0)[:, :, None, None]
    c2, s2 = c * c - s * s, 2 * c * s
    outline = 1 + wave[0] * c2 + wave[1] * s2
    outline += wave[2] * (c2 * c - s2 * s)
    outline += wave[3] * (s2 * c + c2 * s)
    outline += wave[4] * (c2 * c2 - s2 * s2)
    outline += wave[5] * (2 * c2 * s2)
    rho /= outline
    top, left = row.astype(np.intp) - half, column.astype(np.intp) - half
    return Patches(bodies, top, left, rho.astype(np.float32, copy=False), u, v)
