"""Large images in tiles: the same objects as in one piece, none twice, none cut at a seam."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from models.scoring.instances import agreement
from models.tasks import network, tiles
from models.tasks.learned import Learned
from models.tasks.network import NetworkSegmenter
from models.tasks.resize import resize_image, resize_part
from models.tasks.tiles import Tile, busiest_part, label_in_tiles, tiles_of

NUCLEI = Path(__file__).parents[1] / "data" / "nuclei"
lengths = st.integers(1, 5000)


@pytest.fixture(scope="module")
def opened() -> Iterator[NetworkSegmenter]:
    with NetworkSegmenter("nuclei") as segmenter:
        yield segmenter


@pytest.fixture(scope="module")
def field() -> NDArray[np.uint8]:
    """1024 x 1024, sixteen times the same real nuclei."""
    return np.tile(np.asarray(Image.open(NUCLEI / "016_img.png")), (4, 4))


@given(shape=st.tuples(lengths, lengths))
def test_cores_part_the_image_and_are_seen_with_their_halo(shape: tuple[int, int]) -> None:
    covered = 0
    for tile in tiles_of(shape):
        covered += np.prod([stop - start for start, stop in tile.core])
        for core, seen, length in zip(tile.core, tile.seen, shape, strict=True):
            assert 0 <= seen[0] <= core[0] < core[1] <= seen[1] <= length
            assert seen[0] % tiles.STEP_PX == core[0] % tiles.STEP_PX == 0
            assert core[1] - core[0] <= tiles.CORE_PX
            assert seen[0] == 0 or core[0] - seen[0] == tiles.HALO_PX
            assert seen[1] == length or seen[1] - core[1] == tiles.HALO_PX
    assert covered == shape[0] * shape[1]


def discs(shape: tuple[int, int], step: int, radius: float) -> NDArray[np.int32]:
    """Discs on a grid, numbered from 1."""
    y, x = np.indices(shape)
    number = 1 + y // step * (shape[1] // step + 1) + x // step
    off_y, off_x = (place % step - step // 2 for place in (y, x))
    return np.where(off_y**2 + off_x**2 <= radius**2, number, 0).astype(np.int32)


def test_objects_across_every_seam_come_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "CORE_PX", 64)
    monkeypatch.setattr(tiles, "HALO_PX", 32)
    truth = discs((300, 340), 20, 8)

    def look(tile: Tile) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        (top, bottom), (left, right) = tile.seen
        part = truth[top:bottom, left:right]
        return part, np.full(part.shape, 0.75, np.float32)

    labels, area, confidence = label_in_tiles((300, 340), (300, 340), look)
    count = len(np.unique(truth)) - 1
    assert len(area) == len(confidence) == count + 1
    assert agreement([(labels, truth)], (1.0,))[0].ap == 1.0
    np.testing.assert_array_equal(area[1:], np.bincount(labels.ravel())[1:])
    np.testing.assert_allclose(confidence[1:], 0.75)


@pytest.mark.parametrize("shift", [-3, 3])
def test_where_two_tiles_differ_an_object_is_there_once(
    monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    """Each tile sees its objects moved its own way: over the seam, or both away from it."""
    monkeypatch.setattr(tiles, "CORE_PX", 64)
    monkeypatch.setattr(tiles, "HALO_PX", 32)

    def look(tile: Tile) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        first = tile.core[1][0] == 0
        y, x = (np.arange(start, stop) for start, stop in tile.seen)
        centre = 64 + (shift if first else -shift)
        disc = (y[:, None] - 30) ** 2 + (x[None, :] - centre) ** 2 <= 100
        return disc.astype(np.int32), np.ones(disc.shape, np.float32)

    labels, area, _ = label_in_tiles((64, 128), (64, 128), look)
    assert len(area) == 2
    assert np.count_nonzero(labels == 1) >= 250


@settings(max_examples=40)
@given(
    old=st.tuples(st.integers(20, 90), st.integers(20, 90)),
    new=st.tuples(st.integers(20, 90), st.integers(20, 90)),
    cut=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_a_part_is_resized_as_in_the_whole(
    old: tuple[int, int], new: tuple[int, int], cut: tuple[float, float, float, float]
) -> None:
    image = np.random.default_rng(2).integers(0, 4000, old).astype(np.uint16)
    spans = []
    for length, a, b in zip(new, cut[::2], cut[1::2], strict=True):
        start = int(min(a, b) * (length - 1))
        spans.append((start, max(int(max(a, b) * length), start + 1)))
    (top, bottom), (left, right) = spans
    part = resize_part(image, new, (spans[0], spans[1]))
    np.testing.assert_allclose(
        part, resize_image(image, new)[top:bottom, left:right], rtol=1e-4, atol=1e-2
    )


def test_busiest_part_holds_the_cells() -> None:
    image = np.full((400, 600), 100, np.uint16)
    image[210:380, 420:580] = 900
    part = busiest_part(image, 200.0)
    assert part.shape == (200, 200)
    assert part.base is image
    assert part[100, 100] == 900


def test_tiles_give_what_the_whole_gives(
    opened: NetworkSegmenter,
    field: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scale = 0.9
    monkeypatch.setattr(network, "SIZE_TOLERANCE", 9.0)  # as it is, whatever the size
    opened.restore(Learned(scale, True, 0.0))
    whole, sure = opened.segment(field)
    assert opened.scale == scale
    monkeypatch.setattr(network, "TILE_ABOVE", 0)
    monkeypatch.setattr(tiles, "CORE_PX", 480)
    assert len(list(tiles_of((round(1024 * scale), round(1024 * scale))))) >= 4
    opened.restore(Learned(scale, True, 0.0))
    tiled, confidence = opened.segment(field)
    assert len(sure) > 900
    assert abs(len(confidence) - len(sure)) <= 1  # one that is hardly an object
    assert agreement([(tiled, whole)], (0.9,))[0].ap >= 0.99
    assert ((tiled > 0) != (whole > 0)).mean() < 1e-3
    assert abs(float(confidence.mean()) - float(sure.mean())) < 1e-3


def test_tiles_share_one_normalisation(
    opened: NetworkSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tile with noise alone stays empty, for its light is judged by that of the whole image."""
    image = np.random.default_rng(0).normal(200, 5, (256, 768)).clip(0).astype(np.uint16)
    image[:, :256] += 10 * np.asarray(Image.open(NUCLEI / "016_img.png")).astype(np.uint16)
    monkeypatch.setattr(network, "TILE_ABOVE", 0)
    monkeypatch.setattr(tiles, "CORE_PX", 256)
    opened.reset()
    labels, confidence = opened.segment(image)
    assert len(confidence) > 50
    assert not labels[:, 300:].any()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_ten_thousand_objects_in_bounded_memory() -> None:
    """4096 x 4096: peak memory of its own process; in one piece it is 2.5 GB."""
    program = (
        "import numpy as np\n"
        "from models.tasks.network import NetworkSegmenter\n"
        "y, x = np.indices((40, 40))\n"
        "spot = 200 + 1500 / (1 + np.exp(np.hypot(y - 20, x - 20) - 12))\n"
        "image = np.full((4096, 4096), 200, np.uint16)\n"
        "image[:4080, :4080] = np.tile(spot, (102, 102))\n"
        "with NetworkSegmenter('nuclei') as segmenter:\n"
        "    print(len(segmenter.segment(image)[1]))\n"
        # the peak that getrusage knows may be that of the process which began this one
        "print(*(n.split()[1] for n in open('/proc/self/status') if n.startswith('VmHWM')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=280, check=True
    )
    count, peak_kb = (int(line) for line in done.stdout.split())
    assert abs(count - 102 * 102) <= 50
    assert peak_kb < 1_200_000
