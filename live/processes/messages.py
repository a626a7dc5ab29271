"""What the rig process and its children say to each other beside frames: typed, versioned, bounded.

The rig binds a ROUTER; each child connects a DEALER and proves with the run's token that it was
started by this run. A message that cannot be decoded is counted and refused, never fatal.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from drivers.errors import WireError
from drivers.frame import FrameMeta
from drivers.ring import SlotRef
from models import OBJECT_DTYPE, PipelineSettings
from models.result import DenoiseReport, Repair, Verdict

PROTOCOL = 2
MAX_BYTES = 64 * 2**20


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    version: int = PROTOCOL
    number: int = 0
    """Count of what a child said, from 1; the rig counts nothing."""


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """First word of a child."""

    role: str
    pid: int
    token: str


class Ready(_Message, frozen=True, kw_only=True, tag="ready"):
    """The child is warmed up; the engine named here was proven by running it."""

    role: str
    engine: str = ""
    precision: str = ""
    device: str = ""
    model: str = ""
    warm_up_ms: float = 0.0


class Beat(_Message, frozen=True, kw_only=True, tag="beat"):
    """Sign of life, both ways, twice a second, with the child's counts of what it lost."""

    role: str
    drops: dict[str, int] = {}
    rate_hz: float = 0.0
    rss_mb: float = 0.0


class Configure(_Message, frozen=True, kw_only=True, tag="configure"):
    """All that an inference process needs: read by the rig, handed down, never read again."""

    pipeline: str
    """``PipelineSettings`` as JSON."""
    frames: str
    """Address of this child's frame stream."""
    frames_ahead: int = 0
    """Port at which it asks for words ahead of that stream; 0 for none."""
    policy: str
    """``every`` or ``newest``."""
    height: int
    width: int
    dtype: str
    state: bytes = b""
    """Tracker state of the process before, so that the same cells keep their ids."""
    ring_mb: float = 128.0
    send_denoised: bool = False


class ConfigureDisplay(_Message, frozen=True, kw_only=True, tag="configure_display"):
    """All that the window needs."""

    frames: str
    title: str
    offscreen: bool
    screenshot: str
    """PNG that keeps the last picture; snapshots go beside it."""
    taught: str = ""
    """Folder for the objects that someone names by clicks; empty where that is not offered."""


class Result(_Message, frozen=True, kw_only=True, tag="result"):
    """What inference says of one frame."""

    meta: FrameMeta
    ref: SlotRef | None
    """Label image (and denoised image) in the inference process's ring."""
    objects: bytes
    """Rows of ``models.OBJECT_DTYPE``."""
    stage_ms: dict[str, float]
    ring_ns: int
    received_ns: int
    start_ns: int
    end_ns: int
    classes: tuple[str, ...] = ()
    """Names that ``class_id`` of the objects counts into. They come with the rows, not once, so
    that no row is ever read with the names of another process."""
    verdict: Verdict | None = None
    """The newest check of whether the images are of the kind that the networks know."""
    denoise: DenoiseReport | None = None
    """What is to be said of the denoised image; None where no network denoises."""
    repairs: tuple[Repair, ...] = ()
    """What tracking changed of the segmentation."""
    state: bytes = b""
    """Tracker state after this frame; sent every few frames."""
    failed: str = ""
    """Why this frame has no result; empty when it has."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule suggests, as long as it can be accepted."""

    number: int
    rule: str
    text: str
    left_s: float


class Steer(_Message, frozen=True, kw_only=True, tag="steer"):
    """A command to the run, in the words of ``parfocal ctl``; from the window."""

    words: tuple[str, ...]
    by: str = "the window"


class Status(_Message, frozen=True, kw_only=True, tag="status"):
    """What the window's HUD shows; sent by the rig a few times a second."""

    camera_hz: float
    inference_hz: float
    drops: dict[str, int]
    engine: str
    latency_ms: dict[str, float]
    rules: list[tuple[str, int, str, bool]]
    """Rule, times fired, last cause, armed."""
    events: list[str]
    recorded: int
    captured: int
    phase: str
    warning: str = ""
    target_um: tuple[float, float] | None = None
    modes: dict[str, str] = {}
    """Rule -> ``observe``, ``suggest`` or ``auto``."""
    asked: list[Asked] = []
    """Suggestions that wait for an answer, oldest first."""


