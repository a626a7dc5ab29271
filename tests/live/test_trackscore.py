"""Where tracks go wrong: found, counted and drawn."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from live.cli import main
from live.errors import UsageError
from live.scoring.score import score
from live.scoring.trackpicture import (
    FALSE,
    MISSED,
    OTHER,
    OTHER_DAUGHTERS,
    draw_tracks,
    write_track_picture,
)
from live.tracks.ctc import TABLE, read_table, write_table
from live.tracks.picture import LINE
from models.scoring import Fate, Forest, TrackComparison, TrackScores, compare_tracks

DATA = Path(__file__).parents[1] / "data"
TRUTH = DATA / "ecoli" / "01_GT"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "track" / "ecoli_early"
PERFECT = TrackScores(1.0, 1.0, 1.0, 1.0, 1, 0, 0)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """The truth in the form of a result."""
    pytest.importorskip("traccuracy", reason="needs the score extra")
    folder = tmp_path / "res"
    folder.mkdir()
    for file in (TRUTH / "TRA").glob("*.tif"):
        shutil.copyfile(file, folder / file.name.replace("man_track", "mask"))
    shutil.copyfile(TRUTH / "TRA" / "man_track.txt", folder / TABLE)
    return folder


def forest(*before: int, frames: tuple[int, ...], **fates: dict[int, Fate]) -> Forest:
    """Objects by the one that each came from; what is not given is right."""
    count = len(before)
    came = np.array(before, np.int64)
    divides = np.bincount(came[came >= 0], minlength=count) > 1
    kinds = {
        "found": np.full(count, Fate.RIGHT, np.uint8),
        "link": np.where(came >= 0, Fate.RIGHT, Fate.NONE).astype(np.uint8),
        "division": np.where(divides, Fate.RIGHT, Fate.NONE).astype(np.uint8),
    }
    for kind, changes in fates.items():
        for at, fate in changes.items():
            kinds[kind][at] = fate
    numbers = np.arange(1, count + 1, dtype=np.int32)
    return Forest(np.array(frames, np.int32), numbers, came, np.arange(count), **kinds)


def one_division(**fates: dict[int, Fate]) -> Forest:
    return forest(-1, 0, 0, 1, 2, frames=(0, 1, 1, 2, 2), **fates)


def compared(true: Forest, found: Forest) -> TrackComparison:
    return TrackComparison(PERFECT, true, found)


def colours(picture: Image.Image, side: str) -> set[tuple[int, int, int]]:
    """Colours of one side of a picture, without its legend."""
    pixels = np.asarray(picture)[84:-62]
    half = pixels.shape[1] // 2
    part = (pixels[:, :half] if side == "true" else pixels[:, half:]).astype(np.uint32)
    packed = np.unique((part[..., 0] << 16) | (part[..., 1] << 8) | part[..., 2]).tolist()
    return {(one >> 16, one >> 8 & 255, one & 255) for one in packed}


def test_what_is_right_has_one_colour() -> None:
    picture = draw_tracks(compared(one_division(), one_division()), "same")
    wrong = {MISSED, FALSE, OTHER, OTHER_DAUGHTERS}
    for side in ("true", "found"):
        assert LINE in colours(picture, side)
        assert not wrong & colours(picture, side)


@pytest.mark.parametrize(
    ("side", "fates", "colour"),
    [
        pytest.param("true", {"link": {2: Fate.WRONG}}, MISSED, id="missed-link"),
        pytest.param("found", {"link": {2: Fate.WRONG}}, FALSE, id="false-link"),
        pytest.param("found", {"link": {2: Fate.OTHER_KIND}}, OTHER, id="other-kind"),
        pytest.param("true", {"division": {0: Fate.WRONG}}, MISSED, id="missed-division"),
        pytest.param("found", {"division": {0: Fate.WRONG}}, FALSE, id="false-division"),
        pytest.param(
            "true", {"division": {0: Fate.OTHER_KIND}}, OTHER_DAUGHTERS, id="other-daughters"
        ),
        pytest.param("true", {"found": {4: Fate.WRONG}}, MISSED, id="missed-object"),
        pytest.param("found", {"found": {4: Fate.WRONG}}, FALSE, id="false-object"),
    ],
)
def test_every_error_has_its_colour_on_its_side(
    side: str, fates: dict[str, dict[int, Fate]], colour: tuple[int, int, int]
) -> None:
    sides = [
        one_division(**fates) if side == name else one_division() for name in ("true", "found")
    ]
    picture = draw_tracks(compared(*sides), "one error")
    other = "found" if side == "true" else "true"
    assert colour in colours(picture, side)
    assert not {MISSED, FALSE, OTHER, OTHER_DAUGHTERS} & colours(picture, other)


def test_the_worst_family_comes_first_and_the_rest_are_counted() -> None:
    count = 300
    frames = (0,) * count + (1,) * count
    came = (-1,) * count + tuple(range(count))
    # the last family alone has an error; all the others would fill the page before it
    true = forest(*came, frames=frames, link={2 * count - 1: Fate.WRONG})
    picture = draw_tracks(compared(true, forest(*came, frames=frames)), "many")
    assert MISSED in colours(picture, "true")
    top = np.asarray(picture)[84:110, : picture.width // 2].reshape(-1, 3)
    assert (top == MISSED).all(axis=1).any()
    assert picture.height < 4000


def test_found_where_nothing_is_and_nothing_at_all() -> None:
    nothing = forest(frames=())
    alone = forest(-1, 0, frames=(0, 1), found={0: Fate.WRONG, 1: Fate.WRONG})
    alone = replace(alone, partner=np.full(2, -1))
    picture = draw_tracks(compared(nothing, alone), "only false")
    assert FALSE in colours(picture, "found")
    assert draw_tracks(compared(nothing, nothing), "empty").height > 0


def test_where_the_errors_are(result: Path) -> None:
    tracks = read_table(result / TABLE)
    daughter = next(track for track in tracks if track.parent)
    write_table(result / TABLE, [replace(t, parent=0) if t == daughter else t for t in tracks])
    found = compare_tracks(result, TRUTH / "TRA", TRUTH / "TRA" / "man_track.txt")
    scores, true = found.scores, found.true
    (missed,) = np.flatnonzero(true.link == Fate.WRONG)
    assert (true.number[missed], true.frame[missed]) == (daughter.number, daughter.first)
    (undivided,) = np.flatnonzero(true.division == Fate.WRONG)
    assert true.number[undivided] == daughter.parent
    assert undivided == true.before[missed]
    # the sister's link is right, but the mother's track goes on where it should divide
    (other,) = np.flatnonzero(found.result.link == Fate.OTHER_KIND)
    assert true.before[found.result.partner[other]] == undivided
    assert (scores.links_missed, scores.links_false, scores.links_other) == (1, 0, 1)
    assert (scores.divisions_missed, scores.divisions_false) == (1, 0)
    links = np.count_nonzero(true.before >= 0)
    assert scores.lnk == pytest.approx(1 - (1.5 + 1) / (1.5 * links))
    assert (found.true.partner >= 0).all()
    assert np.array_equal(found.result.partner[true.partner], np.arange(len(true.partner)))


def test_picture_and_counts_from_the_command_line(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, values = tmp_path / "p.png", tmp_path / "r.json"
    with pytest.raises(SystemExit) as ended:
        main(("score", str(result), str(TRUTH), "--picture", str(picture), "--json", str(values)))
    assert ended.value.code == 0
    assert "picture in" in capsys.readouterr().out
    with Image.open(picture) as image:
        assert image.width == 1500
    report = json.loads(values.read_text())
    assert report["links"]["tp"] == sum(t.last - t.first for t in read_table(result / TABLE)) + sum(
        t.parent > 0 for t in read_table(result / TABLE)
    )
    assert report["links"] | {"tp": 0} == {"tp": 0, "fp": 0, "fn": 0, "other_kind": 0}
    assert report["track_objects"] == {"fp": 0, "fn": 0, "merged": 0}


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (("--picture", "folder"), "ends in .png"),
        (("--picture", "p.png", "--images", "."), "for label images"),
    ],
)
def test_what_pictures_of_tracks_cannot_be(
    extra: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / TABLE).write_text("1 0 0 0\n")
    given = [str(tmp_path / word) if word in ("folder", "p.png") else word for word in extra]
    with pytest.raises(SystemExit) as ended:
        main(("score", str(tmp_path), str(TRUTH), *given))
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_nothing_is_left_of_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    same = compared(one_division(), one_division())
    (tmp_path / "p.png").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        write_track_picture(same, tmp_path / "p.png", "title")
    assert [item.name for item in tmp_path.iterdir()] == ["p.png"]


def test_a_division_a_frame_late_counts_with_a_frame_of_tolerance(result: Path) -> None:
    tracks = read_table(result / TABLE)
    daughters = [one for one in tracks if one.parent and one.last > one.first]
    mother = next(
        track for track in tracks
        if sum(one.parent == track.number for one in daughters) == 2
    )  # fmt: skip
    late = [one for one in daughters if one.parent == mother.number]
    at = late[0].first
    mask = result / f"mask{at:03d}.tif"
    labels = tifffile.imread(mask)
    both = np.isin(labels, [one.number for one in late])
    labels[both] = mother.number
    tifffile.imwrite(mask, labels)
    changed = {one.number: replace(one, first=at + 1) for one in late}
    changed[mother.number] = replace(mother, last=at)
    write_table(result / TABLE, [changed.get(one.number, one) for one in tracks])
    report = score(result, TRUTH).to_json()
    assert report["divisions"]["fn"] == report["divisions"]["fp"] == 1
    assert report["division_f1"] < 1
    assert report["division_f1_within_1"] == 1


@pytest.mark.slow
def test_counts_of_a_plain_linker() -> None:
    pytest.importorskip("traccuracy", reason="needs the score extra")
    if not SHARED.is_dir():
        pytest.skip("needs the data beside the repository")
    report = score(SHARED / "01_RES_simple_linker", SHARED / "01_GT").to_json()
    links, known = (
        report["links"],
        json.loads((SHARED / "expected_scores_of_01_RES_simple_linker.json").read_text()),
    )
    assert known["AOGM"] == links["fp"] + 1.5 * links["fn"] + links["other_kind"]
    assert report["division_f1"] == pytest.approx(known["division_f1_frame_buffer_0"])
