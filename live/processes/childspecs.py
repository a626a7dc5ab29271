"""What the children of a run are, and what each is told once it says hello."""

from __future__ import annotations

from collections.abc import Callable

from drivers import FrameSender, ImageFormat
from live.experiment.settings import ExperimentSettings
from live.processes.children import ChildSpec
from live.processes.messages import Configure, ConfigureDisplay, Message, pipeline_to_json
from models import PipelineSettings

RESULT_RING_MB = 128.0
RESULT_SLOTS = 8
"""Label images that the result ring holds at the least."""


def child_specs(
    settings: ExperimentSettings,
    image: ImageFormat,
    frames: FrameSender,
    state: Callable[[], bytes],
    window: ConfigureDisplay | None,
    pipeline: Callable[[], PipelineSettings],
    instead: Callable[[str], str] | None = None,
) -> list[ChildSpec]:
    """Inference, and the window where there is one.

    Parameters
    ----------
    settings
        The experiment.
    image
        Format of the frames, for warming up.
    frames
        What sends them to inference.
    state
        Gives the newest tracker state, for an inference process that takes over.
    window
        What the window is told; None for a run without one.
    pipeline
        Gives the pipeline as it runs now, with weights that were swapped in since.
    instead
        Asked before inference is given up, see ``ChildSpec``.
    """
    ring_mb = max(RESULT_RING_MB, RESULT_SLOTS * image.height * image.width * 6 / 2**20)

    def configure() -> Message:
        return Configure(
            pipeline=pipeline_to_json(pipeline()),
            frames=frames.address,
            frames_ahead=frames.ahead,
            policy=settings.inference.policy,
            height=image.height,
            width=image.width,
            dtype=image.dtype,
            state=state(),
            ring_mb=ring_mb,
            send_denoised=settings.record.denoised or window is not None,
        )

    specs = [ChildSpec("inference", "live.processes.inference", configure, instead=instead)]
    if window is not None:
        shown = window
        specs.append(ChildSpec("display", "live.processes.window", lambda: shown))
    return specs
