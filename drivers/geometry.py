"""From pixels to the stage: the one place where image points become positions in µm.

The centre of the image is the optical axis and lies at the stage position of the frame. Without
more knowledge of the camera's mounting, +x of the image is +x of the stage and +y is +y.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from drivers.frame import FrameMeta

Affine = tuple[float, float, float, float, float, float]


def px_to_um(
    meta: FrameMeta, shape: tuple[int, int], affine: Affine | None = None
) -> NDArray[np.float64] | None:
    """Matrix that takes an image point to the stage.

    Parameters
    ----------
    meta
        Of the frame that the point lies in.
    shape
        (height, width) of the frame, pixels.
    affine
        ``getPixelSizeAffine`` of a Micro-Manager core: two rows of three, row by row, camera pixels
        to stage µm, already corrected for binning and magnification. It brings turned and mirrored
        cameras in; its shift is not used. None, or the identity that an uncalibrated core gives,
        leaves ``meta.pixel_size_um``.

    Returns
    -------
    (2, 3) float64 ``m`` with ``(x_um, y_um) = m @ (x_px, y_px, 1)``, where whole numbers are
    centres of pixels; None when the pixel size is unknown.
    """
    if meta.pixel_size_um == 0:
        return None
    xx, xy, yx, yy = meta.pixel_size_um, 0.0, 0.0, meta.pixel_size_um
    if affine is not None and affine != (1.0, 0.0, 0.0, 0.0, 1.0, 0.0):
        xx, xy, _, yx, yy, _ = affine
    middle_y, middle_x = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    # plain numbers: for so few, arrays cost ten times as much, with every frame
    shift_x = meta.x_um - (xx * middle_x + xy * middle_y)
    shift_y = meta.y_um - (yx * middle_x + yy * middle_y)
    return np.array([[xx, xy, shift_x], [yx, yy, shift_y]])


def to_stage(points: NDArray[np.floating], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stage positions of image points.

    Parameters
    ----------
    points
        (n, 2) image points (y, x), pixels.
    matrix
        From `px_to_um`.

    Returns
    -------
    (n, 2) stage positions (x, y), µm.
    """
    flipped = np.asarray(points, dtype=np.float64).reshape(-1, 2)[:, ::-1]
    moved: NDArray[np.float64] = flipped @ matrix[:, :2].T + matrix[:, 2]
    return moved
