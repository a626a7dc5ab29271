"""Errors of the model side.

::

    ModelError
    ├── PipelineError      settings of a pipeline that cannot work; the run does not start
    ├── EngineError        an engine is missing, or does not run where it was asked to
    └── ImageError         one image is not what the pipeline takes: refused and counted
"""


class ModelError(Exception):
    """Root of every error that the model side raises."""


class PipelineError(ModelError):
    """Settings of a pipeline that cannot work."""


class EngineError(ModelError):
    """An engine is not installed, failed, or would run on another device than asked."""


class ImageError(ModelError):
    """An image that the pipeline does not take."""
