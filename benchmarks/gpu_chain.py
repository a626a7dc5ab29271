"""Denoising and segmentation as one run on a GPU: one graph, the denoiser's state stays there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_runners import Feeds, OnnxRuntimeRunner, Runner
from models.engines.trt.flavours import FLAVOURS, Flavour


def merged(denoise: bytes, segment: bytes) -> bytes:
    """One graph of both: the denoised image goes on to the other network and is a result too.

    Inputs and outputs of the second network get the prefix ``seg_``, but its image, which is the
    denoised one.
    """
    import onnx
    from onnx import compose, helper

    first, second = (onnx.load_model_from_string(one) for one in (denoise, segment))
    axes = onnx.numpy_helper.from_array(np.array([0, 1], np.int64), "flat_axes")
    first.graph.initializer.append(axes)
    first.graph.node.append(helper.make_node("Squeeze", ["denoised", "flat_axes"], ["flat"]))
    lengths = second.graph.input[0].type.tensor_type.shape.dim
    free = [one.dim_param or one.dim_value for one in lengths]
    first.graph.output.append(helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, free))
    both = compose.merge_models(
        first,
        compose.add_prefix(second, "seg_"),
        io_map=[("flat", "seg_image")],
        outputs=["denoised", "state_out", "seg_labels", "seg_probability"],
    )
    # both sizes are those of the camera, and must be called the same
    for value in (*both.graph.input, *both.graph.output):
        for one, name in zip(
            list(value.type.tensor_type.shape.dim)[-2:], ("rows", "columns"), strict=False
        ):
            if one.dim_param:
                one.dim_param = f"16*{name}"
    del both.graph.value_info[:]
    return bytes(both.SerializeToString())


class ChainedRunner:
    """Both networks as one TensorRT engine; the state of the denoiser stays on the GPU."""

    def __init__(self, gpu: Any, plan: Any) -> None:
        from models.engines.trt.hotpath import HotPath

        self._hot = HotPath(gpu, plan, {"state": "state_out"})
        self._wanted = ("denoised", "seg_labels")
        self._started = False

    def frames(self, feeds: list[Feeds]) -> list[Feeds]:
        """Two under way at once."""
        done, ticket = [], None
        for one in feeds:
            given = {
                key: value for key, value in one.items() if not self._started or key != "state"
            }
            following = self._hot.submit(given, self._wanted)
            self._started = True
            if ticket is not None:
                done.append(self._hot.collect(ticket))
            ticket = following
        return done if ticket is None else [*done, self._hot.collect(ticket)]

    @property
    def no_graph(self) -> str:
        """Why nothing was captured; empty where it was."""
        return self._hot.no_graph

    def close(self) -> None:
        """Give the GPU's memory back."""
        self._hot.close()


class ChainedTorch:
    """Both networks in torch, the state kept on the device."""

    def __init__(self, folder: Path, device: str, half: bool, compiled: bool) -> None:
        import torch

        from models.training.rebuild import module_from_onnx

        self._torch, self._device, self._half = torch, device, half
        found = [
            module_from_onnx(folder / f"{name}.onnx").module.to(device)
            for name in ("denoise", "nuclei")
        ]
        self._first: Any
        self._second: Any
        self._first, self._second = (
            torch.compile(one, dynamic=False) if compiled else one for one in found
        )
        self._state: Any = None

    def frames(self, feeds: list[Feeds]) -> list[Feeds]:
        """One after the other."""
        torch, device = self._torch, self._device
        done = []
        with torch.inference_mode(), torch.autocast(device, torch.float16, enabled=self._half):
            for one in feeds:
                image, state, noise, fresh, limits, centre = (
                    torch.from_numpy(one[name]).to(device) if name in one else None
                    for name in ("image", "state", "noise", "fresh", "seg_limits", "seg_centre")
                )
                state = state if self._state is None else self._state
                denoised, self._state = self._first(image, state, noise, fresh)
                labels, _ = self._second(denoised[0, 0].float(), limits, centre)
                done.append(
                    {"denoised": denoised.cpu().numpy(), "seg_labels": labels.cpu().numpy()}
                )
        return done


