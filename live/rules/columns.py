"""What a rule's condition can speak of: every column, its type and its meaning.

Columns of the object table have one value per object, those of the frame one per frame. A value
that is not known (a class where none is told apart, a change before there is anything to compare
with) is NULL, and a comparison with NULL does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SqlType = Literal["DOUBLE", "BIGINT", "BOOLEAN", "VARCHAR"]


@dataclass(frozen=True, slots=True)
class Column:
    """One name that a condition can use."""

    type: SqlType
    meaning: str
    field: str = ""
    """Field of ``OBJECT_DTYPE`` that it is, unchanged; empty where it is worked out."""


OBJECT_COLUMNS: dict[str, Column] = {
    "id": Column("BIGINT", "number of the track", "track_id"),
    "parent": Column("BIGINT", "track that divided into this one; 0 for none", "parent_id"),
    "age": Column("BIGINT", "frames in which the object was seen", "age_frames"),
    "area": Column("DOUBLE", "px²", "area_px"),
    "area_change": Column("DOUBLE", "area in its own mean over the last 10 sights"),
    "speed": Column("DOUBLE", "px per frame", "speed_px"),
    "speed_um": Column("DOUBLE", "µm per frame; NULL where uncalibrated"),
    "y": Column("DOUBLE", "centre, px", "y_px"),
    "x": Column("DOUBLE", "centre, px", "x_px"),
    "y_um": Column("DOUBLE", "centre on the stage, µm; NULL where uncalibrated", "y_um"),
    "x_um": Column("DOUBLE", "centre on the stage, µm; NULL where uncalibrated", "x_um"),
    "mean": Column("DOUBLE", "mean raw camera counts", "mean_intensity"),
    "max": Column("DOUBLE", "highest raw camera counts", "max_intensity"),
    "mean_change": Column("DOUBLE", "mean in its own baseline, which sudden events do not move"),
    "mean_denoised": Column("DOUBLE", "mean of the denoised image, or raw", "mean_denoised"),
    "max_denoised": Column("DOUBLE", "highest of the denoised image, or raw", "max_denoised"),
    "mean_denoised_change": Column("DOUBLE", "mean_denoised in its own baseline"),
    "major": Column("DOUBLE", "long axis, px", "major_px"),
    "minor": Column("DOUBLE", "short axis, px", "minor_px"),
    "eccentricity": Column("DOUBLE", "0 round to 1 line", "eccentricity"),
    "confidence": Column("DOUBLE", "of the segmentation, 0 to 1", "confidence"),
    "perimeter": Column("DOUBLE", "px; NULL without `measure`, as the five below", "perimeter_px"),
    "min": Column("DOUBLE", "lowest raw camera counts", "min_intensity"),
    "std": Column("DOUBLE", "standard deviation of raw camera counts inside", "std_intensity"),
    "roughness": Column("DOUBLE", "grain inside, raw camera counts", "roughness"),
    "neighbours": Column("DOUBLE", "objects that touch it"),
    "nearest": Column("DOUBLE", "to the nearest other centre, px", "nearest_px"),
    "class": Column("VARCHAR", "name of the class; NULL where not classified"),
    "p": Column("DOUBLE", "probability of that class", "class_probability"),
    "uncertainty": Column("DOUBLE", "0 sure to 1; NULL where not checked"),
    "divided": Column("BOOLEAN", "first frame of a daughter", "divided"),
    "appeared": Column("BOOLEAN", "first frame of an object that is no daughter"),
    "in_roi": Column("BOOLEAN", "centre inside the rule's `roi`"),
    "entered_roi": Column("BOOLEAN", "inside now, outside when last seen"),
    "left_roi": Column("BOOLEAN", "outside now, inside when last seen"),
}

FRAME_COLUMNS: dict[str, Column] = {
    "n": Column("BIGINT", "objects in the frame"),
    "n_left": Column("BIGINT", "objects at the border one frame ago that are gone now"),
    "n_change": Column("DOUBLE", "n in its own baseline at this place"),
    "confluence": Column("DOUBLE", "part of the image that objects cover, 0 to 1"),
    "contrast": Column("DOUBLE", "median over objects of (max - mean) / mean; falls out of focus"),
    "contrast_change": Column("DOUBLE", "contrast in its own baseline at this place"),
    "rate_divisions": Column("DOUBLE", "divisions per minute over the last 5 minutes"),
    "t_s": Column("DOUBLE", "seconds since the first frame"),
    "stage_x_um": Column("DOUBLE", "where the stage stood"),
    "stage_y_um": Column("DOUBLE", "where the stage stood"),
    "stage_z_um": Column("DOUBLE", "where the focus stood"),
    "position": Column("VARCHAR", "name of the plan's position; empty where it has none"),
    "position_number": Column("BIGINT", "place in the plan's list of positions; -1 for none"),
    "channel": Column("VARCHAR", "preset of the channel group"),
    "exposure_ms": Column("DOUBLE", "of the frame"),
    "in_burst": Column("BOOLEAN", "the frame was asked for by a rule"),
}

COLUMNS: dict[str, Column] = {**OBJECT_COLUMNS, **FRAME_COLUMNS}
DENOISED_COLUMNS = {
    "mean": "mean_denoised", "max": "max_denoised", "mean_change": "mean_denoised_change",
}  # fmt: skip
"""What a rule with ``decide_on: denoised`` means by its intensities."""
ROI_COLUMNS = ("in_roi", "entered_roi", "left_roi")
"""These differ from rule to rule."""

FUNCTIONS = frozenset(
    (
        "abs",
        "least",
        "greatest",
        "sqrt",
        "ln",
        "log",
        "log2",
        "log10",
        "exp",
        "power",
        "pow",
        "round",
        "floor",
        "ceil",
        "ceiling",
        "sign",
        "mod",
        "atan2",
        "sin",
        "cos",
        "coalesce",
        "nullif",
        "ifnull",
        "if",
        "lower",
        "upper",
        "contains",
        "starts_with",
    )
)
OPERATORS = frozenset(("+", "-", "*", "/", "//", "%", "^", "**", "~~", "!~~", "~~*", "!~~*", "||"))
"""DuckDB calls these functions too; the ones with ~~ are LIKE and ILIKE."""
NAN_MAKERS = frozenset(
    (
        "sqrt",
        "ln",
        "log",
        "log2",
        "log10",
        "exp",
        "power",
        "pow",
        "mod",
        "/",
        "%",
        "^",
        "**",
        "sin",
        "cos",
    )
)
"""What can come out as not a number, which DuckDB takes as larger than any: made NULL."""
AGGREGATES = frozenset(
    (
        "count",
        "count_star",
        "sum",
        "avg",
        "mean",
        "min",
        "max",
        "median",
        "stddev",
        "stddev_samp",
        "variance",
        "quantile_cont",
        "bool_and",
        "bool_or",
    )
)
CAST_TYPES = frozenset(("DOUBLE", "FLOAT", "INTEGER", "BIGINT", "BOOLEAN", "VARCHAR"))
