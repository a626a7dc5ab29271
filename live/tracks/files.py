"""Tracks for other programs: GEFF, and CSV files as TrackMate exports them.

GEFF, the graph exchange file format, is a Zarr group with an array for each property of the nodes
and edges of a graph; napari, Mastodon, ultrack, traccuracy and others read it. Arrays are of Zarr
format 2, as the reference implementation writes them and every reader takes them.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorstore
from numpy.typing import NDArray

from live.tracks.lineage import Lineages

GEFF_NAME: Final = "tracks.geff"
GEFF_VERSION: Final = "1.3"
SPOTS_NAME: Final = "trackmate_spots.csv"
EDGES_NAME: Final = "trackmate_edges.csv"
_CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True)
class _Prop:
    """One property of nodes or edges."""

    values: NDArray[Any]
    unit: str | None = None
    about: str | None = None
    missing: NDArray[np.bool_] | None = None


def write_geff(path: Path, lineages: Lineages, *, labels: Path | None = None) -> None:
    """Write tracks with lineage as GEFF; what lies at ``path`` is replaced when all is written.

    Parameters
    ----------
    path
        Folder to make, such as ``tracks.geff``.
    lineages
        The tracks; node ids are the places of the objects in it.
    labels
        OME-Zarr of the label images that ``label`` counts in, on the same t axis.

    Raises
    ------
    OSError, ValueError
        When it cannot be written.
    """
    part = path.with_name(f".{path.name}.partial-{os.getpid()}")
    nodes, edges = _node_props(lineages), _edge_props(lineages)
    ids = np.arange(len(lineages.spots), dtype=np.uint64)
    try:
        _write_group(part, {"geff": _metadata(lineages, nodes, edges, _beside(path, labels))})
        _write_part(part / "nodes", ids, nodes)
        _write_part(part / "edges", lineages.edges.astype(np.uint64), edges)
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_trackmate(folder: Path, lineages: Lineages) -> list[Path]:
    """Write ``trackmate_spots.csv`` and ``trackmate_edges.csv`` as TrackMate's tables are.

    The first line has the keys, the next three names, short names and units. A track is there a
    whole family, divisions included, and counts from 0; an object without links has none.
    Positions are in the image, in micron where the size of a pixel is known; times in seconds where
    they are known.

    Returns
    -------
    list[Path]
        The two files.
    """
    spots, size = lineages.spots, lineages.pixel_size_um
    scale, space = (size, "micron") if size else (1.0, "pixel")
    t, time = spots["time_s"], "sec"
    if np.isnan(t).any():
        t, time = spots["frame"].astype(np.float64), "frame"
    edges = lineages.edges
    families, inside = np.unique(lineages.lineage[edges[:, 1]], return_inverse=True)
    at = np.minimum(np.searchsorted(families, lineages.lineage), max(len(families) - 1, 0))
    linked = families[at] == lineages.lineage if len(families) else np.zeros(len(spots), bool)
    y, x = spots["y_px"] * scale, spots["x_px"] * scale
    n = len(spots)
    _write_csv(folder / SPOTS_NAME, _spot_columns(space, time), (
        [f"ID{k}" for k in range(n)],
        list(range(n)),
        [int(k) if known else "" for k, known in zip(at, linked, strict=True)],
        _texts(spots["confidence"]), _texts(x), _texts(y), ["0"] * n, _texts(t),
        spots["frame"].tolist(),
        _texts(np.sqrt(spots["area_px"] / np.pi) * scale),
        ["1"] * n, [""] * n,
        _texts(spots["mean_intensity"]), _texts(spots["max_intensity"]),
        _texts(spots["area_px"] * scale**2),
        spots["track_id"].tolist(), spots["parent_id"].tolist(), spots["label"].tolist(),
    ))  # fmt: skip
    first, last = edges[:, 0], edges[:, 1]
    far = np.hypot(y[last] - y[first], x[last] - x[first])
    took = t[last] - t[first]
    speed = np.divide(far, took, out=np.zeros(len(far)), where=took > 0)
    _write_csv(folder / EDGES_NAME, _edge_columns(space, time), (
        [f"ID{a} → ID{b}" for a, b in edges.tolist()],
        inside.tolist(), first.tolist(), last.tolist(), [""] * len(edges),
        _texts(speed), _texts(far),
        *(_texts((v[first] + v[last]) / 2) for v in (t, x, y)), ["0"] * len(edges),
    ))  # fmt: skip
    return [folder / SPOTS_NAME, folder / EDGES_NAME]


def _texts(values: NDArray[Any]) -> list[str]:
    return [f"{value:.8g}" for value in values.tolist()]


def _spot_columns(space: str, time: str) -> Sequence[tuple[str, str, str, str]]:
    return (
        ("LABEL", "Label", "Label", ""),
        ("ID", "Spot ID", "Spot ID", ""),
        ("TRACK_ID", "Track ID", "Track ID", ""),
        ("QUALITY", "Quality", "Quality", "(quality)"),
        ("POSITION_X", "X", "X", f"({space})"),
        ("POSITION_Y", "Y", "Y", f"({space})"),
        ("POSITION_Z", "Z", "Z", f"({space})"),
        ("POSITION_T", "T", "T", f"({time})"),
        ("FRAME", "Frame", "Frame", ""),
        ("RADIUS", "Radius", "R", f"({space})"),
        ("VISIBILITY", "Visibility", "Visibility", ""),
        ("MANUAL_SPOT_COLOR", "Manual spot color", "Spot color", ""),
        ("MEAN_INTENSITY_CH1", "Mean intensity ch1", "Mean ch1", "(counts)"),
        ("MAX_INTENSITY_CH1", "Max intensity ch1", "Max ch1", "(counts)"),
        ("AREA", "Area", "Area", f"({space}^2)"),
        # beyond what TrackMate knows: ids as published, with one for each daughter
        ("CELL_ID", "Cell ID", "Cell ID", ""),
        ("PARENT_CELL_ID", "Mother cell ID", "Mother ID", ""),
        ("MASK_LABEL", "Label in the mask", "Mask label", ""),
    )


def _edge_columns(space: str, time: str) -> Sequence[tuple[str, str, str, str]]:
    return (
        ("LABEL", "Label", "Label", ""),
        ("TRACK_ID", "Track ID", "Track ID", ""),
        ("SPOT_SOURCE_ID", "Source spot ID", "Source ID", ""),
        ("SPOT_TARGET_ID", "Target spot ID", "Target ID", ""),
        ("LINK_COST", "Edge cost", "Cost", "(cost)"),
        ("SPEED", "Speed", "Speed", f"({space}/{time})"),
        ("DISPLACEMENT", "Displacement", "Disp.", f"({space})"),
        ("EDGE_TIME", "Edge time", "Edge T", f"({time})"),
        ("EDGE_X_LOCATION", "Edge X", "Edge X", f"({space})"),
        ("EDGE_Y_LOCATION", "Edge Y", "Edge Y", f"({space})"),
        ("EDGE_Z_LOCATION", "Edge Z", "Edge Z", f"({space})"),
    )


def _write_csv(
    path: Path, heads: Sequence[tuple[str, ...]], columns: Sequence[Sequence[object]]
) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerows(zip(*heads, strict=True))
        out.writerows(zip(*columns, strict=True))


def _node_props(lineages: Lineages) -> dict[str, _Prop]:
    spots = lineages.spots
    props = {
        "t": _Prop(spots["frame"], "frame"),
        "y": _Prop(spots["y_px"].astype(np.float64), "pixel"),
        "x": _Prop(spots["x_px"].astype(np.float64), "pixel"),
        "label": _Prop(spots["label"], about="value in the label image of that frame"),
        "track_id": _Prop(spots["track_id"], about="id as published; daughters have new ones"),
        "parent_id": _Prop(spots["parent_id"], about="track id of the mother, 0 for none"),
        "tracklet_id": _Prop(lineages.tracklet, about="unbranched piece"),
        "lineage_id": _Prop(lineages.lineage, about="family"),
        "radius": _Prop(np.sqrt(spots["area_px"] / np.pi), "pixel", "of the disc of same area"),
        "area": _Prop(spots["area_px"], about="pixels"),
        "mean_intensity": _Prop(spots["mean_intensity"], about="camera counts"),
        "max_intensity": _Prop(spots["max_intensity"], about="camera counts"),
        "confidence": _Prop(spots["confidence"], about="of the object, 0 to 1"),
    }
    if not np.isnan(spots["time_s"]).any():
        props["time_s"] = _Prop(spots["time_s"], "second", "since the first frame")
    on_stage = ~np.isnan(spots["y_um"])
    if on_stage.any():
        gone = None if on_stage.all() else ~on_stage
        for name in ("y_um", "x_um"):
            filled = np.where(on_stage, spots[name], 0.0)
            props[name] = _Prop(filled, "micrometer", "centroid on the stage", gone)
    if lineages.classes:
        unknown = spots["class_id"] < 0
        about = "counts into: " + ", ".join(lineages.classes)
        props["class_id"] = _Prop(
            np.where(unknown, 0, spots["class_id"]).astype(np.int16), None, about,
            unknown if unknown.any() else None,
        )  # fmt: skip
    return props


def _edge_props(lineages: Lineages) -> dict[str, _Prop]:
    edges, frame = lineages.edges, lineages.spots["frame"]
    track = lineages.spots["track_id"]
    return {
        "division": _Prop(
            track[edges[:, 0]] != track[edges[:, 1]], about="from a mother to a daughter"
        ),
        "frames": _Prop(
            frame[edges[:, 1]] - frame[edges[:, 0]], "frame", "more than 1 where it was not seen"
        ),
    }


def _metadata(
    lineages: Lineages,
    nodes: Mapping[str, _Prop],
    edges: Mapping[str, _Prop],
    labels: str | None,
) -> dict[str, Any]:
    step, size = _interval_s(lineages.spots), lineages.pixel_size_um
    axes = []
    for name, kind, unit, scale, scaled in (
        ("t", "time", "frame", step, "second"),
        ("y", "space", "pixel", size, "micrometer"),
        ("x", "space", "pixel", size, "micrometer"),
    ):
        axis: dict[str, Any] = {"name": name, "type": kind, "unit": unit}
        values = nodes[name].values
        if len(values):
            axis |= {"min": float(values.min()), "max": float(values.max())}
        if scale:
            axis |= {"scale": scale, "scaled_unit": scaled}
        axes.append(axis)
    said: dict[str, Any] = {
        "geff_version": GEFF_VERSION,
        "directed": True,
        "axes": axes,
        "node_props_metadata": _described(nodes),
        "edge_props_metadata": _described(edges),
        "sphere": "radius",
        "track_node_props": {"lineage": "lineage_id", "tracklet": "tracklet_id"},
        "display_hints": {
            "display_horizontal": "x", "display_vertical": "y", "display_time": "t",
        },
        "extra": {"parfocal": {"classes": list(lineages.classes)}},
    }  # fmt: skip
    if labels is not None:
        said["related_objects"] = [{"type": "labels", "path": labels, "node_prop": "label"}]
    return said


def _described(props: Mapping[str, _Prop]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "identifier": name,
            "dtype": prop.values.dtype.name,
            "varlength": False,
            "unit": prop.unit,
            "description": prop.about,
        }
        for name, prop in props.items()
    }


def _interval_s(spots: NDArray[np.void]) -> float:
    """Mean time between frames; 0 where it is not known."""
    if not len(spots) or np.isnan(spots["time_s"]).any():
        return 0.0
    frames = int(spots["frame"][-1]) - int(spots["frame"][0])
    return float(spots["time_s"][-1] - spots["time_s"][0]) / frames if frames else 0.0


def _beside(path: Path, labels: Path | None) -> str | None:
    return None if labels is None else Path(os.path.relpath(labels, path)).as_posix()


def _write_part(folder: Path, ids: NDArray[np.uint64], props: Mapping[str, _Prop]) -> None:
    _write_group(folder)
    _write_array(folder / "ids", ids)
    _write_group(folder / "props")
    for name, prop in props.items():
        _write_group(folder / "props" / name)
        _write_array(folder / "props" / name / "values", prop.values)
        if prop.missing is not None:
            _write_array(folder / "props" / name / "missing", prop.missing)


def _write_group(folder: Path, attributes: Mapping[str, Any] | None = None) -> None:
    folder.mkdir(parents=True)
    (folder / ".zgroup").write_text(json.dumps({"zarr_format": 2}), encoding="utf-8")
    if attributes is not None:
        text = json.dumps(attributes, indent=1, allow_nan=False)
        (folder / ".zattrs").write_text(text, encoding="utf-8")


def _write_array(path: Path, values: NDArray[Any]) -> None:
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": str(path)},
        "metadata": {
            "shape": list(values.shape),
            "chunks": [min(max(len(values), 1), _CHUNK), *values.shape[1:]],
            "dtype": np.dtype(values.dtype).newbyteorder("<").str,
            "compressor": {"id": "zstd", "level": 3},
            "fill_value": None,
        },
        "create": True,
    }
    array = tensorstore.open(spec).result()
    if len(values):
        array[...].write(np.ascontiguousarray(values)).result()
