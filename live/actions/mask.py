"""What a spatial light modulator shows: a shape of the camera image, carried over by an affine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drivers.geometry import Affine


def slm_mask(
    shape: tuple[int, int],
    affine: Affine,
    *,
    centre_px: tuple[float, float],
    radius_px: float | None = None,
    rows: NDArray[np.void] | None = None,
) -> NDArray[np.uint8]:
    """Mask of a disc, or of the ellipses of objects.

    Parameters
    ----------
    shape
        (height, width) of the modulator.
    affine
        Two rows of three: camera (x, y, 1) to the modulator's (x, y), pixels.
    centre_px
        Of the disc, (y, x) camera pixels.
    radius_px
        Of the disc, camera pixels; None takes ``rows``.
    rows
        Of ``models.OBJECT_DTYPE``: ellipses with the objects' own axes.

    Returns
    -------
    (y, x) uint8, 255 where light goes; ``ValueError`` when nothing of it meets the modulator.
    """
    matrix = np.array(affine, dtype=np.float64).reshape(2, 3)
    turn = matrix[:, :2]
    if abs(np.linalg.det(turn)) < 1e-12:
        raise ValueError("the affine from camera to modulator cannot be inverted; calibrate anew")
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    there = np.stack([x.ravel() - matrix[0, 2], y.ravel() - matrix[1, 2]])
    camera_x, camera_y = (np.linalg.inv(turn) @ there).reshape(2, *shape)
    lit = np.zeros(shape, dtype=bool)
    if radius_px is not None:
        lit = np.hypot(camera_y - centre_px[0], camera_x - centre_px[1]) <= radius_px
    for row in () if radius_px is not None or rows is None else rows:
        dy, dx = camera_y - float(row["y_px"]), camera_x - float(row["x_px"])
        angle = float(row["orientation_rad"])
        along = dy * np.cos(angle) + dx * np.sin(angle)
        across = -dy * np.sin(angle) + dx * np.cos(angle)
        major = max(float(row["major_px"]) / 2, 1.0)
        minor = max(float(row["minor_px"]) / 2, 1.0)
        lit |= (along / major) ** 2 + (across / minor) ** 2 <= 1.0
    if not lit.any():
        raise ValueError("the shape lies outside what the modulator can light up")
    return lit.astype(np.uint8) * 255


def affine_from_points(
    camera_px: NDArray[np.floating], slm_px: NDArray[np.floating]
) -> tuple[Affine, float]:
    """Calibration: the affine that takes camera points to those of the modulator.

    Parameters
    ----------
    camera_px, slm_px
        (n, 2) points (x, y) that show the same spot, n at least 3 and not on one line.

    Returns
    -------
    affine, error
        Least squares, and the root mean square of what remains, modulator pixels.
    """
    camera = np.asarray(camera_px, dtype=np.float64).reshape(-1, 2)
    slm = np.asarray(slm_px, dtype=np.float64).reshape(-1, 2)
    if len(camera) != len(slm) or len(camera) < 3:
        raise ValueError(f"got {len(camera)} and {len(slm)} points, need 3 or more pairs")
    design = np.column_stack([camera, np.ones(len(camera))])
    found, _, rank, _ = np.linalg.lstsq(design, slm, rcond=None)
    if rank < 3:
        raise ValueError("the points lie on one line; spread them over the image")
    error = float(np.sqrt(np.mean(np.sum((design @ found - slm) ** 2, axis=1))))
    a, b, c, d, e, f = (float(value) for value in found.T.ravel())
    return (a, b, c, d, e, f), error
