"""Training the denoiser beside a run: what it is asked, what it reads, how its weights come in."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from drivers import SettingsError
from live.cli import main as command
from live.denoising.denoising import Denoising
from live.denoising.frames import MOST_FRAMES, training_frames
from live.denoising.train import Step, TrainingStopped, train_and_write
from live.denoising.training import DenoiseTraining, TrainingFacts
from live.experiment.settings import ExperimentSettings
from live.processes.children import ChildSpec
from live.processes.messages import (
    DenoiserSwapped,
    Fault,
    Message,
    SwapDenoiser,
    TrainDenoiser,
    TrainingProgress,
    decode,
    encode,
)
from live.recording.journal import Journal
from live.recording.runfolder import RunFolder
from live.report import RunReport
from live.session import Session
from models import PipelineSettings
from models.catalog import read_card

NETS = Path(__file__).parents[1] / "data" / "denoise"
NETWORK = {"name": "d", "denoise": {"kind": "network", "model": str(NETS / "average.onnx")}}


def main(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        command(arguments)
    return int(ended.value.code or 0)


class Post:
    """Takes what would go to processes."""

    def __init__(self) -> None:
        self.started: list[ChildSpec] = []
        self.sent: list[tuple[str, Message]] = []
        self.free = True

    def start(self, spec: ChildSpec) -> bool:
        if self.free:
            self.started.append(spec)
        return self.free

    def send(self, role: str, message: Message) -> bool:
        self.sent.append((role, decode(encode(message))))
        return True


def training(tmp_path: Path, journal: Journal, **pipeline: object) -> DenoiseTraining:
    settings = PipelineSettings.model_validate({**NETWORK, **pipeline})
    facts = TrainingFacts(tmp_path, tmp_path / "models", settings, "DAPI", window=True)
    return DenoiseTraining(facts, journal, lambda _: None)


def rows(tmp_path: Path, table: str) -> list[sqlite3.Row]:
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute(f"SELECT * FROM {table}").fetchall()
    finally:
        connection.close()


def test_better_weights_are_swapped_in_and_written_down(tmp_path: Path) -> None:
    post = Post()
    weights = tmp_path / "denoise-1.onnx"
    weights.write_bytes((NETS / "steady.onnx").read_bytes())
    with Journal(tmp_path / "journal.sqlite") as journal:
        train = training(tmp_path, journal)
        assert train.heard("display", TrainDenoiser(seconds=60, by="a test"), post)
        (spec,) = post.started
        assert (spec.role, spec.module, spec.restart) == (
            "trainer",
            "live.denoising.trainer",
            False,
        )
        assert train.ask(TrainDenoiser(), post).startswith("a training is going on")
        better = TrainingProgress(
            state="better", sentence="", loss_start=1.0, loss_best=0.8, frames=9,
            model=str(weights),
        )  # fmt: skip
        train.heard("trainer", better, post)
        role, swap = next(item for item in post.sent if isinstance(item[1], SwapDenoiser))
        assert role == "inference"
        assert isinstance(swap, SwapDenoiser)
        assert train.pipeline.denoise is not None
        assert train.pipeline.denoise.model_dump()["model"] == str(NETS / "average.onnx")
        done = DenoiserSwapped(path=swap.path, sha256=swap.sha256, model="m", first_seq=17)
        train.heard("inference", done, post)
        # a process that takes over must not go back to the old weights
        assert train.pipeline.denoise.model_dump()["model"] == str(weights)
        assert train.progress.state == "swapped"
        assert "frame 17" in train.progress.sentence
    (row,) = rows(tmp_path, "trainings")
    assert (row["outcome"], row["first_seq"], row["frames"]) == ("swapped", 17, 9)
    assert row["sha256"] == swap.sha256
    assert row["asked_by"] == "a test"


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        (TrainingProgress(state="not better", sentence="no"), "not better"),
        (TrainingProgress(state="failed", sentence="no torch"), "failed: no torch"),
        (Fault(role="trainer", sentence="it died"), "failed: it died"),
        (DenoiserSwapped(path="p", sha256="", failed="other hash"), "failed: the old weights stay"),
    ],
)
def test_nothing_changes_when_it_does_not_work(tmp_path: Path, word: Message, outcome: str) -> None:
    post = Post()
    with Journal(tmp_path / "journal.sqlite") as journal:
        train = training(tmp_path, journal)
        assert train.ask(TrainDenoiser(), post) == ""
        train.heard("inference" if isinstance(word, DenoiserSwapped) else "trainer", word, post)
        assert not any(isinstance(message, SwapDenoiser) for _, message in post.sent)
        assert train.pipeline == PipelineSettings.model_validate(NETWORK)
        assert train.ask(TrainDenoiser(), post) == ""  # and another may be asked for
    first = rows(tmp_path, "trainings")[0]
    assert first["outcome"].startswith(outcome)


def test_what_cannot_be_trained_is_refused_in_words(tmp_path: Path) -> None:
    post = Post()
    with Journal(tmp_path / "journal.sqlite") as journal:
        plain = training(tmp_path, journal, denoise={"kind": "gaussian"})
        assert "does not denoise with a network" in plain.ask(TrainDenoiser(), post)
        train = training(tmp_path, journal)
        for seconds in (0.0, math.nan, 1e9):
            assert "need 5 to 3600 s" in train.ask(TrainDenoiser(seconds=seconds), post)
        post.free = False
        assert "still ending" in train.ask(TrainDenoiser(), post)
    assert not post.started


def run(tmp_path: Path, trains: float) -> tuple[Path, RunReport]:
    """A real run on the simulated rig, with a training asked for as soon as frames are there."""
    out = tmp_path / "out"
    settings = ExperimentSettings.model_validate(
        {
            "name": "test",
            "rig": {"driver": "simulated", "seed": 5, "width": 128, "height": 128},
            "pipeline": NETWORK,
            "plan": {
                "channels": [{"config": "DAPI", "exposure": 5}],
                "time_plan": {"interval": 0.05, "loops": 100_000},
            },
            "inference": {"policy": "every", "ring_mb": 16},
            "record": {"reserve_mb": 10},
        }
    )
    session = Session(settings, RunFolder.create(out), seconds=60)
    session._denoising = Denoising(
        out, settings.pipeline, "DAPI", window=False, trainer="tests.live.quick_trainer"
    )
    answers: list[str] = []

    def ask() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if len(training_frames(out, channel="DAPI").pixels) > 5:
                    answers.append(session.train_denoiser(trains, "a test"))
                    break
            except SettingsError:
                time.sleep(0.1)
        while time.monotonic() < deadline:
            time.sleep(0.2)
            if rows(out, "trainings")[0]["outcome"].startswith(("swapped", "failed")):
                time.sleep(1.0)
                session.end("the test has seen enough")
                return

    thread = threading.Thread(target=ask)
    thread.start()
    report = session.run()
    thread.join(5)
    assert answers == [""]
    return out, report


def test_a_run_goes_on_with_new_weights_and_says_from_when(tmp_path: Path) -> None:
    out, report = run(tmp_path, trains=60)
    frames = report.frames
    assert frames["captured"] == frames["recorded"] == frames["analysed"]
    (row,) = rows(out, "trainings")
    assert row["outcome"] == "swapped"
    assert 0 < row["first_seq"] < frames["captured"]
    assert read_card(Path(row["path"])).sha256() == row["sha256"]
    denoised = rows(out, "denoise")
    for one in denoised:
        new = one["seq"] >= row["first_seq"]
        assert one["model"].startswith("denoise-1@" if new else "average@"), one["seq"]
    models = {r["seq"]: r["model"] for r in rows(out, "results")}
    assert "denoise-1@" in models[max(models)]
    assert "average@" in models[row["first_seq"] - 1]
    assert report.denoise["trainings"][0]["first_seq"] == row["first_seq"]
    assert any("swapped" in r["text"] for r in rows(out, "log"))


def test_a_trainer_that_dies_harms_nothing(tmp_path: Path) -> None:
    out, report = run(tmp_path, trains=5)
    assert report.frames["captured"] == report.frames["recorded"] == report.frames["analysed"]
    (row,) = rows(out, "trainings")
    assert row["outcome"].startswith("failed: trainer ended with code 9")
    assert rows(out, "restarts") == []
    assert report.exit_code == 0 or "disk" in " ".join(report.problems)


# --- frames -----------------------------------------------------------------------------------


def test_frames_of_files(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 900, (80, 96, 128), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack)
    found = training_frames(tmp_path / "a.tif")
    assert found.pixels.shape == (MOST_FRAMES, 96, 128)
    assert np.array_equal(found.pixels, stack[8 : 8 + MOST_FRAMES])
    tifffile.imwrite(tmp_path / "odd.tif", stack[0, :, :96])
    assert training_frames(tmp_path).pixels.shape[1:] == (96, 128)


def test_frames_too_small_or_missing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 32, 32), np.uint16))
    with pytest.raises(SettingsError, match="need 96 px each way"):
        training_frames(tmp_path / "a.tif")
    with pytest.raises(SettingsError, match="does not exist"):
        training_frames(tmp_path / "b")


# --- writing ----------------------------------------------------------------------------------


class Made:
    """What a training gives; its weights are a network made beforehand."""

    def __init__(self, after: float, frames: np.ndarray) -> None:
        self.loss_start, self.loss_best = 1.0, after
        self.history = [(0.0, 1.1, 1.0), (0.5, 1.0, after)]
        self.pictures = (frames[0], frames[0] * 0.5, frames[0] * 0.4)

    def write(self, path: Path) -> None:
        path.write_bytes((NETS / "steady.onnx").read_bytes())


@pytest.mark.parametrize("after", [0.7, 1.0, math.nan])
def test_only_what_is_better_is_written(tmp_path: Path, after: float) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((5, 96, 112), 300, np.uint16))
    frames = training_frames(tmp_path / "a.tif")
    seen: list[Step] = []

    def tune(pixels, start, seconds, seed, progress):  # type: ignore[no-untyped-def]
        progress(Step(1.0, 3.0, 1.0, 1.0, 1.0))
        return Made(after, pixels)

    out = tmp_path / "made" / "mine.onnx"
    trial = train_and_write(
        frames, NETS / "average.onnx", out, seconds=4, seed=1, progress=seen.append, fine_tune=tune
    )
    assert seen[0].done == 0.25
    assert trial.better == (after == 0.7) == out.is_file()
    assert (tmp_path / "made" / "mine-before-after.png").is_file()
    assert (tmp_path / "made" / "mine-loss.png").is_file()
    assert '"better"' in (tmp_path / "made" / "mine-scores.json").read_text()
    if trial.better:
        card = read_card(out)
        assert (card.name, card.task, card.pixel_multiple) == ("mine", "denoise", 8)
        assert "30.0%" in trial.sentence()


def test_a_training_that_is_stopped_writes_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((5, 96, 112), 300, np.uint16))

    def tune(pixels, start, seconds, seed, progress):  # type: ignore[no-untyped-def]
        progress(Step(1.0, 3.0, 1.0, 1.0, 1.0))

    def stop(_: Step) -> None:
        raise TrainingStopped

    out = tmp_path / "mine.onnx"
    with pytest.raises(TrainingStopped):
        train_and_write(
            training_frames(tmp_path / "a.tif"), NETS / "average.onnx", out, seconds=4, seed=1,
            progress=stop, fine_tune=tune,
        )  # fmt: skip
    assert not out.exists()


def test_command_refuses_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the command looks for torch first")
    pytest.importorskip("onnxscript", reason="and for what exports")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 96, 96), np.uint16))
    base = ["models", "train", "denoise", str(tmp_path / "a.tif"), "--out", str(tmp_path / "o")]
    for more, words in (
        (["--start", "nuclei"], "network to segment, need one to denoise"),
        (["--start", "nonsense"], "no model named"),
        (["--minutes", "0"], "need more than 0"),
        (["--name", "a/b"], "without folders"),
    ):
        assert main([*base, *more]) == 2
        assert words in " ".join(capsys.readouterr().err.split())


def test_the_lowest_priority_is_taken() -> None:
    code = (
        "import psutil; from live.processes.background import give_way; give_way(); "
        "print(int(psutil.Process().nice()))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert int(told.stdout) == (64 if sys.platform == "win32" else 19)
