"""What the window draws and says, without Qt."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from live.display import RuleLine, ShownFrame, ShownResult, ShownStatus, display_available
from live.display.contrast import AutoContrast, histogram_of, robust_levels, to_grey
from live.display.files import free_name, write_whole
from live.display.outlines import PALETTE, colour_index, edges_of, outline_rgba
from live.display.placement import StageMemory, anchor_of, place
from live.display.readout import Tone, overlay_note, scale_bar, tiles
from live.display.region import visible_region, whole
from live.display.scene import Scene
from live.display.still import draw_still, run_still
from live.display.trails import FLASH_S, TAIL_POINTS, TRACKS_KEPT, Trails
from live.display.wording import PLAIN, plain
from models.result import OBJECT_DTYPE


def frame_of(seq: int = 1, shape: tuple[int, int] = (64, 80), **changes: object) -> ShownFrame:
    rng = np.random.default_rng(seq)
    pixels = rng.poisson(100, shape).astype(np.uint16)
    pixels[20:30, 40:52] += 900
    frame = ShownFrame(pixels, seq, time.monotonic_ns(), 0.0, 0.0, 0.5, "DAPI")
    return replace(frame, **changes)


def objects_of(
    *rows: tuple[int, int, float, float], divided: tuple[int, ...] = ()
) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Rows of (label, track, y, x)."""
    table = np.zeros(len(rows), OBJECT_DTYPE)
    for row, (label, track, y, x) in zip(table, rows, strict=True):
        row["label"], row["track_id"], row["y_px"], row["x_px"] = label, track, y, x
        row["bbox_y0"], row["bbox_y1"] = y - 5, y + 5
        row["bbox_x0"], row["bbox_x1"] = x - 6, x + 6
        row["area_px"], row["divided"] = 120, track in divided
    return table


def result_of(seq: int = 1, shape: tuple[int, int] = (64, 80), **changes: object) -> ShownResult:
    labels = np.zeros(shape, np.int32)
    labels[20:30, 40:52] = 1
    return replace(ShownResult(seq, labels, objects_of((1, 7, 24.5, 45.5))), **changes)


# contrast


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.zeros((50, 60), np.uint16), id="black"),
        pytest.param(np.full((50, 60), 65535, np.uint16), id="saturated"),
        pytest.param(np.full((50, 60), 255, np.uint8), id="saturated-u8"),
        pytest.param(np.random.default_rng(1).poisson(110, (300, 300)).astype(np.uint16), id="dim"),
        pytest.param(frame_of().pixels, id="a-cell"),
    ],
)
def test_automatic_contrast_is_never_all_black_or_all_white(pixels: np.ndarray) -> None:
    grey = to_grey(pixels, AutoContrast().update(pixels, "c", 0.0))
    assert grey.max() > 40
    assert grey.mean() < 200


def test_one_hot_pixel_does_not_darken_the_picture() -> None:
    pixels = frame_of().pixels.copy()
    before = robust_levels(pixels)
    pixels[0, 0] = 65535
    assert robust_levels(pixels).high < 1.05 * before.high


def test_levels_follow_slowly_but_jump_when_the_picture_is_another() -> None:
    contrast, pixels = AutoContrast(), frame_of().pixels.astype(np.float64)
    first = contrast.update(pixels.astype(np.uint16), "c", 0.0)
    target = robust_levels((pixels * 1.3).astype(np.uint16))
    soon = contrast.update((pixels * 1.3).astype(np.uint16), "c", 0.03)
    assert first.high < soon.high < first.high + 0.1 * (target.high - first.high)
    later = contrast.update((pixels * 1.3).astype(np.uint16), "c", 8.0)
    assert later.high == pytest.approx(target.high, rel=0.01)
    jumped = contrast.update((pixels * 30).astype(np.uint16), "c", 8.03)
    assert jumped == robust_levels((pixels * 30).astype(np.uint16))


