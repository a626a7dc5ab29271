"""What the denoiser learns from, what its network promises whatever its weights, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("scipy", reason="training pictures are drawn with scipy")
pytest.importorskip("onnxscript", reason="the exporter needs onnxscript")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from models.catalog import weights_path  # noqa: E402
from models.engines import open_engine  # noqa: E402
from models.errors import ModelError  # noqa: E402
from models.training.denoise.export import denoiser_from_onnx, export_denoiser  # noqa: E402
from models.training.denoise.movies import draw_movie, write_pool  # noqa: E402
from models.training.denoise.net import MULTIPLE, STATE_CHANNELS, DenoiseNet  # noqa: E402
from models.training.denoise.noise import expose  # noqa: E402
from models.training.denoise.onrig import fine_tune  # noqa: E402
from models.training.denoise.textures import KINDS, scaled  # noqa: E402
from models.training.denoise.train import denoise_movie, draw_batch, log_error  # noqa: E402


@pytest.fixture(scope="module")
def net() -> DenoiseNet:
    """Untrained, but no zero anywhere: what holds for it holds for all."""
    torch.manual_seed(3)
    made = DenoiseNet()
    with torch.no_grad():
        for value in made.parameters():
            value.add_(0.02 * torch.randn_like(value))
    return made.eval()


@pytest.fixture(scope="module")
def start(net: DenoiseNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file."""
    return export_denoiser(net, tmp_path_factory.mktemp("start") / "start.onnx")


