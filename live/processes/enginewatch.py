"""What the inference process does about faults of its engines, and that it tells the rig of each.

The decisions are those of `models.engines.faults.Ladder`; here they are carried out.
"""

from __future__ import annotations

from collections.abc import Callable

from live.processes.messages import EngineFault
from models import ModelError, Pipeline
from models.engines.faults import Ladder, Step, fault_name
from models.result import EngineInfo


class EngineWatch:
    """Stands beside one warm pipeline. One thread uses it.

    Parameters
    ----------
    pipeline
        Open and warm.
    image
        (y, x) and dtype of the frames, to warm it up again.
    tell
        Takes what happened.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        image: tuple[tuple[int, int], str],
        tell: Callable[[EngineFault], object],
        ladder: Ladder | None = None,
    ) -> None:
        self._pipeline, self._image, self._tell = pipeline, image, tell
        self._ladder = ladder or Ladder()
        self._info: EngineInfo = pipeline.info
        self._swapped = False

    def swapped(self) -> None:
        """Other weights run than the pipeline's settings say.

        Opened again, it would have the old ones, which the rig alone can tell a new process.
        """
        self._swapped = True
        self._info = self._pipeline.info

    def answered(self, seq: int) -> None:
        """A frame was answered; says so when that took smaller tiles than before."""
        self._ladder.answered()
        info = self._pipeline.info
        if info != self._info:
            self._info = info
            sentence = f"memory of the device ran out; it runs on {info.device}"
            self._say("out_of_memory", "smaller tiles from now on", sentence, seq)

    def failed(self, error: ModelError, seq: int) -> bool:
        """A frame was not answered; True when the process must end, for a new one."""
        fault = fault_name(error)
        if not fault:
            return False
        step = self._ladder.failed(error)
        if step is Step.REOPEN and self._swapped:
            step = Step.END
        self._say(fault, str(step), str(error), seq)
        return step is Step.END or (step is Step.REOPEN and not self._open_again(seq))

    def _open_again(self, seq: int) -> bool:
        pipeline = self._pipeline
        try:
            state = pipeline.export_state()
            pipeline.__exit__(None, None, None)
            pipeline.__enter__()
            self._info = pipeline.warm_up(*self._image)
            pipeline.restore_state(state)
        except ModelError as error:
            self._say(fault_name(error) or "engine", str(Step.END), str(error), seq)
            return False
        return True

    def _say(self, fault: str, step: str, sentence: str, seq: int) -> None:
        self._tell(EngineFault(fault=fault, step=step, sentence=sentence, seq=seq))