def test_each_channel_keeps_its_levels_and_hand_set_ones_hold_until_auto() -> None:
    contrast, pixels = AutoContrast(), frame_of().pixels
    dapi = contrast.update(pixels, "DAPI", 0.0)
    contrast.update((pixels * 20).astype(np.uint16), "FITC", 0.1)
    assert contrast.levels("DAPI") == dapi
    contrast.set_manual("DAPI", 50, 50)
    assert contrast.update(pixels, "DAPI", 1.0).low == 50
    assert contrast.levels("DAPI").high > 50
    contrast.set_auto("DAPI")
    assert contrast.update(pixels, "DAPI", 2.0) == dapi


def test_histogram_counts_saturation_by_bit_depth() -> None:
    pixels = np.full((100, 100), 4095, np.uint16)
    pixels[:50] = 7
    assert histogram_of(pixels, 12).saturated == pytest.approx(0.5)
    assert histogram_of(pixels, 16).saturated == 0
    assert histogram_of(pixels, 12).counts.sum() == pixels.size


# region


@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.floats(-500, 3000),
    st.floats(-500, 3000),
    st.floats(1, 4000),
    st.floats(1, 4000),
)
@settings(max_examples=200, deadline=None)
def test_region_covers_what_is_visible_and_stays_inside(
    height: int, width: int, y: float, x: float, tall: float, wide: float
) -> None:
    region = visible_region((height, width), (x, x + wide), (y, y + tall), (900, 700))
    assert 0 <= region.y0 < region.y1 <= height
    assert 0 <= region.x0 < region.x1 <= width
    assert region.y0 % region.stride == 0
    assert region.x0 % region.stride == 0
    if y < height and y + tall > 0 and x < width and x + wide > 0:
        assert region.y0 <= max(y, 0)
        assert region.y1 >= min(y + tall, height)
        assert region.x0 <= max(x, 0)
        assert region.x1 >= min(x + wide, width)


def test_a_large_picture_is_thinned_and_a_zoomed_one_is_not() -> None:
    assert visible_region((2048, 2048), (0, 2048), (0, 2048), (640, 640)).stride in (2, 4)
    zoomed = visible_region((2048, 2048), (100, 400), (100, 400), (640, 640))
    assert zoomed.stride == 1
    assert zoomed.y1 - zoomed.y0 < 500


# outlines


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_edges_are_object_pixels_beside_something_else(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, (9, 11)).astype(np.int32)
    edges = edges_of(labels)
    for y, x in np.ndindex(labels.shape):
        around = [
            labels[j, i]
            for j, i in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
            if 0 <= j < 9 and 0 <= i < 11
        ]
        expected = labels[y, x] != 0 and any(other != labels[y, x] for other in around)
        assert bool(edges[y, x]) == bool(expected)


def test_outline_has_the_colour_of_its_track_and_is_hollow() -> None:
    result = result_of()
    rgba = outline_rgba(result.labels, result.objects, whole(result.labels.shape))
    assert tuple(rgba[20, 40]) == tuple(PALETTE[colour_index(np.array([7]))[0]])
    assert rgba[25, 45, 3] == 0
    assert rgba[5, 5, 3] == 0
    untracked = outline_rgba(result.labels, result.objects[:0], whole(result.labels.shape))
    assert tuple(untracked[20, 40]) == tuple(PALETTE[0])


def test_no_track_shares_a_colour_with_its_neighbours_in_number() -> None:
    colours = [tuple(PALETTE[i]) for i in colour_index(np.arange(1, 25))]
    assert len(set(colours)) == 24


# placement


def test_overlay_moves_against_the_stage() -> None:
    memory, before, after = StageMemory(), frame_of(1), frame_of(3, x_um=5.0, y_um=-2.0)
    for frame in (before, after):
        memory.remember(frame)
    placed = place(after, result_of(1), memory)
    # the stage went 5 µm to larger x, so the cells went 10 px to smaller x
    assert (placed.visible, placed.x_px, placed.y_px) == (True, -10.0, 4.0)
    assert placed.lag_frames == 2
    assert overlay_note(placed) == "overlay −2 frames"


def test_overlay_follows_a_camera_that_is_turned_against_the_stage() -> None:
    turned = np.array([[0.0, 0.5], [0.5, 0.0]])
    after = frame_of(2, x_um=5.0, px_to_um=turned)
    placed = place(after, result_of(1, x_um=0.0, y_um=0.0), StageMemory())
    assert (placed.y_px, placed.x_px) == (-10.0, 0.0)


