"""Denoising by a trained network that knows the camera's noise and the frames before, never after.

The network takes camera counts, the noise model and a state that it made itself of the frames so
far, and gives counts and the next state. Here the noise model is read from the frames, the state is
kept for each place that the stage visits, images too large are cut into tiles, and now and then the
residual is looked at for detail that was removed.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.catalog import ModelCard, read_card, weights_path
from models.engines import Engine, open_engine
from models.engines.guarded import DENOISES, guarded
from models.engines.threads import Threads
from models.errors import EngineError, EngineOutOfMemory, EngineValueError, PipelineError
from models.result import EngineInfo, ImageContext
from models.tasks.denoise import Denoised
from models.tasks.denoiser_memory import Memories
from models.tasks.noise import NoiseModel
from models.tasks.noise_running import NoiseEstimator
from models.tasks.residual import Watches
from models.tasks.rounding import to_counts
from models.tasks.tiles import Tile, tiles_of
from models.tasks.tilesize import TileSize

Image = NDArray[np.float32]

TAKES = ("image", "state", "noise", "fresh")
"""Inputs of a network that denoises; it gives ``denoised`` and ``state_out``."""

SMALLEST_PX = 32
"""Smaller images are mirrored up to this height and width."""

TILE_ABOVE = 2048 * 2048
"""Images of more pixels are denoised in tiles, so that the network's memory is bounded."""


