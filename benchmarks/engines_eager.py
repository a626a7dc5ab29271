"""The shipped segmentation network as torch runs it for whoever trained it: eager, layer by layer.

Our own engine of the name torch is something else: it runs the network as it was laid out for
export, with norms folded into the convolutions, and is the quicker of the two.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from benchmarks.engines_given import Inputs

if TYPE_CHECKING:
    from models.training.segment.graph import CountsToLabels


class EagerSegmenter:
    """Camera counts to labels through the torch modules of training, in float32 on the CPU.

    Parameters
    ----------
    path
        ONNX file of a segmentation network of this program.
    threads
        Of torch, in the whole process while this is open.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._threads, self._before = path, threads, threads
        self._module: CountsToLabels | None = None

    def __enter__(self) -> Self:
        """Rebuild the network."""
        import torch

        from models.training.rebuild import module_from_onnx
        from models.training.segment.graph import CountsToLabels
        from models.training.segment.lean import LeanNet, as_trained

        lean = module_from_onnx(self._path).module
        assert isinstance(lean, CountsToLabels)
        assert isinstance(lean.net, LeanNet)
        self._module = CountsToLabels(as_trained(lean.net), lean.how).eval()
        self._before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, what: BaseException | None, at: TracebackType | None
    ) -> None:
        """Let the network go and give torch its threads back."""
        import torch

        self._module = None
        torch.set_num_threads(self._before)

    def run(self, inputs: Inputs) -> dict[str, Any]:
        """As `models.engines.Engine.run`."""
        import torch

        assert self._module is not None
        with torch.inference_mode():
            image = torch.from_numpy(np.ascontiguousarray(inputs["image"], np.float32))
            labels, probability = self._module(image)
        return {"labels": labels.numpy(), "probability": probability.numpy()}