@pytest.mark.parametrize(
    ("frame", "result", "why"),
    [
        pytest.param(frame_of(9), result_of(5), "stage position unknown", id="never-seen"),
        pytest.param(frame_of(9, shape=(32, 32)), result_of(9), "picture size changed", id="roi"),
        pytest.param(
            frame_of(9), result_of(8, pixel_size_um=0.1), "magnification changed", id="lens"
        ),
        pytest.param(
            frame_of(9, x_um=3.0, pixel_size_um=0.0),
            result_of(8, x_um=0.0, y_um=0.0),
            "stage moved, uncalibrated",
            id="uncalibrated",
        ),
    ],
)
def test_overlay_is_hidden_rather_than_wrong(
    frame: ShownFrame, result: ShownResult, why: str
) -> None:
    placed = place(frame, result, StageMemory())
    assert not placed.visible
    assert placed.why == why
    assert why in overlay_note(placed)


def test_a_frame_that_was_not_shown_stood_where_its_neighbours_stood() -> None:
    memory = StageMemory(size=3)
    for frame in (frame_of(1), frame_of(5), frame_of(9, x_um=4.0)):
        memory.remember(frame)
    assert memory.at(3) == anchor_of(frame_of(1))
    assert memory.at(7) is None
    memory.remember(frame_of(10))
    assert memory.at(1) is None


# trails


def test_tails_are_bounded_and_forgotten() -> None:
    trails, here = Trails(), anchor_of(frame_of())
    for step in range(3 * TAIL_POINTS):
        trails.add(objects_of((1, 1, 10.0 + step, 20.0)), here, float(step))
    (tail,) = trails.tails()
    assert len(tail.points) == TAIL_POINTS
    assert tail.points[-1].tolist() == [10.0 + 3 * TAIL_POINTS - 1, 20.0]
    many = objects_of(*((i, i, 5.0, 5.0) for i in range(1, TRACKS_KEPT + 200)))
    trails.add(many, here, 100.0)
    assert len(trails) == TRACKS_KEPT
    for step in range(30):
        trails.add(objects_of(), here, 101.0 + step)
    assert len(trails) == 0


def test_a_tail_stays_with_its_cell_when_the_stage_moves() -> None:
    trails = Trails()
    trails.add(objects_of((1, 1, 30.0, 40.0)), anchor_of(frame_of()), 0.0)
    trails.add(objects_of((1, 1, 30.0, 20.0)), anchor_of(frame_of(x_um=10.0)), 0.1)
    (tail,) = trails.tails()
    assert tail.points[0].tolist() == tail.points[1].tolist()


def test_a_division_flashes_once_and_fades() -> None:
    trails, here = Trails(), anchor_of(frame_of())
    trails.add(objects_of((1, 5, 30.0, 40.0), (2, 6, 30.0, 60.0), divided=(5,)), here, 0.0)
    trails.add(objects_of((1, 5, 32.0, 40.0), divided=(5,)), here, 1.0)
    (flash,) = trails.flashes(1.0)
    assert (flash.y_px, flash.x_px) == (32.0, 40.0)
    assert 0 < flash.age < 1
    assert trails.flashes(FLASH_S + 0.1) == []


def test_scene_counts_what_it_passed_over_and_starts_again_on_a_new_run() -> None:
    scene = Scene()
    for seq in (0, 1, 5):
        scene.take_frame(frame_of(seq), 0.0)
    assert scene.passed_over == 3
    scene.take_result(result_of(5), 0.0)
    scene.take_frame(frame_of(0), 0.1)
    assert scene.result is None


def test_target_is_ringed_where_the_stage_says() -> None:
    scene = Scene()
    scene.take_frame(frame_of(1, x_um=100.0, y_um=50.0), 0.0)
    marks = scene.marks(None, ids=True, tails=True, target_um=(105.0, 49.0), now_s=0.0)
    assert marks.target is not None
    assert marks.target[:2] == (64 / 2 - 2, 80 / 2 + 10)


# words


