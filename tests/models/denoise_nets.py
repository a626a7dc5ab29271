"""Small networks with the form of a denoiser, whose answers are known exactly.

``python -m tests.models.denoise_nets`` writes them to ``tests/data/denoise``; it needs ``onnx``.

- ``average``: the mean of this frame (weight 0.25) and of what it kept; alone, the frame itself.
- ``steady``: the same with another weight, for a change of weights.
- ``deep``: the same with a state of two channels.
- ``blur``: this frame alone through a Gaussian of 4 px: a network that removes detail.
- ``broken``: the frame divided by the first of the kept; with the state it makes, no number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

NETS = Path(__file__).parents[1] / "data" / "denoise"
WEIGHT = 0.25


def _write(
    name: str, nodes: list[Any], constants: dict[str, np.ndarray], channels: int = 1
) -> None:
    from onnx import TensorProto, checker, helper, numpy_helper, save

    def tensor(name: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        name,
        [
            tensor("image", [1, 1, "h", "w"]),
            tensor("state", [1, channels, "h", "w"]),
            tensor("noise", [3]),
            tensor("fresh", [1]),
        ],
        [tensor("denoised", [1, 1, "h", "w"]), tensor("state_out", [1, channels, "h", "w"])],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    checker.check_model(model)
    NETS.mkdir(parents=True, exist_ok=True)
    save(model, str(NETS / f"{name}.onnx"))
    card = f"---\nname: {name}\ntask: denoise\nsummary: For tests.\npixel_multiple: 8\n---\n"
    (NETS / f"{name}.md").write_text(card, encoding="utf-8")


def _average(name: str, weight: float, channels: int = 1) -> None:
    from onnx.helper import make_node

    nodes = [
        # weight of the frame: 1 where it is the first
        make_node("Max", ["fresh", "least"], ["weight"]),
        make_node("Sub", ["one", "weight"], ["rest"]),
        make_node("Mul", ["image", "weight"], ["new"]),
        make_node("ReduceMean", ["state", "axes"], ["mean"], keepdims=1),
        make_node("Mul", ["mean", "rest"], ["old"]),
        make_node("Add", ["new", "old"], ["denoised"]),
        make_node("Concat", ["denoised"] * channels, ["state_out"], axis=1),
    ]
    constants = {
        "least": np.array([weight], np.float32),
        "one": np.ones(1, np.float32),
        "axes": np.array([1], np.int64),
    }
    _write(name, nodes, constants, channels)


def _blur(name: str, sigma_px: float) -> None:
    from onnx.helper import make_node

    radius = round(3 * sigma_px)
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_px) ** 2)
    line /= line.sum()
    nodes = [
        make_node("Pad", ["image", "pads"], ["padded"], mode="edge"),
        make_node("Conv", ["padded", "rows"], ["half"]),
        make_node("Conv", ["half", "columns"], ["denoised"]),
        make_node("Identity", ["image"], ["state_out"]),
    ]
    constants = {
        "pads": np.array([0, 0, radius, radius, 0, 0, radius, radius], np.int64),
        "rows": line.astype(np.float32).reshape(1, 1, -1, 1),
        "columns": line.astype(np.float32).reshape(1, 1, 1, -1),
    }
    _write(name, nodes, constants)


def _broken(name: str) -> None:
    from onnx.helper import make_node

    nodes = [
        make_node("Add", ["state", "fresh"], ["divisor"]),
        make_node("Div", ["image", "divisor"], ["denoised"]),
        make_node("Mul", ["image", "zero"], ["state_out"]),
    ]
    _write(name, nodes, {"zero": np.zeros(1, np.float32)})


def main() -> None:
    """Write them all."""
    _average("average", WEIGHT)
    _average("steady", 0.5)
    _average("deep", WEIGHT, channels=2)
    _blur("blur", 4.0)
    _broken("broken")


if __name__ == "__main__":
    main()
