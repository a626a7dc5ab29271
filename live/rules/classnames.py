"""Which classes a pipeline tells apart, known before it runs: from the card of its classifier."""

from __future__ import annotations

from models import PipelineSettings
from models.catalog import read_card, weights_path
from models.errors import PipelineError


def classes_of(pipeline: PipelineSettings) -> tuple[str, ...] | None:
    """Names of the classes, in the order that ``class_id`` counts; reads a small file.

    Returns
    -------
    tuple or None
        Empty for a pipeline that does not classify. None when the card cannot be read: loading the
        pipeline then says why, in its own words.
    """
    if pipeline.classify is None:
        return ()
    try:
        return tuple(read_card(weights_path(pipeline.classify.model)).classes)
    except PipelineError:
        return None
