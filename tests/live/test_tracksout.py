"""Tracks for other programs, read back by what those programs read them with."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import end_zarr_threads, frame, label_pattern, objects, recording

from live.infer import infer
from live.tracks.files import EDGES_NAME, GEFF_NAME, SPOTS_NAME, write_geff, write_trackmate
from live.tracks.lineage import (
    SPOT_DTYPE,
    Gatherer,
    Lineages,
    families_of,
    lineages_of,
    napari_tracks,
)
from live.tracks.picture import LINE, draw_lineage
from live.tracks.run import export_tracks, lineages_of_run
from live.tracks.tree import Wood
from models import OBJECT_DTYPE, PipelineSettings

DATA = Path(__file__).parents[1] / "data"
TRUTH = DATA / "ecoli" / "01_GT" / "TRA"
FOLLOW = PipelineSettings.model_validate({"name": "follow", "track": {}})

FAMILY = {
    # track 1 divides into 2 and 3; 3 is not seen for a frame; 2 ends and 5 says it comes from it;
    # 4 stands alone, as does an object that nobody follows
    0: [(1, 0)],
    1: [(1, 0), (4, 0)],
    2: [(1, 0)],
    3: [(2, 1), (3, 1)],
    4: [(2, 1)],
    5: [(3, 1), (5, 2), (0, 0)],
}


def gathered(frames: dict[int, list[tuple[int, int]]], **known: object) -> Lineages:
    """Lineages of (track, mother) by frame; objects lie at y = frame, x = 5 times their place."""
    keep = Gatherer()
    for number, pairs in frames.items():
        table = np.zeros(len(pairs), OBJECT_DTYPE)
        table["label"] = np.arange(1, len(pairs) + 1)
        table["track_id"] = [track for track, _ in pairs]
        table["parent_id"] = [mother for _, mother in pairs]
        table["y_px"], table["x_px"] = number, 5 * np.arange(len(pairs))
        table["area_px"] = 100 * np.pi
        table["y_um"], table["x_um"], table["class_id"] = np.nan, np.nan, -1
        keep.add(number, number * 2.0, table, **known)
    return keep.lineages()


@pytest.fixture
def geff_reader() -> Iterator[object]:
    yield pytest.importorskip("geff", reason="needs the test extra")
    end_zarr_threads()


def read_checked(reader: object, path: Path) -> tuple[object, object]:
    """Graph and metadata, after every check that the reference implementation has."""
    from geff.validate.data import ValidationConfig

    reader.validate_structure(str(path))
    checks = ValidationConfig(graph=True, sphere=True, lineage=True, tracklet=True)
    return reader.read(str(path), structure_validation=True, data_validation=checks)


def test_who_came_from_whom() -> None:
    lineages = gathered(FAMILY)
    edges = [[0, 1], [1, 3], [3, 4], [3, 5], [4, 6], [5, 7], [6, 8]]
    assert lineages.edges.tolist() == edges
    # a mother with one daughter goes on: the piece from 4 to 8 has no branch
    assert lineages.tracklet.tolist() == [1, 1, 3, 1, 5, 6, 5, 6, 5, 10]
    assert lineages.lineage.tolist() == [1, 1, 3, 1, 1, 1, 1, 1, 1, 10]


def test_order_does_not_matter_and_a_track_is_in_a_frame_once() -> None:
    lineages = gathered(FAMILY)
    again = lineages_of(np.random.default_rng(0).permutation(lineages.spots))
    assert again.edges.tolist() == lineages.edges.tolist()
    with pytest.raises(ValueError, match="track 7 is twice in frame 0"):
        gathered({0: [(7, 0), (7, 0)]})


def test_a_daughter_of_a_mother_that_goes_on_or_was_never_seen() -> None:
    goes_on = gathered({0: [(1, 0)], 1: [(1, 0), (2, 1)], 2: [(1, 0), (2, 1), (3, 9)]})
    assert goes_on.edges.tolist() == [[0, 1], [0, 2], [1, 3], [2, 4]]
    assert goes_on.lineage.tolist() == [1, 1, 1, 1, 1, 6]
    itself = gathered({0: [(1, 1)], 1: [(1, 1)]})
    assert itself.edges.tolist() == [[0, 1]]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=60))
@settings(deadline=None)
def test_pieces_and_families_of_any_forest(choices: list[int]) -> None:
    before = np.array([choice - 1 if choice <= n else -1 for n, choice in enumerate(choices)])
    tracklet, lineage = families_of(before)
    for one, mother in enumerate(before):
        sisters = np.count_nonzero(before == mother)
        assert (tracklet[one] == tracklet[mother]) == (sisters == 1) or mother < 0
        assert lineage[one] == (lineage[mother] if mother >= 0 else one + 1)
    wood = Wood(before)
    assert wood.sizes().sum() == len(before)
    for root, rows in zip(wood.roots, wood.rows(), strict=True):
        family = wood.family(int(root))
        ends = [one for one in family.members if one not in before]
        at = dict(zip(family.members.tolist(), family.row.tolist(), strict=True))
        assert sorted(at[one] for one in ends) == list(range(rows)) == list(range(family.rows))


def test_geff_is_valid_and_keeps_everything(tmp_path: Path, geff_reader: object) -> None:
    lineages = gathered(FAMILY, pixel_size_um=0.5)
    path = tmp_path / GEFF_NAME
    write_geff(path, gathered({0: [(9, 0)]}))
    write_geff(path, lineages)  # takes the place of what was there
    graph, meta = read_checked(geff_reader, path)
    assert sorted(graph.edges) == [tuple(edge) for edge in lineages.edges.tolist()]
    for name, column in (("t", "frame"), ("y", "y_px"), ("x", "x_px"), ("track_id", "track_id")):
        assert [graph.nodes[n][name] for n in range(10)] == lineages.spots[column].tolist()
    assert graph.nodes[0]["radius"] == pytest.approx(10)
    assert [edge for *edge, yes in graph.edges(data="division") if yes] == [[3, 4], [3, 5], [6, 8]]
    assert graph.edges[5, 7]["frames"] == 2
    scales = [(axis.name, axis.unit, axis.scale, axis.scaled_unit) for axis in meta.axes]
    assert scales == [
        ("t", "frame", 2.0, "second"),
        ("y", "pixel", 0.5, "micrometer"),
        ("x", "pixel", 0.5, "micrometer"),
    ]
    assert sorted(item.name for item in tmp_path.iterdir()) == [GEFF_NAME]


def test_geff_says_what_is_not_known(tmp_path: Path, geff_reader: object) -> None:
    spots = np.zeros(3, SPOT_DTYPE)
    spots["track_id"] = spots["label"] = [1, 2, 3]
    spots["time_s"] = np.nan
    spots["y_um"], spots["x_um"] = [1.5, np.nan, 2.5], [7.0, np.nan, 8.0]
    spots["class_id"] = [0, 1, -1]
    write_geff(tmp_path / "a.geff", lineages_of(spots, ("flat", "round")))
    graph, meta = read_checked(geff_reader, tmp_path / "a.geff")
    assert graph.nodes[0]["y_um"] == 1.5
    assert "y_um" not in graph.nodes[1]
    assert graph.nodes[1]["class_id"] == 1
    assert "class_id" not in graph.nodes[2]
    assert "time_s" not in graph.nodes[0]
    assert [axis.scale for axis in meta.axes] == [None, None, None]
    assert meta.extra["parfocal"]["classes"] == ["flat", "round"]


def test_geff_of_nothing_and_of_many(tmp_path: Path, geff_reader: object) -> None:
    write_geff(tmp_path / "none.geff", gathered({}))
    graph, _ = read_checked(geff_reader, tmp_path / "none.geff")
    assert len(graph) == 0
    spots = np.zeros(70_000, SPOT_DTYPE)  # more than a chunk
    spots["frame"], spots["track_id"] = np.arange(70_000) // 1000, np.arange(70_000) % 1000 + 1
    spots["label"] = spots["track_id"]
    write_geff(tmp_path / "many.geff", lineages_of(spots))
    import zarr

    ids = zarr.open_array(str(tmp_path / "many.geff" / "edges" / "ids"), mode="r")
    assert ids.shape == (69_000, 2)
    assert (np.diff(ids[:], axis=1) == 1000).all()


def test_a_movie_leaves_tracks_that_others_read(tmp_path: Path, geff_reader: object) -> None:
    out = tmp_path / "out"
    report = infer(
        [DATA / "ecoli" / "01"], FOLLOW, out, movie=True, masks=TRUTH, trackmate=True,
        pixel_size_um=0.1,
    )  # fmt: skip
    graph, _ = read_checked(geff_reader, out / GEFF_NAME)
    assert len(graph) == report.objects
    assert sum(graph.out_degree(one) > 1 for one in graph) == report.divisions
    with (out / "objects.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["track_id"]) for row in rows] == [graph.nodes[n]["track_id"] for n in graph]
    spots = read_trackmate(out / SPOTS_NAME)
    assert [float(spot["POSITION_X"]) for spot in spots] == pytest.approx(
        [0.1 * graph.nodes[n]["x"] for n in graph]
    )
    links = read_trackmate(out / EDGES_NAME)
    pairs = [(int(link["SPOT_SOURCE_ID"]), int(link["SPOT_TARGET_ID"])) for link in links]
    assert sorted(pairs) == sorted(graph.edges)


def read_trackmate(path: Path) -> list[dict[str, str]]:
    """As scripts for TrackMate do: keys, and three lines more before the first object."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))[3:]


