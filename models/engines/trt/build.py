"""ONNX file to TensorRT engine. For ``tensorrt-rtx`` no GPU is needed.

Networks are strongly typed: each tensor has the type that the ONNX file gives it, so the precision
is that of the file and nothing is rounded unasked. ``models.building`` makes files of less than 32
bits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from models.engines.ranks import MOST_PIXELS
from models.engines.trt.flavours import Flavour, flavour_named, import_flavour, listening
from models.engines.trt.sizes import Sizes
from models.engines.trt.suited import suited
from models.errors import EngineError, EngineFileError

Progress = Callable[[float, str], None]
"""Called with the part that is done, 0 to 1, and what is being done; from other threads too."""


class Port(NamedTuple):
    """An input or output of an engine."""

    name: str
    type: str
    """``float32``, ``int32`` ..."""
    shape: tuple[int | None, ...]
    """Lengths of its axes, None where free within the sizes that it was built for."""


class Layer(NamedTuple):
    """A layer as it was given to the builder, before layers are joined."""

    name: str
    kind: str
    """``convolution``, ``topk`` ..."""
    type: str
    """Of its first result."""


@dataclass(frozen=True, slots=True)
class Built:
    """A serialised engine, and what is in it.

    ``models.engines.trt.engine.write_ahead`` writes it beside an ONNX file, where it is found.
    """

    engine: bytes
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    layers: tuple[Layer, ...]
    flavour: str
    flavour_version: str
    capabilities: tuple[str, ...]
    """GPUs that it was built for, as ``8.6``."""
    sizes: Sizes

    @property
    def precision(self) -> str:
        """``int8``, ``fp16``, ``bf16`` or ``fp32``: what the convolutions compute in."""
        return precision_of(self.layers)


def precision_of(layers: tuple[Layer, ...]) -> str:
    """What the convolutions of a network compute in; ``int8`` where values are quantised."""
    kinds = {layer.kind for layer in layers}
    if "quantize" in kinds:
        return "int8"
    types = Counter(layer.type for layer in layers if layer.kind == "convolution")
    if not types:
        return "fp32"
    named = {"float16": "fp16", "bfloat16": "bf16"}
    return named.get(types.most_common(1)[0][0], "fp32")


def build_engine(
    onnx: bytes | Path,
    *,
    flavour: str,
    shapes: Sizes | str | None = None,
    capabilities: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Built:
    """Build a TensorRT engine; blocks for a second (``tensorrt-rtx``) up to minutes.

    Parameters
    ----------
    onnx
        ONNX file or its bytes, of any precision.
    flavour
        ``tensorrt-rtx`` or ``tensorrt``.
    shapes
        Image sizes that it must take, a `Sizes` or text as `Sizes.parse` reads; None for any from
        16 x 16 to 4096 x 4096 (of `MOST_PIXELS` where it sorts them).
    capabilities
        Compute capabilities of the GPUs that it must run on, as ``8.6``, for ``tensorrt-rtx``;
        none for all that it knows. ``tensorrt`` builds for the GPU in this machine alone.
    progress
        Told how far it is.

    Raises
    ------
    EngineError
        When the flavour is missing, the network does not parse, or no engine comes of it. The
        message carries TensorRT's own words.
    """
    kind = flavour_named(flavour)
    trt = import_flavour(kind)
    said = listening(kind)
    said.lines.clear()
    source = onnx.name if isinstance(onnx, Path) else "the ONNX file"
    targets = _targets(kind, capabilities)
    content = suited(_read(onnx), targets)
    sizes = Sizes.parse(shapes) if isinstance(shapes, str) else shapes or Sizes()
    if b"TopK" in content and math.prod(sizes.least) > MOST_PIXELS:
        raise EngineError(
            f"{flavour} cannot build {source} for {sizes}: it takes images of up to {MOST_PIXELS} "
            "pixels, larger ones go through it in tiles"
        )

    try:
        builder = trt.Builder(said.logger)
    except (TypeError, RuntimeError) as error:  # what its bindings make of a null pointer
        reason = said.last()
        raise EngineError(
            f"{flavour} cannot build here: {reason}; it needs an NVIDIA GPU and its driver"
        ) from error
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, said.logger)
    if not parser.parse(content):
        reasons = "; ".join(str(parser.get_error(k)) for k in range(parser.num_errors))
        raise EngineFileError(f"{flavour} cannot read {source}: {reasons or said.last()}")
    if not network.num_inputs:
        raise EngineFileError(f"{flavour} cannot read {source}: there is no network in it")
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # TF32 would drop 13 of the 23 bits of each factor under the name of fp32
    config.clear_flag(trt.BuilderFlag.TF32)
    if kind.builds_without_gpu:
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            config.set_compute_capability(_capability(trt, target), index)
    _add_profile(builder, config, content, sizes)
    if progress is not None:
        config.progress_monitor = _monitor(trt, progress)
    try:
        made = builder.build_serialized_network(network, config)
    except RuntimeError as error:
        raise EngineError(f"{flavour} cannot build {source}: {error}; {said.last()}") from error
    if made is None:
        raise EngineError(f"{flavour} cannot build {source} for {sizes}: {said.last()}")
    if progress is not None:
        progress(1.0, "done")
    return Built(
        engine=bytes(made),
        inputs=tuple(_port(network.get_input(k)) for k in range(network.num_inputs)),
        outputs=tuple(_port(network.get_output(k)) for k in range(network.num_outputs)),
        layers=tuple(_layer(network.get_layer(k)) for k in range(network.num_layers)),
        flavour=flavour,
        flavour_version=str(trt.__version__),
        capabilities=targets,
        sizes=sizes,
    )


def _read(onnx: bytes | Path) -> bytes:
    if isinstance(onnx, bytes):
        return onnx
    if not onnx.is_file():
        raise EngineError(f"no model at {onnx}; give the path of an ONNX file")
    return onnx.read_bytes()


def _targets(flavour: Flavour, asked: tuple[str, ...]) -> tuple[str, ...]:
    if not flavour.builds_without_gpu:
        return asked
    for one in asked:
        if one not in flavour.capabilities:
            raise EngineError(
                f"{flavour.name} builds for GPUs of compute capability "
                f"{', '.join(flavour.capabilities)}, not {one!r}; for others use engine tensorrt"
            )
    return asked or flavour.capabilities


def _capability(trt: Any, name: str) -> Any:
    return getattr(trt.ComputeCapability, f"SM{name.replace('.', '')}")


def _add_profile(builder: Any, config: Any, content: bytes, sizes: Sizes) -> None:
    """Tell the builder which lengths the free axes will have."""
    profile = builder.create_optimization_profile()
    for name, (least, usual, most) in sizes.ranges(_axes(content)).items():
        profile.set_shape(name, least, usual, most)
    config.add_optimization_profile(profile)


def _axes(content: bytes) -> dict[str, tuple[int | str, ...]]:
    """Axes of each input with the names of the free ones, which TensorRT does not keep."""
    # not by opening it with an engine for CPUs: those have no bf16
    import onnx

    graph = onnx.load_model_from_string(content).graph
    constant = {one.name for one in graph.initializer}
    return {
        given.name: tuple(
            length.dim_value if length.HasField("dim_value") else length.dim_param or "free"
            for length in given.type.tensor_type.shape.dim
        )
        for given in graph.input
        if given.name not in constant
    }


def _port(tensor: Any) -> Port:
    lengths = tuple(length if length >= 0 else None for length in tensor.shape)
    return Port(str(tensor.name), _type(tensor.dtype), lengths)


def _layer(layer: Any) -> Layer:
    first = layer.get_output(0) if layer.num_outputs else None
    made = "" if first is None else _type(first.dtype)
    return Layer(str(layer.name), str(layer.type.name).lower(), made)


def _type(dtype: Any) -> str:
    names = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "BOOL": "bool"}
    return names.get(dtype.name, str(dtype.name).lower())


def _monitor(trt: Any, progress: Progress) -> Any:
    """TensorRT's own reports of its phases, which lie within each other, as one number."""

    parent: Any = trt.IProgressMonitor

    class Monitor(parent):  # type: ignore[misc]
        def __init__(self) -> None:
            parent.__init__(self)
            self._steps: dict[str, list[int]] = {}
            self._inside: dict[str, str] = {}
            self._outer = ""
            self._told = 0.0

        def phase_start(self, name: str, outer: str | None, steps: int) -> None:
            self._steps[name] = [0, max(steps, 1)]
            if outer is None:
                self._outer = name
            else:
                self._inside[outer] = name

        def step_complete(self, name: str, step: int) -> bool:
            if name in self._steps:
                self._steps[name][0] = step + 1
                # a phase that has ended counts for its outer one only a moment later
                self._told = max(self._told, self._share(self._outer))
                progress(self._told, name)
            return True

        def phase_finish(self, name: str) -> None:
            self._steps.pop(name, None)

        def _share(self, name: str) -> float:
            if name not in self._steps:
                return 0.0
            done, of = self._steps[name]
            return min((done + self._share(self._inside.get(name, ""))) / of, 1.0)

    return Monitor()