class Stop(_Message, frozen=True, kw_only=True, tag="stop"):
    """End in order. From the window: the user closed it."""

    reason: str = ""


class Fault(_Message, frozen=True, kw_only=True, tag="fault"):
    """The child cannot go on, in one sentence."""

    role: str
    sentence: str
    fatal: bool = False
    """True when trying again cannot help: settings are wrong."""


class EngineFault(_Message, frozen=True, kw_only=True, tag="engine_fault"):
    """An engine failed, and what inference did about it."""

    fault: str
    """Its name: ``value``, ``shape``, ``out_of_memory``, ``device_lost`` ..."""
    step: str
    sentence: str
    seq: int = -1
    """Frame that it happened on; -1: on none."""


class TrainDenoiser(_Message, frozen=True, kw_only=True, tag="train_denoiser"):
    """Asks the rig to train the denoiser on the frames of this run; from the window or ``ctl``."""

    seconds: float = 180.0
    by: str = "the window"


class ConfigureTrainer(_Message, frozen=True, kw_only=True, tag="configure_trainer"):
    """All that a trainer process needs."""

    run: str
    """Folder of the run, whose recorded frames it reads."""
    channel: str
    """Preset whose frames are used; empty for every frame."""
    start: str
    """ONNX file to start from."""
    out: str
    """ONNX file to write when it comes out better; its card and pictures go beside it."""
    seconds: float
    seed: int = 1


class TrainingProgress(_Message, frozen=True, kw_only=True, tag="training_progress"):
    """How training the denoiser goes; from the trainer to the rig, and on to the window."""

    state: str
    """``reading``, ``training``, ``better``, ``not better``, ``failed``, ``swapped``."""
    sentence: str
    done: float = 0.0
    """Share of the time, 0 to 1."""
    left_s: float = 0.0
    loss_start: float = float("nan")
    """Held-out self-supervised loss of the weights that it started from."""
    loss_best: float = float("nan")
    frames: int = 0
    model: str = ""
    """ONNX file, once it is written."""
    picture: str = ""
    """PNG of before and after, once it is written."""


class SwapDenoiser(_Message, frozen=True, kw_only=True, tag="swap_denoiser"):
    """Tells inference to go on with other weights from the next frame on."""

    path: str
    sha256: str


class DenoiserSwapped(_Message, frozen=True, kw_only=True, tag="denoiser_swapped"):
    """Inference went on with other weights, or could not."""

    path: str
    sha256: str
    model: str = ""
    """Name and hash as results carry it."""
    first_seq: int = -1
    """First frame that was denoised by them."""
    failed: str = ""
    """Why the old ones stay, in a sentence; empty when they do not."""


Message = (
    Hello | Ready | Beat | Configure | ConfigureDisplay | Result | Status | Stop | Fault
    | EngineFault | Steer | TrainDenoiser | ConfigureTrainer | TrainingProgress | SwapDenoiser
    | DenoiserSwapped
)  # fmt: skip

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Message to bytes."""
    return _encoder.encode(message)


def decode(data: bytes | memoryview) -> Message:
    """Bytes to message; ``WireError`` when malformed, oversized or of another version."""
    if len(data) > MAX_BYTES:
        raise WireError(f"message of {len(data)} bytes, at most {MAX_BYTES} are taken")
    try:
        message = _decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise WireError(f"message is malformed: {error}") from error
    if message.version != PROTOCOL:
        raise WireError(f"message of version {message.version}, this program speaks {PROTOCOL}")
    return message


def sign_ahead(token: str, role: str) -> bytes:
    """What a child puts before a word ahead, so that the rig knows who speaks."""
    return f"{token} {role} ".encode()


def objects_to_bytes(objects: NDArray[np.void]) -> bytes:
    """Object table to bytes."""
    return np.ascontiguousarray(objects, OBJECT_DTYPE).tobytes()


def objects_from_bytes(data: bytes) -> NDArray[np.void]:
    """Bytes to object table, read-only; ``WireError`` when they are no whole number of rows."""
    if len(data) % OBJECT_DTYPE.itemsize:
        raise WireError(
            f"object table of {len(data)} bytes: not a whole number of rows of "
            f"{OBJECT_DTYPE.itemsize} bytes"
        )
    return np.frombuffer(data, OBJECT_DTYPE)


def pipeline_to_json(settings: PipelineSettings) -> str:
    """Settings in the form that ``Configure`` carries."""
    return settings.model_dump_json()