@pytest.mark.parametrize("name", list(KINDS))
def test_pictures_of_every_kind(name: str) -> None:
    first, again, other = (
        scaled(KINDS[name][0](np.random.default_rng(seed), 96)) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == (96, 96)
    assert first.min() == 0.0
    assert np.percentile(first, 99.5) == pytest.approx(1.0, abs=0.01)
    assert first.std() > 0.01
    assert not np.array_equal(first, other)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_movies_are_light(seed: int) -> None:
    movie = draw_movie(np.random.default_rng(seed), frames=6, side=64)
    assert movie.shape == (6, 64, 64)
    assert np.isfinite(movie).all()
    assert movie.min() >= 0
    assert movie.mean() == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("photons", [1.0, 20.0, 1000.0])
def test_a_camera_is_right_on_average(photons: float) -> None:
    clean = np.linspace(0.5, 1.5, 64 * 64, dtype=np.float32).reshape(1, 64, 64).repeat(24, axis=0)
    off = []
    for seed in range(12):
        seen = expose(clean, np.random.default_rng(seed), photons)
        assert seen.counts.min() >= 0
        np.testing.assert_array_equal(seen.counts, np.rint(seen.counts))
        # hot pixels, saturated ones and clipped ones have another mean, so the middle is looked at
        error = np.median(seen.counts.mean(axis=0) - seen.clean.mean(axis=0))
        gain, offset, read = seen.noise
        usual = np.sqrt(gain * max(float(seen.clean.mean()) - offset, 0) + read)
        off.append(abs(error) / usual)
    assert np.median(off) < 0.1


def test_batches_come_with_their_truth(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.npy", 2, 0, [])
    pool = np.load(tmp_path / "pool.npy", mmap_mode="r")
    counts, truth, noise = draw_batch([pool, pool], np.random.default_rng(0), 3)
    assert counts.shape == truth.shape
    assert noise.shape == (3, 3)
    assert float(log_error(truth, truth, noise).max()) < float(
        log_error(counts, truth, noise).min()
    )


def _movie(shape: tuple[int, int], frames: int = 3) -> torch.Tensor:
    rng = np.random.default_rng(0)
    light = 30 * draw_movie(rng, frames=frames, side=max(shape))[:, : shape[0], : shape[1]]
    return torch.from_numpy((rng.poisson(light) * 2.0 + 100).astype(np.float32))[None]


NOISE = torch.tensor([[2.0, 100.0, 4.0]])


def test_a_fresh_frame_knows_no_past(net: DenoiseNet) -> None:
    image, fresh = _movie((64, 64), 1), torch.ones(1, 1)
    with torch.no_grad():
        found = [
            net(image, torch.full((1, STATE_CHANNELS, 64, 64), past), NOISE, fresh)
            for past in (0.0, 1e4)
        ]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_neighbourhood_keeps_its_light(net: DenoiseNet) -> None:
    # the same flat light with a step, whatever an untrained network makes of it
    light = torch.full((1, 1, 128, 128), 40.0)
    light[..., 64:] = 400.0
    image = torch.poisson(light, generator=torch.Generator().manual_seed(0)) * 2 + 100
    with torch.no_grad():
        counts, _ = net(image, torch.zeros(1, 3, 128, 128), NOISE, torch.ones(1, 1))
    for columns in (slice(0, 56), slice(72, 128)):
        raw = float(image[..., columns].mean())
        assert float(counts[..., columns].mean()) == pytest.approx(raw, rel=0.02)


def test_scale_of_the_counts_does_not_matter(net: DenoiseNet) -> None:
    image, state, fresh = _movie((64, 64), 1), torch.zeros(1, 3, 64, 64), torch.ones(1, 1)
    noise = torch.tensor([[2.0 * 8, 0.0, 4.0 * 64]])
    with torch.no_grad():
        plain, _ = net(image, state, NOISE, fresh)
        other, _ = net((image - 100) * 8, state, noise, fresh)
    torch.testing.assert_close(other / 8 + 100, plain, rtol=1e-4, atol=1e-2)


def test_frames_after_change_nothing(net: DenoiseNet) -> None:
    movie = _movie((64, 64), 4)
    other = movie.clone()
    other[:, 2:] = 5000.0
    with torch.no_grad():
        found = [denoise_movie(net, one, NOISE)[:, :2] for one in (movie, other)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_a_network_is_small(net: DenoiseNet) -> None:
    assert sum(value.numel() for value in net.parameters()) <= 1_000_000


@pytest.mark.slow  # the export alone takes some ten seconds
def test_file_and_network_are_one(net: DenoiseNet, start: Path) -> None:
    back = denoiser_from_onnx(start)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], value, rtol=0, atol=0)
    movie = _movie((64, 96), 3)
    with torch.no_grad():
        wanted = denoise_movie(net, movie, NOISE)[0].numpy()
    state = np.zeros((1, STATE_CHANNELS, 64, 96), np.float32)
    with open_engine(start, "onnxruntime", "fp32", 1) as engine:
        for k in range(3):
            given_to = {
                "image": movie[:, k : k + 1].numpy(),
                "state": state,
                "noise": NOISE[0].numpy(),
                "fresh": np.array([k == 0], np.float32),
            }
            for name in ("noise", "fresh"):
                given_to[name] = given_to[name].reshape(
                    [length or 1 for length in engine.shapes[name]]
                )
            found = engine.run(given_to)
            state = found["state_out"].copy()
            np.testing.assert_allclose(found["denoised"][0, 0], wanted[k], rtol=1e-3, atol=0.05)


def test_a_network_with_more_layers_is_refused(start: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(start))
    more = onnx.numpy_helper.from_array(np.ones(3, np.float32), "net.unet.refine.a.bias")
    model.graph.initializer.append(more)
    onnx.save(model, str(tmp_path / "more.onnx"))
    with pytest.raises(ModelError, match="another version"):
        denoiser_from_onnx(tmp_path / "more.onnx")


def test_another_network_is_refused() -> None:
    with pytest.raises(ModelError, match="no denoiser of this program"):
        denoiser_from_onnx(weights_path("nuclei"))


@pytest.mark.slow
@pytest.mark.usefixtures("start")  # the exporter's first use leaves a thread of its own running
def test_training_on_noise_alone_keeps_the_better(tmp_path: Path) -> None:
    spoilt = denoiser_from_onnx(weights_path("denoise"))
    with torch.no_grad():
        spoilt.unet.last.weight.mul_(0.5)  # half of the noise is left in
    worse = export_denoiser(spoilt, tmp_path / "worse.onnx")
    told: list[float] = []
    frames = _movie((128, 128), 6)[0].numpy().astype(np.uint16)
    made = fine_tune(frames, worse, 15.0, 0, lambda *values: told.append(values[0]))
    assert made.loss_best < made.loss_start
    assert told
    picture, before, after = made.pictures
    assert picture.shape == before.shape == after.shape
    assert not np.array_equal(before, after)
    made.write(tmp_path / "better.onnx")
    back = denoiser_from_onnx(tmp_path / "better.onnx")
    for name, value in made.net.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.slow
def test_no_time_leaves_the_start(start: Path) -> None:
    made = fine_tune(_movie((128, 128), 2)[0].numpy().astype(np.uint16), start, 0.0)
    assert made.loss_best == made.loss_start
    for name, value in denoiser_from_onnx(start).state_dict().items():
        torch.testing.assert_close(made.net.state_dict()[name], value, rtol=0, atol=0)


def test_frames_too_small_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="pixels"):
        fine_tune(np.zeros((3, MULTIPLE, MULTIPLE), np.uint16), tmp_path / "start.onnx", 1.0)
