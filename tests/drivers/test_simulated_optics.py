"""Light of the sample: right place, right amount, right blur, in every channel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from drivers.simulated.cells import Cells
from drivers.simulated.optics import BRIGHTFIELD, View, label_image, nuclei_in_view, photons_in_view

VIEW = View(0.0, 0.0, 0.0, 0.5, (201, 301), "DAPI", 20.0, sensor_px=301.0)


def cell(x_um: float = 0.0, y_um: float = 0.0, number: int = 7) -> Cells:
    def one(value: float) -> np.ndarray:
        return np.array([value], np.float32)

    return Cells(
        ids=np.array([number], np.int32),
        x_um=one(x_um),
        y_um=one(y_um),
        z_um=one(0),
        angle=one(0.3),
        radius_um=one(6.5),
        aspect=one(1.2),
        brightness=one(1),
        condensed=one(0),
        texture=np.array([5], np.int32),
    )


def photons(cells: Cells, view: View, background: float = 0.0) -> np.ndarray:
    nuclei = nuclei_in_view(cells, view)
    return photons_in_view(nuclei, view, peak_photons=100, background_photons=background)


def centre(image: np.ndarray) -> tuple[float, float]:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return float((y * image).sum() / image.sum()), float((x * image).sum() / image.sum())


@pytest.mark.parametrize("pixel_um", [0.25, 0.5, 1.0])
def test_a_nucleus_is_where_the_stage_says(pixel_um: float) -> None:
    view = replace(VIEW, x_um=10.0, y_um=-4.0, pixel_um=pixel_um)
    labels = label_image(cell(17.0, 3.0), view)
    assert set(np.unique(labels)) == {0, 7}
    y, x = centre((labels > 0).astype(float))
    assert x == pytest.approx(150 + 7 / pixel_um, abs=1.5)
    assert y == pytest.approx(100 + 7 / pixel_um, abs=1.5)
    assert (labels > 0).sum() == pytest.approx(np.pi * 6.5**2 / pixel_um**2, rel=0.15)


def test_light_lies_inside_the_outline() -> None:
    image, labels = photons(cell(), VIEW), label_image(cell(), VIEW)
    inside = image[labels > 0]
    assert 70 < inside.mean() < 110
    assert image[labels > 0].sum() > 0.7 * image.sum()
    assert image[:20, :20].max() < 3


def test_what_is_far_away_gives_no_light_and_no_label() -> None:
    assert photons(cell(500, 0), VIEW, background=6).std() < 0.5
    assert not label_image(cell(500, 0), VIEW).any()


@pytest.mark.parametrize("channel", ["DAPI", "FITC", "Rhodamine", "Cy5"])
def test_defocus_spreads_the_light_and_loses_none(channel: str) -> None:
    sharp = photons(cell(), replace(VIEW, channel=channel))
    for z_um, dimmer in ((4.0, 0.95), (-4.0, 0.95), (10.0, 0.75)):
        blurred = photons(cell(), replace(VIEW, channel=channel, z_um=z_um))
        assert blurred.max() < dimmer * sharp.max()
        assert blurred.sum() == pytest.approx(sharp.sum(), rel=0.35)


def test_exposure_binning_and_objective() -> None:
    base = photons(cell(), VIEW).max()
    assert photons(cell(), replace(VIEW, exposure_ms=5.0)).max() == pytest.approx(base / 4, 0.01)
    binned = replace(VIEW, pixel_um=1.0, binning=2, shape=(100, 150), sensor_px=150.0)
    assert photons(cell(), binned).max() == pytest.approx(4 * base, 0.2)
    strong = replace(VIEW, pixel_um=0.25)
    assert photons(cell(), strong).max() == pytest.approx(base / 2, 0.2)


def test_cytoplasm_lies_round_a_darker_nucleus() -> None:
    image = photons(cell(), replace(VIEW, channel="FITC"))
    labels = label_image(cell(), VIEW)
    wide = image > 0.2 * image.max()
    ring = wide & (labels == 0)
    assert wide.sum() > 1.8 * (labels > 0).sum()
    assert image[ring].max() > image[labels > 0].mean()


def test_brightfield_is_bright_with_a_dark_rim() -> None:
    empty = photons(cell(500, 0), replace(VIEW, channel=BRIGHTFIELD))
    image = photons(cell(), replace(VIEW, channel=BRIGHTFIELD))
    relative = image / empty
    assert empty.mean() > 300
    assert relative.min() < 0.8
    assert relative[100, 150] > 1.1
    assert relative[:20, :20] == pytest.approx(np.ones((20, 20)), abs=0.02)


def test_a_roi_sees_the_same_part_of_the_light_field() -> None:
    whole = photons(cell(500, 0), VIEW, background=100)
    part = replace(VIEW, shape=(41, 61), axis_px=(-60.0, -100.0))
    corner = photons(cell(500, 0), part, background=100)
    rows, columns = slice(100 + 60 - 20, 100 + 60 + 21), slice(150 + 100 - 30, 150 + 100 + 31)
    assert corner == pytest.approx(whole[rows, columns], rel=1e-4)
