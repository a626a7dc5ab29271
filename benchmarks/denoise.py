"""Denoising: the shipped network beside Gaussian, TV, NLM, BM3D, ND-SAFIR, and a 3-D U-Net's time.

Ours runs as it does live: through `NetworkDenoiser`, with a noise model that it estimates itself
and frames before the judged one, none after. Peers see each frame by itself and have the setting
that is best on it. ``ratio`` is how many times smaller ours makes the squared error: 1 dB is 1.26,
2 dB are 1.58.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.denoise_data import PAIRS, Scene, fitted, real_scenes, simulated_scene
from benchmarks.denoise_onrig import run as trained_on_the_rig
from benchmarks.denoise_peers import PEERS, Peer, missing
from benchmarks.denoise_segmenting import run as segmenting
from models.result import ImageContext
from models.tasks.denoiser import NetworkDenoiser

MODEL: Final = "denoise"
THREADS: Final = 2
PHOTONS: Final = (5.0, 20.0, 100.0)
SIDE_PX: Final = 256
FRAMES: Final = 12
QUICK_PX: Final = 64
OVER_ALONE_DB: Final = {"slow": 1.0, "fast": 0.0}
"""By how much frames before must help."""
REAL_BARS_DB: Final = {"Gaussian": 1.0, "ND-SAFIR": 0.5}
LATENCY_MS: Final = 60.0
LATENCY_PX: Final = 512
ROUNDS: Final = 15

Image = NDArray[Any]
Row = dict[str, Any]


def run(*, quick: bool = False) -> list[Row]:
    """Measure and return one row for each case; ``quick`` only shows that it works."""
    rows: list[Row] = []
    for photons in PHOTONS[:1] if quick else PHOTONS:
        for speed in ("slow", "fast"):
            side, frames = (QUICK_PX, 4) if quick else (SIDE_PX, FRAMES)
            scene = simulated_scene(photons, speed, side=side, frames=frames)
            rows += simulated_rows(scene, speed, quick=quick)
    if (PAIRS / "fmd_r1_noisy.tif").is_file():
        for scene in real_scenes():
            rows += real_rows(scene.cut(QUICK_PX) if quick else scene, quick=quick)
    else:
        rows.append({"case": "real pairs", "left_out": "no ../shared/data/denoise beside the code"})
    rows += trained_on_the_rig(quick=quick)
    rows += segmenting(quick=quick)
    rows += latency_rows(quick=quick)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    return [{"bench": "denoise", "machine": machine, **row} for row in rows]


def simulated_rows(scene: Scene, speed: str, *, quick: bool = False) -> list[Row]:
    """Ours with and without the frames before, beside each other and beside the peers."""
    peers = Peers(scene, quick)
    ours, alone = denoised(scene), denoised(scene, temporal=False)
    rows = peers.beside("network", ours, {name: peer.bar_db for name, peer in PEERS.items()})
    gain = OVER_ALONE_DB[speed]
    rows.append(compared(scene, "network", ours, "network, each frame alone", alone, gain))
    return rows + peers.beside("network, each frame alone", alone, {})


def real_rows(scene: Scene, *, quick: bool = False) -> list[Row]:
    """Ours beside the peers on one real pair."""
    return Peers(scene, quick).beside("network", denoised(scene), REAL_BARS_DB)


class Peers:
    """What the peers make of one scene, each at its best; worked out once. ``only`` names some."""

    def __init__(self, scene: Scene, quick: bool, only: Collection[str] = tuple(PEERS)) -> None:
        self._scene = scene
        self._reasons = {label: missing(PEERS[label]) for label in only}
        self._found = {
            label: _tuned(scene, PEERS[label], 1 if quick else None)
            for label, reason in self._reasons.items()
            if not reason
        }

    def beside(self, name: str, ours: list[Image], bars: Mapping[str, float]) -> list[Row]:
        """Rows beside the noisy frames and every peer, and SSIM beside the best of them."""
        scene = self._scene
        rows = [compared(scene, name, ours, "noisy", [scene.noisy[k] for k in scene.judged], None)]
        for label, reason in self._reasons.items():
            if reason:
                rows.append({"case": f"{scene.name}, beside {label}", "left_out": reason})
                continue
            setting, theirs = self._found[label]
            rows.append(
                compared(scene, name, ours, f"{label} {setting:g}", theirs, bars.get(label))
            )
        best = min(self._found, key=lambda label: _error(scene, self._found[label][1]))
        return [*rows, alike(scene, name, ours, f"the best, {best}", self._found[best][1])]


def denoised(scene: Scene, *, temporal: bool = True, model: str = MODEL) -> list[Image]:
    """What a network makes of the judged frames, after all that came before them."""
    found: dict[int, Image] = {}
    with NetworkDenoiser(model, threads=THREADS, temporal=temporal) as denoiser:
        for k, frame in enumerate(scene.noisy):
            exact = denoiser.denoise(frame, ImageContext(k, k / 10)).exact
            assert exact is not None
            found[k] = exact
    return [found[k] for k in scene.judged]


def _tuned(scene: Scene, peer: Peer, most: int | None) -> tuple[float, list[Image]]:
    """The best of its settings, or of the first ``most``, and its images."""
    last = scene.judged[-1]
    errors = {
        setting: _error(scene, [peer.denoise(scene.noisy[last], scene.noise, setting)], (last,))
        for setting in peer.settings[:most]
    }
    setting = min(errors, key=lambda one: errors[one])
    return setting, [peer.denoise(scene.noisy[k], scene.noise, setting) for k in scene.judged]


def compared(
    scene: Scene, name: str, ours: list[Image], peer: str, theirs: list[Image], bar: float | None
) -> Row:
    """One row of PSNR; ``bar`` in dB."""
    errors = _error(scene, ours), _error(scene, theirs)
    psnr = [10 * float(np.log10(scene.data_range**2 / error)) for error in errors]
    row: Row = {
        "case": scene.name, "ours": name, "value_ours": psnr[0],
        "peer": peer, "value_peer": psnr[1],
        "unit": "dB PSNR", "ratio": errors[1] / errors[0],
    }  # fmt: skip
    return row if bar is None else {**row, "bar": round(10 ** (bar / 10), 3)}


def _error(scene: Scene, images: list[Image], which: tuple[int, ...] | None = None) -> float:
    """Mean squared error over the judged frames, counts squared."""
    errors = [
        np.mean((_scaled(scene, image, k) - scene.clean[k]) ** 2)
        for image, k in zip(images, which or scene.judged, strict=True)
    ]
    return float(np.mean(errors))


def _scaled(scene: Scene, image: Image, k: int) -> NDArray[np.float64]:
    return fitted(image, scene.clean[k]) if scene.fit else np.asarray(image, np.float64)


def alike(scene: Scene, name: str, ours: list[Image], peer: str, theirs: list[Image]) -> Row:
    """One row of SSIM."""
    if find_spec("skimage") is None:
        reason = "skimage not installed; `pip install 'parfocal[score]'`"
        return {"case": f"{scene.name}, SSIM", "left_out": reason}
    ssim = _similarity(scene, ours), _similarity(scene, theirs)
    return {
        "case": scene.name, "ours": name, "value_ours": ssim[0],
        "peer": peer, "value_peer": ssim[1], "unit": "SSIM", "ratio": ssim[0] / ssim[1],
    }  # fmt: skip


def _similarity(scene: Scene, images: list[Image]) -> float:
    """Mean SSIM over the judged frames."""
    similarity = import_module("skimage.metrics").structural_similarity
    values = [
        similarity(_scaled(scene, image, k), scene.clean[k], data_range=scene.data_range)
        for image, k in zip(images, scene.judged, strict=True)
    ]
    return statistics.fmean(float(value) for value in values)


def latency_rows(*, quick: bool = False) -> list[Row]:
    """Time for a frame, beside the bar and beside a 3-D U-Net fed the same frames."""
    frames = simulated_scene(20.0, "slow", side=LATENCY_PX, frames=2 if quick else 4).noisy
    with NetworkDenoiser(MODEL, threads=THREADS) as denoiser:
        seq = 0

        def once() -> object:
            nonlocal seq
            seq += 1
            return denoiser.denoise(frames[seq % len(frames)], ImageContext(seq, seq / 10))

        denoiser.warm_up((LATENCY_PX, LATENCY_PX), "uint16")
        ours = _median_s(once, 3 if quick else ROUNDS)
        name = f"{denoiser.info.name} {denoiser.info.precision}, {THREADS} threads"
    head = {"case": f"{LATENCY_PX}x{LATENCY_PX}, one frame's delay", "ours": name}
    bar = {"peer": "budget", "value_peer": LATENCY_MS, "unit": "ms", "bar": 1.0}
    rows: list[Row] = [
        {**head, "value_ours": 1e3 * ours, **bar, "ratio": LATENCY_MS / (1e3 * ours)}
    ]
    if find_spec("torch") is None:
        return [*rows, {"case": head["case"], "left_out": "torch not installed"}]
    from benchmarks.denoise_unet3d import DEPTH, WEIGHTS, seconds_per_frame

    timed: Callable[[], float] = partial(seconds_per_frame, frames, THREADS)
    theirs = min(timed() for _ in range(1 if quick else 2))
    peer = {
        "peer": f"3-D U-Net of {WEIGHTS:,} weights, torch, a stack of {DEPTH}",
        "value_peer": 1e3 * theirs, "unit": "ms a frame", "ratio": theirs / ours,
    }  # fmt: skip
    return [*rows, {**head, "value_ours": 1e3 * ours, **peer}]


def _median_s(once: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        once()
        took.append(time.perf_counter() - start)
    return statistics.median(took)