def test_tiles_say_what_is_wrong_in_red() -> None:
    status = ShownStatus(camera_hz=99.6, drops={"camera": 2, "display": 40, "ring": 0})
    shown = {tile.key: tile for tile in tiles(status, 9.66, 900.0)}
    assert shown["camera"].value == "100 Hz"
    assert shown["display"].value == "9.7 Hz"
    assert (shown["age"].value, shown["age"].tone) == ("900 ms", Tone.BAD)
    assert (shown["drops"].value, shown["drops"].tone) == ("camera 2 · display 40", Tone.BAD)
    calm = {tile.key: tile for tile in tiles(ShownStatus(drops={"display": 3}), 30.0, 40.0)}
    assert (calm["drops"].tone, calm["age"].tone) == (Tone.DIM, Tone.GOOD)
    assert calm["latency"].value == "–"


def test_latency_tile_takes_both_names() -> None:
    long = ShownStatus(latency_ms={"camera_to_decision_p50": 31, "camera_to_decision_p95": 58})
    short = ShownStatus(latency_ms={"p50": 31, "p95": 58})
    for status in (long, short):
        shown = {tile.key: tile for tile in tiles(status, 0, None)}
        assert shown["latency"].value == "31 / 58 ms"


@given(st.floats(0.01, 20), st.floats(1, 5000))
def test_scale_bar_is_round_and_near_what_was_asked(pixel_size_um: float, wanted: float) -> None:
    bar = scale_bar(pixel_size_um, wanted)
    assert 0.39 * wanted <= bar.length_px <= 1.001 * wanted
    number, unit = bar.text.split()
    length_um = float(number) * (1000 if unit == "mm" else 1)
    assert length_um == pytest.approx(bar.length_px * pixel_size_um, rel=1e-4)


def test_uncalibrated_scale_bar_says_so() -> None:
    assert scale_bar(0.0, 120).text == "100 px (uncalibrated)"


def test_every_special_sign_has_a_plain_one() -> None:
    assert plain("".join(PLAIN)).isascii()


@pytest.mark.parametrize(
    ("platform", "environment", "available"),
    [
        pytest.param("linux", {}, False, id="server"),
        pytest.param("linux", {"DISPLAY": ":0"}, True, id="x11"),
        pytest.param("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True, id="wayland"),
        pytest.param("win32", {}, True, id="windows"),
        pytest.param("darwin", {}, True, id="macos"),
    ],
)
def test_display_available(platform: str, environment: dict[str, str], available: bool) -> None:
    assert display_available(platform, environment) is available


def test_files_appear_whole_and_never_replace_a_snapshot(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.png"
    write_whole(b"one", target)
    write_whole(b"two", target)
    assert target.read_bytes() == b"two"
    assert [path.name for path in target.parent.iterdir()] == ["a.png"]
    assert free_name(target.parent, "a").name == "a-2.png"
    (tmp_path / "b.png").mkdir()
    with pytest.raises(OSError, match=r"b\.png"):
        write_whole(b"x", tmp_path / "b.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.png", "new"]


# the picture without Qt


class OneOfEach:
    """A feed of one frame and its result, closed after that."""

    def __init__(self) -> None:
        self._frame: ShownFrame | None = frame_of(3)
        self._result: ShownResult | None = result_of(3)
        self._polls = 0

    def newest_frame(self) -> ShownFrame | None:
        frame, self._frame = self._frame, None
        return frame

    def newest_result(self) -> ShownResult | None:
        result, self._result = self._result, None
        return result

    def status(self) -> ShownStatus:
        return ShownStatus(rules=[RuleLine("divides", 1, "track 7 → burst")], events=["start"])

    def closed(self) -> bool:
        self._polls += 1
        return self._polls > 2


def test_plain_picture_shows_cells_and_outlines(tmp_path: Path) -> None:
    closed: list[bool] = []
    picture = tmp_path / "window.png"
    code = run_still(OneOfEach(), title="t", picture=picture, on_close=lambda: closed.append(True))
    assert (code, closed) == (0, [True])
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    colour = PALETTE[colour_index(np.array([7]))[0]][:3]
    assert (pixels == colour).all(-1).sum() > 100
    assert (pixels[100:700, :900] > 200).all(-1).sum() > 500


def test_plain_picture_needs_a_frame() -> None:
    with pytest.raises(ValueError, match="take one first"):
        draw_still(Scene(), ShownStatus(), "t", 0)
