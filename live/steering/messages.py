"""What ``parfocal ctl`` and a run say to each other, and the file by which they find each other."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import msgspec

from drivers.errors import WireError
from live.errors import UsageError

FILE = "ctl.json"
MAX_BYTES = 64 * 2**10
VERSION = 1


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One command."""

    version: int = VERSION
    token: str
    words: tuple[str, ...]
    by: str = "parfocal ctl"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    ok: bool
    text: str
    data: dict[str, object] = {}
    """State of the run, for ``status``."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where a run listens, and the word that opens."""

    address: str
    token: str

    def write(self, folder: Path) -> Path:
        """Write it into a run folder, readable by its owner alone."""
        path = folder / FILE
        # The folder of a run is new, so a file of this name is not ours to write through.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump({"address": self.address, "token": self.token, "pid": os.getpid()}, file)
        return path

    @classmethod
    def read(cls, folder: Path) -> Door:
        """Read it; ``UsageError`` when the folder is no run, or none that goes on."""
        path = folder / FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(str(data["address"]), str(data["token"]))
        except FileNotFoundError:
            if not folder.is_dir():
                raise UsageError(f"{folder}: there is no such folder; name that of a run") from None
            raise UsageError(
                f"{folder} is not the folder of a run that goes on: it has no {FILE}"
            ) from None
        except PermissionError:
            raise UsageError(f"{path}: only who started the run may steer it") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from error

    @staticmethod
    def remove(folder: Path) -> None:
        """Take it away when the run ends."""
        with contextlib.suppress(FileNotFoundError):
            (folder / FILE).unlink()


def new_token() -> str:
    """A word that nobody can guess."""
    return secrets.token_hex(16)


_request = msgspec.msgpack.Decoder(Request)
_answer = msgspec.msgpack.Decoder(Answer)
_encoder = msgspec.msgpack.Encoder()


def encode(message: Request | Answer) -> bytes:
    """Message to bytes."""
    return _encoder.encode(message)


def decode_request(data: bytes) -> Request:
    """Bytes to a command; ``WireError`` when malformed, oversized or of another version."""
    if len(data) > MAX_BYTES:
        raise WireError(f"a command of {len(data)} bytes, at most {MAX_BYTES} are taken")
    try:
        found = _request.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise WireError(f"the command is malformed: {error}") from error
    if found.version != VERSION:
        raise WireError(f"a command of version {found.version}, this run speaks {VERSION}")
    return found


def decode_answer(data: bytes) -> Answer:
    """Bytes to an answer; ``WireError`` when malformed."""
    try:
        return _answer.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise WireError(f"the run's answer is malformed: {error}") from error
