"""What bounds a network on a GPU: its operations and bytes counted, the GPU's own measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.engines.trt.device import Gpu
from models.engines.trt.flavours import Flavour


def counted(path: Path, size: int) -> dict[str, float]:
    """Operations (a multiplication and an addition are two) and bytes in float32 at one size."""
    import onnx

    model = onnx.load(str(path))
    for value in model.graph.input:
        lengths = value.type.tensor_type.shape.dim
        if any(one.dim_param for one in lengths):
            for one in list(lengths)[-2:]:
                one.ClearField("dim_param")
                one.dim_value = size
    for value in model.graph.output:
        for one in value.type.tensor_type.shape.dim:
            one.ClearField("dim_param")
    del model.graph.value_info[:]
    known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shape = {
        value.name: [one.dim_value for one in value.type.tensor_type.shape.dim]
        for value in (*known.value_info, *known.input, *known.output)
    }
    weights = {one.name: list(one.dims) for one in model.graph.initializer}
    operations = traffic = 0.0
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        kernel, taken, made = weights[node.input[1]], shape[node.input[0]], shape[node.output[0]]
        # each weight meets each pixel of the smaller side: the input of a transposed one
        side = made if node.op_type == "Conv" else taken
        operations += 2.0 * np.prod(kernel) * np.prod(side[2:])
        traffic += 4.0 * (np.prod(taken) + np.prod(made) + np.prod(kernel))
    ends = [*shape[model.graph.input[0].name], *shape[model.graph.output[0].name]]
    if min(ends) < 1 or not operations:
        raise ValueError(f"the sizes inside {path.name} could not be found out")
    return {"gigaoperations": operations / 1e9, "megabytes_fp32": traffic / 1e6}


def peaks_of(device: str) -> dict[str, float]:
    """Copies, and products of large matrices where torch is there."""
    found: dict[str, float] = {}
    if device == "cuda":
        from models.engines.trt.cuda import open_cuda

        found |= copies(open_cuda(), 256 << 20)
    try:
        import torch
    except ImportError:
        return found
    n = 8192 if device == "cuda" else 256
    for precision, dtype in (("fp32", torch.float32), ("fp16", torch.float16)):
        a = torch.rand(n, n, device=device).to(dtype)
        seconds = seconds_of(partial(_multiplied, a), 5)
        found[f"teraoperations_{precision}"] = 2 * n**3 / seconds / 1e12
    return found


def _multiplied(a: Any) -> float:
    # the one number that is read makes this wait for the product
    return float((a @ a)[0, 0].item())


def bounds_of(
    needs: Mapping[str, Mapping[str, float]], top: Mapping[str, float]
) -> dict[str, dict[str, float | None]]:
    """Least milliseconds of each network, by its operations and by its traffic."""
    found: dict[str, dict[str, float | None]] = {}
    for name, need in needs.items():
        for precision, bytes_each in (("fp32", 1.0), ("fp16", 0.5)):
            speed = top.get(f"teraoperations_{precision}")
            copied = top.get("gigabytes_per_s_within")
            compute = need["gigaoperations"] / speed if speed else None
            memory = need["megabytes_fp32"] * bytes_each / copied if copied else None
            known = [value for value in (compute, memory) if value is not None]
            found[f"{name} {precision}"] = {
                "ms_compute": compute, "ms_memory": memory, "ms_bound": max(known, default=None)
            }  # fmt: skip
    return found


def built(flavour: Flavour, path: Path, precision: str, load: bool) -> dict[str, Any]:
    """Build an engine of a file, and load it where there is a GPU, whatever our table says."""
    from models.engines.trt.build import build_engine
    from models.engines.trt.plan import load_plan

    start = time.perf_counter()
    made = build_engine(path, flavour=flavour.name)
    found = {"bytes": len(made.engine), "seconds": time.perf_counter() - start}
    if made.precision != precision:
        raise ValueError(f"{path.name} computes in {made.precision}, not {precision}")
    if load:
        load_plan(flavour, made.engine).close()
    return found


def copies(gpu: Gpu, size: int) -> dict[str, float]:
    """Gigabytes a second of each kind of copy."""
    host, a, b, stream = gpu.host_memory(size), gpu.memory(size), gpu.memory(size), gpu.stream()
    found = {}
    try:
        for name, copy, to, source, passes in (
            ("host_to_gpu", gpu.to_gpu, a, host, 1),
            ("gpu_to_host", gpu.to_host, host, a, 1),
            ("within", gpu.within, b, a, 2),
        ):

            def once(copy: Any = copy, to: int = to, source: int = source) -> None:
                copy(to, source, size, stream)
                gpu.finish_stream(stream, 30)

            found[f"gigabytes_per_s_{name}"] = passes * size / seconds_of(once, 10) / 1e9
    finally:
        gpu.free_stream(stream)
        gpu.free_host(host)
        gpu.free(a)
        gpu.free(b)
    return found


def seconds_of(call: Callable[[], Any], rounds: int) -> float:
    """Median seconds of a call, after one that does not count."""
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
