"""Models: what a picture means. Knows arrays, and not where they came from.

Importing this package is cheap: tasks and engines are imported when a pipeline is loaded.
"""

from models.errors import EngineError, ImageError, ModelError, PipelineError
from models.pipeline import Pipeline, load_pipeline
from models.result import (
    OBJECT_DTYPE,
    DenoiseReport,
    EngineInfo,
    ImageContext,
    PipelineResult,
    Verdict,
)
from models.settings import PipelineSettings

__all__ = [
    "OBJECT_DTYPE",
    "DenoiseReport",
    "EngineError",
    "EngineInfo",
    "ImageContext",
    "ImageError",
    "ModelError",
    "Pipeline",
    "PipelineError",
    "PipelineResult",
    "PipelineSettings",
    "Verdict",
    "load_pipeline",
]