class ChainedReplay:
    """Both networks in torch as one CUDA graph, convolutions in fp16; needs a GPU."""

    def __init__(self, folder: Path, compiled: bool) -> None:
        import torch

        from models.training.rebuild import module_from_onnx

        self._torch = torch
        parts: list[Any] = []
        for name in ("denoise", "nuclei"):
            rebuilt = module_from_onnx(folder / f"{name}.onnx")
            module = rebuilt.module.to("cuda")
            for inner in rebuilt.convolutions:
                part = module.get_submodule(inner).half()
                part.register_forward_pre_hook(_halved)
                part.register_forward_hook(_widened)
            parts.append(torch.compile(module, dynamic=False) if compiled else module)
        self._first, self._second = parts
        self._graph: Any = None
        self._staged: dict[str, Any] = {}
        self._given: dict[str, Any] = {}
        self._found: dict[str, Any] = {}
        self._results: list[dict[str, Any]] = []

    def frames(self, feeds: list[Feeds]) -> list[Feeds]:
        """One after the other; each result is good until the next but one."""
        torch = self._torch
        if self._graph is None:
            with torch.inference_mode():
                self._record(feeds[0])
        done = []
        for index, one in enumerate(feeds):
            self._staged["image"].copy_(torch.from_numpy(one["image"]))
            self._given["image"].copy_(self._staged["image"], non_blocking=True)
            self._graph.replay()
            results = self._results[index % 2]
            for name, tensor in results.items():
                tensor.copy_(self._found[name], non_blocking=True)
            torch.cuda.synchronize()
            done.append({name: tensor.numpy() for name, tensor in results.items()})
        return done

    def _record(self, frame: Feeds) -> None:
        torch = self._torch
        for name, array in frame.items():
            self._staged[name] = torch.from_numpy(array).pin_memory()
            self._given[name] = self._staged[name].cuda()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):  # what is compiled and chosen at the first runs is not recorded
                self._once()
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._found = self._once()
        self._results = [
            {name: torch.empty_like(one, device="cpu").pin_memory() for name, one in found.items()}
            for found in (self._found, self._found)
        ]

    def _once(self) -> dict[str, Any]:
        given = self._given
        denoised, state = self._first(
            given["image"], given["state"], given["noise"], given["fresh"]
        )
        given["state"].copy_(state)
        labels, _ = self._second(denoised[0, 0], given["seg_limits"], given["seg_centre"])
        return {"denoised": denoised, "seg_labels": labels}


def _halved(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one.half() for one in given)


def _widened(_: Any, given: tuple[Any, ...], made: Any) -> Any:
    del given
    return made.float()


def checked(path: Path, weights: Path, frame: Feeds) -> dict[str, Any]:
    """As far as a machine without a GPU goes: the graph of both is right, and engines are built."""
    (found,) = OnnxRuntimeRunner(path).frames([frame])
    alone = {key: value for key, value in frame.items() if not key.startswith("seg_")}
    (denoised,) = OnnxRuntimeRunner(weights / "denoise.onnx").frames([alone])
    image = {"image": denoised["denoised"][0, 0]}
    image |= {name: frame[f"seg_{name}"] for name in ("limits", "centre")}
    (labels,) = OnnxRuntimeRunner(weights / "nuclei.onnx").frames([image])
    if not np.array_equal(labels["labels"], found["seg_labels"]):
        raise ValueError("both networks in one graph give other labels than one after the other")
    built = {}
    for flavour in FLAVOURS:
        if flavour.installed and flavour.builds_without_gpu:
            from models.engines.trt.build import build_engine

            size = frame["image"].shape[-1]
            made = build_engine(path, flavour=flavour.name, shapes=f"{size}x{size}")
            built[flavour.name] = len(made.engine)
    return {"objects": int(found["seg_labels"].max()), "engine_bytes": built}


def chained(
    content: bytes, flavour: Flavour, size: int, timed: Callable[[Runner], dict[str, float]]
) -> dict[str, Any]:
    """Both as an engine on the GPU, timed."""
    from models.engines.trt.build import build_engine
    from models.engines.trt.cuda import open_cuda
    from models.engines.trt.plan import load_plan

    gpu = open_cuda()
    targets = (gpu.info.capability,) if flavour.builds_without_gpu else ()
    built = build_engine(
        content, flavour=flavour.name, shapes=f"{size}x{size}", capabilities=targets
    )
    plan = load_plan(flavour, built.engine)
    at_work = ChainedRunner(gpu, plan)
    try:
        return {**timed(at_work), "computes_in": built.precision, "no_graph": at_work.no_graph}
    finally:
        at_work.close()
        plan.close()