class NetworkDenoiser:
    """Denoises frame after frame. Hold it in a ``with`` block; one thread uses it.

    Parameters
    ----------
    model
        Name of shipped weights, or path of an ONNX file with a model card beside it.
    engine, threads, precision
        See ``models.engines.open_engine``.
    temporal
        Use earlier frames of the same place.
    max_gap_intervals
        After a pause longer than so many usual intervals a place starts afresh.
    check_every_frames
        The residual of one frame in so many is looked at.

    Raises
    ------
    PipelineError
        When there is no such model, or it is not one for denoising.
    """

    def __init__(
        self,
        model: str,
        engine: str = "onnxruntime",
        threads: Threads = 1,
        precision: str = "fp32",
        *,
        temporal: bool = True,
        max_gap_intervals: float = 5.0,
        check_every_frames: int = 10,
    ) -> None:
        self._card = _denoising(read_card(weights_path(model)))
        self._choice = (engine, precision, threads)
        self._temporal = temporal
        self._stack = ExitStack()
        self._engine: Engine | None = None
        self._channels = 0
        self._tiles = TileSize()
        self._memories = Memories(max_gap_intervals)
        self._noise = NoiseEstimator()
        self._watches = Watches(check_every_frames)

    def __enter__(self) -> Self:
        """Load the network; raises ``EngineError`` when it would not run as asked."""
        self._stack, self._engine, self._channels = self._loaded(self._card)
        self.reset()
        return self

    def __exit__(self, *exc: object) -> None:
        """Let the network go. Safe to call twice."""
        self._engine = None
        self._memories.clear()
        self._stack.close()

    @property
    def info(self) -> EngineInfo:
        """What really runs, and in which tiles where memory ran out."""
        return self._tiles.told(self._opened().info)

    def reset(self) -> None:
        """Forget earlier frames and the noise: the next frame starts another movie."""
        self._memories.clear()
        self._noise.reset()
        self._watches.reset()

    def warm_up(self, shape: tuple[int, int], dtype: str) -> EngineInfo:
        """Run on empty images of this shape, remember nothing, say what really ran."""
        for seq in range(2):
            self.denoise(np.zeros(shape, dtype), ImageContext(seq=seq, time_s=float(seq)))
        self.reset()
        return self.info

    def swap(self, path: Path) -> EngineInfo:
        """Go on with other weights from the next frame on; call it between two frames.

        What was remembered is kept if the other network has a state of the same form. When
        the file cannot be used the old network goes on.

        Raises
        ------
        PipelineError, EngineError
            When there is no card, it is no network for denoising, or it would not run as asked.
        """
        self._opened()
        card = _denoising(read_card(path))
        stack, engine, channels = self._loaded(card)
        self._stack.close()
        if channels != self._channels:
            self._memories.clear()
        self._card, self._stack, self._engine, self._channels = card, stack, engine, channels
        # what was said of the old network is not true of the new one
        self._watches.reset()
        return engine.info

    def denoise(self, pixels: NDArray[Any], context: ImageContext) -> Denoised:
        """Denoise one frame; blocks until done.

        The same frames in the same order give the same bits.

        Parameters
        ----------
        pixels
            (y, x) uint8 or uint16 camera counts; not written to.
        context
            When, where and how it was taken: by it earlier frames are used or put aside.

        Raises
        ------
        EngineError
            Outside the ``with`` block, or when the network fails or gives no numbers.
        """
        engine = self._opened()
        shape, dtype = pixels.shape, pixels.dtype.str
        state, why = self._memories.recall(shape, dtype, context)
        if not self._temporal:
            state, why = None, "each frame by itself, as set"
        noise = self._noise.model(pixels, context, same_place=state is not None)
        counts = np.asarray(pixels, np.float32)
        exact, kept = self._run(counts, state, noise)
        if state is not None and not _is_finite(exact, kept):
            state, why = None, "state held no numbers"
            exact, kept = self._run(counts, None, noise)
        if not _is_finite(exact, kept):
            raise EngineValueError(
                f"network {engine.info.model} gives no numbers for frame {context.seq}"
            )
        if self._temporal:
            self._memories.keep(shape, dtype, context, kept, fresh=state is None)
        report = self._watches.of(context.channel).report(
            pixels, exact, noise, context.seq, fresh_because=why, model=engine.info.model
        )
        return Denoised(to_counts(exact, pixels.dtype), exact, noise, report)

    def _run(self, counts: Image, state: Image | None, noise: NoiseModel) -> tuple[Image, Image]:
        """Denoised counts (y, x) and the next state (1, s, y, x)."""
        while True:
            try:
                return self._run_once(counts, state, noise)
            except EngineOutOfMemory as error:
                self._tiles = self._tiles.smaller(error, counts.size)

    def _run_once(
        self, counts: Image, state: Image | None, noise: NoiseModel
    ) -> tuple[Image, Image]:
        shape = (counts.shape[0], counts.shape[1])
        if counts.size <= (self._tiles.above_px or TILE_ABOVE):
            return self._run_part(counts, state, noise)
        exact = np.empty(shape, np.float32)
        kept = np.empty((1, self._channels, *shape), np.float32)
        for tile in tiles_of(shape, self._tiles.core_px):
            seen = tuple(slice(*span) for span in tile.seen)
            core = tuple(slice(*span) for span in tile.core)
            part_state = None if state is None else state[:, :, seen[0], seen[1]]
            part, part_kept = self._run_part(counts[seen], part_state, noise)
            inner = _core_in(tile)
            exact[core] = part[inner]
            kept[:, :, core[0], core[1]] = part_kept[:, :, inner[0], inner[1]]
        return exact, kept

    def _run_part(
        self, counts: Image, state: Image | None, noise: NoiseModel
    ) -> tuple[Image, Image]:
        height, width = counts.shape
        image = _padded(counts[None, None], self._card.pixel_multiple)
        if state is None:
            before = np.zeros((1, self._channels, *image.shape[2:]), np.float32)
        else:
            before = _padded(state, self._card.pixel_multiple)
        given = {
            "image": image,
            "state": before,
            "noise": np.array([noise.gain, noise.offset, noise.read_variance], np.float32),
            "fresh": np.array([state is None], np.float32),
        }
        engine = self._opened()
        for name in ("noise", "fresh"):
            # some exporters keep the axis of a batch of one
            given[name] = given[name].reshape([length or 1 for length in engine.shapes[name]])
        found = engine.run(given)
        exact = np.ascontiguousarray(found["denoised"][0, 0, :height, :width])
        return exact, found["state_out"][:, :, :height, :width]

    def _loaded(self, card: ModelCard) -> tuple[ExitStack, Engine, int]:
        with ExitStack() as stack:
            # it has a use of its own for answers that are no numbers: it starts afresh
            inside = open_engine(card.path, *self._choice)
            engine = stack.enter_context(guarded(inside, DENOISES, values=False))
            shapes = engine.shapes
            state = shapes.get("state", ())
            channels = state[1] if len(state) == 4 else None
            if set(shapes) != set(TAKES) or channels is None:
                raise PipelineError(
                    f"denoise: {card.path.name} takes {', '.join(shapes)}, need "
                    f"{', '.join(TAKES)} with a state of a fixed number of channels; export it "
                    "again with `parfocal models train denoise`"
                )
            return stack.pop_all(), engine, channels
        raise AssertionError("not reached")

    def _opened(self) -> Engine:
        if self._engine is None:
            raise EngineError(
                f"network {self._card.name!r} is not open; use it inside a `with` block"
            )
        return self._engine


def _denoising(card: ModelCard) -> ModelCard:
    if card.task != "denoise":
        raise PipelineError(
            f"denoise: {card.name!r} is a network to {card.task}, need one to denoise; "
            "`parfocal models list` shows them"
        )
    return card


def _is_finite(exact: Image, kept: Image) -> bool:
    # a sum is finite only if every number is; in float32 it takes a quarter of the time
    return bool(np.isfinite(exact.sum()) and np.isfinite(kept.sum()))


def _core_in(tile: Tile) -> tuple[slice, slice]:
    """The core of a tile in what the tile is shown."""
    y, x = (
        slice(core[0] - seen[0], core[1] - seen[0])
        for core, seen in zip(tile.core, tile.seen, strict=True)
    )
    return y, x


def _padded(images: Image, multiple: int) -> Image:
    """Images (1, n, y, x) grown below and right to a multiple, mirrored."""
    least = -(-SMALLEST_PX // multiple) * multiple
    grow = [(0, max(-length % multiple, least - length)) for length in images.shape[2:]]
    if grow == [(0, 0), (0, 0)]:
        return np.ascontiguousarray(images)
    return np.pad(images, [(0, 0), (0, 0), *grow], mode="reflect")
