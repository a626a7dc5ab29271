"""What TensorRT cannot do in a graph, said in other operations with the same result."""

from __future__ import annotations

from models.engines.ranks import shorten_sorts
from models.engines.trt.dense import dense_to_convolutions
from models.errors import EngineError, EngineFileError

TURING = "7.5"


def suited(content: bytes, targets: tuple[str, ...]) -> bytes:
    """An ONNX file that TensorRT takes; the same bytes where nothing had to change.

    Parameters
    ----------
    content
        The ONNX file.
    targets
        Compute capabilities that the engine is for, as ``8.6``.

    Raises
    ------
    EngineError
        When the graph must change and the package ``onnx`` is missing.
    """
    dense = TURING in targets and b"Gemm" in content
    if not dense and b"TopK" not in content:
        return content
    try:
        import onnx
    except ImportError as error:
        raise EngineError(
            "this network has operations that TensorRT lacks; putting others in their place needs "
            'the package onnx: `pip install "parfocal[gpu]"`'
        ) from error
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's errors share no base class
        raise EngineFileError(
            f"this is not an ONNX file: {error}; give one that is whole"
        ) from error
    changed = shorten_sorts(model)
    changed = (dense and dense_to_convolutions(model)) or changed
    return bytes(model.SerializeToString()) if changed else content
