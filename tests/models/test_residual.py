"""The alarm: quiet where denoising takes noise away, loud where it takes the sample away."""

from __future__ import annotations

import math

import numpy as np
import pytest
from denoise_nets import NETS
from denoise_scenes import discs, exposed, simulated_movie

from models import ImageContext
from models.tasks.denoiser import NetworkDenoiser
from models.tasks.filters import smooth
from models.tasks.noise import NoiseModel, estimate_noise
from models.tasks.residual import MOST_CHANNELS, Judged, ResidualWatch, Watches, judge_residual

GAIN, OFFSET = 2.2, 100.0


def shot(photons: float, blur_px: float = 1.5, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A frame and what it would be without noise, counts."""
    light = discs(384, blur_px=blur_px) * photons
    noisy = exposed(light, np.random.default_rng(seed), GAIN, OFFSET)
    return noisy, np.asarray(light * GAIN + OFFSET, np.float32)


def judged(noisy: np.ndarray, denoised: np.ndarray) -> Judged:
    return judge_residual(noisy, np.asarray(denoised, np.float32), estimate_noise(noisy))


@pytest.mark.parametrize("photons", [1, 5, 20, 100, 1000])
@pytest.mark.parametrize("blur_px", [1.0, 2.0])
def test_quiet_when_only_noise_was_taken_away(photons: float, blur_px: float) -> None:
    noisy, clean = shot(photons, blur_px)
    found = judged(noisy, clean)
    assert found.alarm < 0.5
    assert found.reason == ""
    assert found.strangeness < 0.7
    assert found.unlike_because == ""


@pytest.mark.parametrize("photons", [3, 20, 200])
def test_loud_when_detail_is_removed(photons: float) -> None:
    noisy, clean = shot(photons, 1.2)
    found = judged(noisy, smooth(clean, 4.0))
    assert found.alarm > 1.5
    assert "edges of the sample" in found.reason
    # and the worse the more is removed
    assert judged(noisy, smooth(clean, 8.0)).alarm > found.alarm


def test_a_network_that_blurs_sets_the_alarm_off_and_one_that_averages_does_not() -> None:
    movie = simulated_movie(8, 20, 1e-3)
    rng = np.random.default_rng(2)
    frames = [exposed(clean, rng) for clean in movie]
    alarms = {}
    for name in ("blur", "average"):
        with NetworkDenoiser(str(NETS / f"{name}.onnx"), check_every_frames=1) as denoiser:
            for k, frame in enumerate(frames):
                report = denoiser.denoise(frame, ImageContext(k, float(k))).report
        assert report is not None
        alarms[name] = report
    assert alarms["blur"].alarmed
    assert "detail is being removed" in alarms["blur"].reason
    assert not alarms["average"].alarmed


def test_a_ghost_sets_the_alarm_off() -> None:
    movie = simulated_movie(6, 20, 5.0)
    rng = np.random.default_rng(2)
    with NetworkDenoiser(str(NETS / "average.onnx"), check_every_frames=1) as denoiser:
        for k, clean in enumerate(movie):
            report = denoiser.denoise(exposed(clean, rng), ImageContext(k, float(k))).report
    assert report is not None
    assert report.alarmed


def test_a_changed_brightness_sets_the_alarm_off() -> None:
    noisy, clean = shot(100)
    found = judged(noisy, clean * 1.03)
    assert found.alarm > 1
    assert "brightness of whole areas" in found.reason


def test_noise_left_in_the_picture_sets_the_alarm_off() -> None:
    noisy, _ = shot(20)
    found = judged(noisy, noisy)
    assert found.alarm > 1
    assert "most noise is left" in found.reason


def test_invented_detail_sets_the_alarm_off() -> None:
    noisy, clean = shot(100)
    found = judged(noisy, clean + 3 * (clean - smooth(clean, 3.0)))
    assert found.alarm > 1
    assert "removed or made up" in found.reason


def test_noise_that_neighbours_share_is_unlike() -> None:
    noisy, clean = shot(20)
    grainy = np.rint(smooth(noisy, 0.7)).astype(np.uint16)
    found = judged(grainy, clean)
    assert found.strangeness > 1
    assert "noise of neighbouring pixels is alike" in found.unlike_because


def test_a_wrong_noise_model_is_unlike() -> None:
    noisy, clean = shot(20)
    model = estimate_noise(noisy)
    for factor in (0.2, 5.0):
        wrong = NoiseModel(model.gain * factor, model.offset, model.read_variance * factor)
        found = judge_residual(noisy, clean, wrong)
        assert found.strangeness > 1
        assert "not as the noise model says" in found.unlike_because


def test_saturation_is_unlike() -> None:
    light = discs(384) * 60
    noisy = exposed(light, np.random.default_rng(1), 2.0, 10.0, dtype=np.uint8)
    found = judged(noisy, np.minimum(light * 2 + 10, 255))
    assert found.strangeness > 1
    assert "saturated" in found.unlike_because


@pytest.mark.parametrize("shape", [(4, 4), (16, 16), (20, 300), (65, 64)])
def test_small_images_are_judged_or_left_alone(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    clean = np.full(shape, 300.0, np.float32)
    noisy = rng.normal(clean, 10).astype(np.uint16)
    found = judge_residual(noisy, clean, NoiseModel(1e-3, 300.0, 100.0, fitted=False))
    assert found.alarm < 1
    assert math.isfinite(found.strangeness)


def test_an_image_without_anything_is_judged_without_a_warning() -> None:
    for level in (0, 65535):
        flat = np.full((128, 128), level, np.uint16)
        found = judged(flat, flat)
        assert math.isfinite(found.alarm)
        assert math.isfinite(found.strangeness)


def test_one_frame_in_so_many_is_looked_at() -> None:
    noisy, clean = shot(20)
    model = estimate_noise(noisy)
    watch = ResidualWatch(every_frames=5)
    seen = []
    for seq in range(12):
        picture = smooth(clean, 6.0) if seq < 5 else clean
        report = watch.report(noisy, picture, model, seq, fresh_because="" if seq else "first")
        seen.append((report.seq, report.checked_seq, report.alarmed, report.fresh))
    assert seen[0] == (0, 0, True, True)
    assert seen[4] == (4, 0, True, False)
    assert seen[5] == (5, 5, False, False)
    assert seen[11] == (11, 10, False, False)
    assert report.gain == pytest.approx(GAIN, rel=0.15)
    assert report.read_noise_e == model.read_noise_e
    watch.reset()
    assert watch.report(noisy, clean, model, 3).checked_seq == 3


def test_an_unknown_gain_is_told_as_unknown() -> None:
    flat = np.random.default_rng(0).normal(500, 20, (128, 128)).astype(np.uint16)
    model = estimate_noise(flat)
    report = ResidualWatch().report(flat, np.full(flat.shape, 500, np.float32), model, 0)
    assert math.isnan(report.gain)
    assert math.isnan(report.read_noise_e)
    assert report.read_variance == pytest.approx(400, rel=0.1)


def test_each_channel_is_watched_by_itself() -> None:
    noise = NoiseModel(gain=1.0, offset=100.0, read_variance=4.0, fitted=True)
    pixels = np.random.default_rng(3).poisson(50, (128, 128)).astype(np.uint16) + 100
    watches = Watches(4)
    checked = []
    for seq in range(10):
        watch = watches.of("ab"[seq % 2])
        checked.append(watch.report(pixels, pixels.astype(np.float32), noise, seq).checked_seq)
    # with one watch for both, only the first would ever be looked at
    assert checked == [0, 1, 0, 1, 4, 5, 4, 5, 8, 9]
    for channel in range(MOST_CHANNELS + 1):
        watches.of(str(channel))
    assert watches.of("a").report(pixels, pixels.astype(np.float32), noise, 9).checked_seq == 9
