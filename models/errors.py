"""Errors of the model side.

::

    ModelError
    ├── PipelineError      settings of a pipeline that cannot work; the run does not start
    ├── EngineError        an engine is missing, or does not run where it was asked to
    │   ├── EngineFileError      the model file is damaged or not one
    │   ├── EngineVersionError   the file was made for another version
    │   ├── EngineShapeError     an array has another shape or type than it must have
    │   ├── EngineValueError     the answer is not a number
    │   ├── EngineOutOfMemory    the device has no memory left; smaller images may do
    │   └── EngineDeviceLost     the device no longer answers; the process must start again
    └── ImageError         one image is not what the pipeline takes: refused and counted
"""


class ModelError(Exception):
    """Root of every error that the model side raises."""


class PipelineError(ModelError):
    """Settings of a pipeline that cannot work."""


class EngineError(ModelError):
    """An engine is not installed, failed, or would run on another device than asked."""


class EngineFileError(EngineError):
    """A model file that is damaged, cut short, or no model."""


class EngineVersionError(EngineError):
    """A model file made for another version of the engine."""


class EngineShapeError(EngineError):
    """An array that goes in or comes out has another shape or type than it must have."""


class EngineValueError(EngineError):
    """An answer with values that are not numbers."""


class EngineOutOfMemory(EngineError):
    """The device has no memory left; smaller images may still fit."""


class EngineDeviceLost(EngineError):
    """The device no longer answers; only a new process can use it again."""


class ImageError(ModelError):
    """An image that the pipeline does not take."""
