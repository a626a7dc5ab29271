"""The pipeline that runs when its engine was lost for good and ``fallback`` names another."""

from __future__ import annotations

from models.settings import PipelineSettings


def on_fallback(settings: PipelineSettings) -> PipelineSettings:
    """The same pipeline with every network on the engine that ``fallback`` names.

    Eight bits stay, as they are in the file; every other precision becomes ``fp32``, which all
    engines know. Without ``fallback`` nothing is changed.
    """
    if settings.fallback is None:
        return settings
    changed: dict[str, object] = {}
    for stage in ("denoise", "segment", "classify"):
        one = getattr(settings, stage)
        if one is not None and hasattr(one, "engine"):
            precision = one.precision if one.precision == "int8" else "fp32"
            given = {"engine": settings.fallback, "precision": precision}
            changed[stage] = one.model_copy(update=given)
    return settings.model_copy(update=changed)