def test_trackmate_tables(tmp_path: Path) -> None:
    assert write_trackmate(tmp_path, gathered(FAMILY, pixel_size_um=0.5)) == [
        tmp_path / SPOTS_NAME,
        tmp_path / EDGES_NAME,
    ]
    head = (tmp_path / SPOTS_NAME).read_text(encoding="utf-8").splitlines()[:4]
    first = (
        "LABEL,ID,TRACK_ID,QUALITY,POSITION_X,POSITION_Y,POSITION_Z,POSITION_T,FRAME,RADIUS,"
        "VISIBILITY,MANUAL_SPOT_COLOR,MEAN_INTENSITY_CH1"
    )
    assert head[0].startswith(first)
    assert head[1].startswith("Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame,Radius,Visibility,")
    assert head[2].startswith("Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame,R,Visibility,")
    assert head[3].startswith(",,,(quality),(micron),(micron),(micron),(sec),,(micron),,,(counts)")
    assert len({line.count(",") for line in head}) == 1
    spots = read_trackmate(tmp_path / SPOTS_NAME)
    # a whole family is one track; what has no link has none
    assert [spot["TRACK_ID"] for spot in spots] == ["0", "0", "", *"000000", ""]
    assert [spot["CELL_ID"] for spot in spots] == list("1141232350")
    assert (spots[5]["POSITION_X"], spots[5]["POSITION_Y"], spots[5]["POSITION_T"]) == (
        "2.5", "1.5", "6",
    )  # fmt: skip
    assert float(spots[5]["RADIUS"]) == pytest.approx(5)
    links = read_trackmate(tmp_path / EDGES_NAME)
    assert [link["LABEL"] for link in links][:3] == ["ID0 → ID1", "ID1 → ID3", "ID3 → ID4"]
    assert {link["TRACK_ID"] for link in links} == {"0"}
    assert float(links[5]["SPEED"]) == pytest.approx(np.hypot(1, 2.5) / 4)
    write_trackmate(tmp_path, gathered({}))
    assert read_trackmate(tmp_path / SPOTS_NAME) == []


