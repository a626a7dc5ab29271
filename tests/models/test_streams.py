"""Two cameras or channels at one place: each goes on as it would alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from models import ImageContext, Pipeline, PipelineError, PipelineResult, load_pipeline
from models.streams import MOST_STREAMS

MOVIE = Path(__file__).parents[1] / "data" / "ecoli" / "01"
THRESHOLD = {"name": "two", "segment": {"kind": "threshold", "polarity": "dark"}, "track": {}}
NETWORK = {
    "name": "two",
    "segment": {"kind": "network", "model": "nuclei"},
    "trust": {"every_frames": 1},
    "track": {},
}
STAGE = np.array([[0.1, 0.0, 50.0], [0.0, 0.1, -20.0]])
Frames = list[tuple[np.ndarray, ImageContext]]


def movie(count: int) -> list[np.ndarray]:
    files = sorted(MOVIE.glob("t*.tif"))[:count]
    # where the cells are; what is around them takes time alone
    return [tifffile.imread(file)[60:360, 100:540].copy() for file in files]


def interleaved(count: int, other: list[np.ndarray], *, calibrated: bool) -> Frames:
    """The movie under one channel and ``other`` under a second, frame by frame."""
    where = {"pixel_size_um": 0.1, "px_to_um": STAGE} if calibrated else {}
    frames: Frames = []
    for t, pair in enumerate(zip(movie(count), other, strict=True)):
        for k, (image, channel) in enumerate(zip(pair, ("Phase", "GFP"), strict=True)):
            seq = 2 * t + k
            frames.append((image, ImageContext(seq, seq / 2, channel=channel, **where)))
    return frames


def analysed(pipeline: Pipeline, frames: Frames) -> list[PipelineResult]:
    return [pipeline.run(image, context) for image, context in frames]


def alone(settings: dict, frames: Frames) -> list[PipelineResult]:
    with load_pipeline(settings) as pipeline:
        return analysed(pipeline, frames)


def of(channel: str, frames: Frames) -> Frames:
    return [frame for frame in frames if frame[1].channel == channel]


def assert_same_but_for_numbers(together: list[PipelineResult], alone: list[PipelineResult]):
    """Same labels; each track has one number here for its number there, in the same order."""
    number: dict[int, int] = {0: 0}
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)
        for name in ("track_id", "parent_id"):
            for here, there in zip(a.objects[name], b.objects[name], strict=True):
                assert number.setdefault(int(there), int(here)) == here
        for name in ("age_frames", "divided", "speed_px", "uncertainty"):
            np.testing.assert_array_equal(a.objects[name], b.objects[name])
    assert len(set(number.values())) == len(number)
    assert [number[k] for k in sorted(number)] == sorted(number.values())


def renumbered(frames: Frames) -> Frames:
    """As a file of this movie alone would be read."""
    return [(i, replace(c, seq=t, time_s=float(t))) for t, (i, c) in enumerate(frames)]


def ids_of(results: list[PipelineResult]) -> set[int]:
    return {int(one) for result in results for one in result.objects["track_id"]}


@pytest.mark.parametrize(
    ("kind", "calibrated"), [("flipped", False), ("shifted", False), ("shifted", True)]
)
def test_two_interleaved_movies_have_the_tracks_that_each_has_alone(
    kind: str, calibrated: bool
) -> None:
    images = movie(4)
    other = [np.roll(i, 5, 1) if kind == "shifted" else i[::-1].copy() for i in images]
    frames = interleaved(4, other, calibrated=calibrated)
    with load_pipeline(THRESHOLD) as pipeline:
        results = analysed(pipeline, frames)
    assert not ids_of(results[0::2]) & ids_of(results[1::2])
    for channel, mine in (("Phase", results[0::2]), ("GFP", results[1::2])):
        assert_same_but_for_numbers(mine, alone(THRESHOLD, renumbered(of(channel, frames))))
        assert max(r.objects["age_frames"].max() for r in mine) == 4
    # numbered in the order of their first frames, from 1, without gaps
    assert ids_of(results) == set(range(1, len(ids_of(results)) + 1))


@pytest.mark.slow
def test_each_stream_keeps_its_own_size_of_objects_and_its_own_checks() -> None:
    small = [image[::2, ::2].copy() for image in movie(3)]
    frames = interleaved(3, small, calibrated=False)
    with load_pipeline(NETWORK) as pipeline:
        results = analysed(pipeline, frames)
    for channel, mine in (("Phase", results[0::2]), ("GFP", results[1::2])):
        single = alone(NETWORK, renumbered(of(channel, frames)))
        assert_same_but_for_numbers(mine, single)
        for a, b in zip(mine, single, strict=True):
            assert replace(a.verdict, seq=0) == replace(b.verdict, seq=0)


def test_one_stream_by_another_name_is_the_same() -> None:
    frames = [(image, ImageContext(t, float(t))) for t, image in enumerate(movie(4))]
    named = [(i, ImageContext(c.seq, c.time_s, channel="Phase")) for i, c in frames]
    for a, b in zip(alone(THRESHOLD, frames), alone(THRESHOLD, named), strict=True):
        assert a.objects.tobytes() == b.objects.tobytes()


def test_all_streams_go_on_in_another_process() -> None:
    frames = interleaved(4, [image[::-1].copy() for image in movie(4)], calibrated=True)
    whole = alone(THRESHOLD, frames)
    with load_pipeline(THRESHOLD) as first:
        analysed(first, frames[:5])
        state = first.export_state()
        assert first.export_state() == state
        # having been asked changes nothing
        rest = analysed(first, frames[5:])
    with load_pipeline(THRESHOLD) as second:
        second.warm_up(frames[0][0].shape, "uint8")
        second.restore_state(state)
        again = analysed(second, frames[5:])
    for results in (rest, again):
        for a, b in zip(results, whole[5:], strict=True):
            assert a.objects.tobytes() == b.objects.tobytes()


def test_a_warm_up_between_frames_changes_no_stream() -> None:
    frames = interleaved(3, movie(3), calibrated=False)
    whole = alone(THRESHOLD, frames)
    with load_pipeline(THRESHOLD) as pipeline:
        analysed(pipeline, frames[:3])
        pipeline.warm_up(frames[0][0].shape, "uint8")
        for a, b in zip(analysed(pipeline, frames[3:]), whole[3:], strict=True):
            assert a.objects.tobytes() == b.objects.tobytes()


def test_streams_beyond_the_most_are_forgotten_and_counted_and_no_number_comes_twice() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = 1
    seen = []
    with load_pipeline({"name": "tracks", "track": {}}) as pipeline:
        for seq, k in enumerate([*range(MOST_STREAMS + 1), 1, 0]):
            context = ImageContext(seq, float(seq), channel=f"camera {k}")
            result = pipeline.run(np.zeros(mask.shape, np.uint8), context, labels=mask)
            seen.append(int(result.objects["track_id"][0]))
        assert pipeline.streams_forgotten == 2
        with load_pipeline({"name": "tracks", "track": {}}) as other:
            other.restore_state(pipeline.export_state())
            context = ImageContext(99, 99.0, channel="new")
            fresh = other.run(np.zeros(mask.shape, np.uint8), context, labels=mask)
    # camera 1 was still known; camera 0, forgotten, starts anew under a new number
    assert seen == [*range(1, MOST_STREAMS + 2), 2, MOST_STREAMS + 2]
    assert int(fresh.objects["track_id"][0]) == MOST_STREAMS + 3


def test_a_state_of_another_version_is_refused_and_changes_nothing() -> None:
    import msgspec

    frames = interleaved(2, movie(2), calibrated=False)
    whole = alone(THRESHOLD, frames)
    with load_pipeline(THRESHOLD) as pipeline:
        analysed(pipeline, frames[:2])
        old = msgspec.msgpack.encode({"version": 2, "track": "", "tracker": b"", "learned": [0, 0]})
        with pytest.raises(PipelineError, match="version 2"):
            pipeline.restore_state(old)
        for a, b in zip(analysed(pipeline, frames[2:]), whole[2:], strict=True):
            assert a.objects.tobytes() == b.objects.tobytes()
