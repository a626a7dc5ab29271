"""A trainer process that takes no time: it answers with a network made beforehand, or dies.

Run by the supervisor as ``python -m tests.live.quick_trainer --control ADDRESS``. It reads the
run's frames as the real one does; ``seconds`` below 10 make it die in the middle.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import zmq

from live.denoising.frames import training_frames
from live.processes.background import give_way
from live.processes.control import Control
from live.processes.messages import ConfigureTrainer, Ready, TrainingProgress

NETS = Path(__file__).parents[1] / "data" / "denoise"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", required=True)
    address = parser.parse_args().control
    give_way()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with Control(context, address, "trainer") as control:
            task = control.receive(20.0)
            assert isinstance(task, ConfigureTrainer)
            control.send(Ready(role="trainer"))
            frames = training_frames(Path(task.run), channel=task.channel)
            count = len(frames.pixels)
            control.send(TrainingProgress(state="training", sentence="training", frames=count))
            control.receive(0.3)
            if task.seconds < 10:
                os._exit(9)
            out = Path(task.out)
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(NETS / "steady.onnx", out)
            card = (NETS / "steady.md").read_text(encoding="utf-8")
            out.with_suffix(".md").write_text(card.replace("steady", out.stem), encoding="utf-8")
            control.send(
                TrainingProgress(
                    state="better", sentence="better", done=1.0, loss_start=1.0, loss_best=0.9,
                    frames=count, model=str(out),
                )
            )  # fmt: skip
        return 0
    finally:
        context.destroy(linger=500)


if __name__ == "__main__":
    sys.exit(main())