def test_tracks_as_napari_takes_them() -> None:
    data, graph = napari_tracks(gathered(FAMILY))
    assert data.shape == (9, 4)  # the object that nobody follows is not there
    assert graph == {2: [1], 3: [1], 5: [2]}
    # the rules of its layer: whole ids, sorted by id and time, every id of the graph has points
    assert (data[:, :2] == np.rint(data[:, :2])).all()
    assert np.array_equal(np.lexsort((data[:, 1], data[:, 0])), np.arange(len(data)))
    assert {*graph, *(mother for mothers in graph.values() for mother in mothers)} <= set(
        data[:, 0].astype(int)
    )
    last = {int(track): frame for track, frame in data[:, :2]}
    first = {int(track): frame for track, frame in data[::-1, :2]}
    assert all(last[mother] < first[one] for one, (mother,) in graph.items())
    assert napari_tracks(gathered({}))[0].shape == (0, 4)


def test_tracks_of_a_recorded_run(tmp_path: Path, geff_reader: object) -> None:
    shape = (32, 48)
    with recording(tmp_path / "run") as (folder, journal, recorder):
        journal.set_classes(["flat", "round"])
        for seq in range(4):
            recorder.submit(frame(seq))
            table = objects(2)
            table["parent_id"], table["x_px"] = [0, 0 if seq < 2 else 101], seq
            table["track_id"][1] += 0 if seq < 2 else 10
            table["class_id"] = [1, -1]
            recorder.submit_result(seq, labels=label_pattern(seq, shape), objects=table)
    lineages = lineages_of_run(folder)
    assert lineages.pixel_size_um == 0.65
    assert np.isnan(lineages.spots["y_um"]).all()
    assert export_tracks(folder, trackmate=True) == [
        folder.path / name for name in (GEFF_NAME, SPOTS_NAME, EDGES_NAME)
    ]
    graph, meta = read_checked(geff_reader, folder.path / GEFF_NAME)
    assert sorted(graph.edges) == [(0, 2), (1, 3), (2, 4), (2, 5), (4, 6), (5, 7)]
    assert [graph.nodes[n]["t"] for n in graph] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert meta.axes[0].scale == pytest.approx(0.1)
    (labels,) = meta.related_objects
    assert (folder.path / GEFF_NAME / labels.path).resolve() == folder.labels(0)
    assert meta.extra["parfocal"]["classes"] == ["flat", "round"]
    assert [graph.nodes[n].get("class_id") for n in (0, 1)] == [1, None]


def test_a_run_without_tracks_leaves_none(tmp_path: Path) -> None:
    with recording(tmp_path / "run") as (folder, _, recorder):
        recorder.submit(frame(0))
    assert export_tracks(folder) == []
    assert not (folder.path / GEFF_NAME).exists()


def test_the_picture_of_a_family() -> None:
    picture = np.asarray(draw_lineage(gathered(FAMILY)))
    assert picture.shape[1:] == (1100, 3)
    assert (picture == LINE).all(axis=2).any()
    many = draw_lineage(gathered({f: [(n, 0) for n in range(1, 400)] for f in range(2)}))
    assert many.height < 4000  # 399 families: what does not fit is counted
    assert draw_lineage(gathered({})).height > 0
