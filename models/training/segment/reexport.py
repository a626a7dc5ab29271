"""Write shipped segmentation networks anew, the weights as they are, the graph as of this version.

``python -m models.training.segment.reexport NAME ... --out DIR`` writes ``DIR/NAME.onnx`` and says
whether it labels a picture as the old file does. Cards stay as they are. It is for changes of the
graph round the network that make it faster; the same images give the same labels.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from models.catalog import weights_path
from models.engines import open_engine
from models.errors import ModelError
from models.training.rebuild import module_from_onnx
from models.training.segment.export import write_segmenter
from models.training.segment.graph import CountsToLabels

PROBE_PX = 256


def reexport(source: Path, target: Path) -> Path:
    """Write ``target``: the network of ``source`` in today's graph.

    Raises
    ------
    ModelError
        When ``source`` is no segmentation network of this version, or the new file labels a noisy
        picture in another way.
    """
    rebuilt = module_from_onnx(source)
    if not isinstance(rebuilt.module, CountsToLabels):
        raise ModelError(f"{source.name} does not segment; only segmentation has a graph to mend")
    image = np.random.default_rng(0).gamma(2.0, 50.0, (PROBE_PX, PROBE_PX)).astype(np.float32)
    # it may be the very file that is read
    part = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        write_segmenter(rebuilt.module, part, tuple(rebuilt.inputs))
        with open_engine(source) as old, open_engine(part) as new:
            before, after = old.run({"image": image}), new.run({"image": image})
        if not np.array_equal(before["labels"], after["labels"]):
            raise ModelError(f"the new file labels otherwise than {source}; it was not kept")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="shipped networks")
    parser.add_argument("--out", type=Path, required=True, help="folder for the new files")
    given = parser.parse_args()
    for name in given.names:
        reexport(weights_path(name), given.out / f"{name}.onnx")


if __name__ == "__main__":
    main()
