"""Where built engines are kept, and how it is made sure that only the right one is loaded.

A file is a header, which states all that the engine depends on and the hash of what follows, and
the engine. It is written whole beside its place and then moved there. A file that was cut short,
damaged, or made by another version is never loaded: it is removed and the reason given.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from models.errors import EngineError

MAGIC: Final = b"PFENGINE"
FORMAT: Final = 1
_HEAD: Final = struct.Struct("<8sII")
"""Magic, format, bytes of the JSON that follows."""

MOST_BYTES: Final = 2 << 30
"""Most that a cache holds; what was used longest ago goes first."""

MOST_HEADER: Final = 64 << 10
ENGINE, JIT = ".engine", ".jit"
"""Built ahead, and what the driver made of it at the first run."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that a built engine depends on."""

    model: str
    """Name of the ONNX file, for people."""
    model_sha256: str
    precision: str
    sizes: str
    """Shapes that it takes, see ``models.engines.trt.sizes``."""
    flavour: str
    flavour_version: str
    gpu: str
    """Name of the GPU; empty where the engine is for several kinds."""
    capability: str
    """Compute capability, or several with commas."""
    driver: str
    """Version of the GPU's driver; empty where built without one."""

    def file_name(self) -> str:
        """Name without ending. Versions are left out: a newer one takes the older one's place."""
        lasting = (
            self.model_sha256,
            self.precision,
            self.sizes,
            self.flavour,
            self.gpu,
            self.capability,
        )
        digest = hashlib.sha256(json.dumps(lasting).encode()).hexdigest()[:20]
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in self.model)[:40]
        return f"{safe}-{self.flavour}-{self.precision}-{digest}"


@dataclass(frozen=True, slots=True)
class Kept:
    """What was found in the cache."""

    payload: bytes | None
    """The engine; None when there is none to load."""
    reason: str
    """Why there is none; empty when there is."""


def cache_folder(environment: Mapping[str, str] | None = None, platform: str = "") -> Path:
    """Folder of built engines for this user, not yet made.

    ``PARFOCAL_CACHE`` names another one, as do the usual settings of each system.
    """
    env = os.environ if environment is None else environment
    if env.get("PARFOCAL_CACHE"):
        return Path(env["PARFOCAL_CACHE"]) / "engines"
    system = platform or sys.platform
    if system == "win32":
        local = env.get("LOCALAPPDATA")
        root = Path(local) if local else Path.home() / "AppData" / "Local"
        return root / "parfocal" / "Cache" / "engines"
    if system == "darwin":
        return Path.home() / "Library" / "Caches" / "parfocal" / "engines"
    given = env.get("XDG_CACHE_HOME", "")
    root = Path(given) if given.startswith("/") else Path.home() / ".cache"
    return root / "parfocal" / "engines"


def write_kept(path: Path, key: EngineKey, payload: bytes) -> None:
    """Write one file whole, or not at all.

    Raises
    ------
    EngineError
        When the disk does not take it.
    """
    header = json.dumps(
        {
            "key": asdict(key),
            "sha256": hashlib.sha256(payload).hexdigest(),
            "bytes": len(payload),
        },
        sort_keys=True,
    ).encode()
    partial = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(_HEAD.pack(MAGIC, FORMAT, len(header)))
            file.write(header)
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except OSError as error:
        if partial:
            Path(partial).unlink(missing_ok=True)
        raise EngineError(
            f"cannot keep the built engine as {path}: {error}; free the disk or set "
            "PARFOCAL_CACHE to a folder that can be written"
        ) from error


def read_kept(path: Path, key: EngineKey, ignore: tuple[str, ...] = ()) -> Kept:
    """Payload of a file, if it is whole and for this key; changes nothing.

    Parameters
    ----------
    path
        File.
    key
        What it must have been made for.
    ignore
        Fields of the key that need not be the same.
    """
    found = _parsed(path)
    if isinstance(found, str):
        return Kept(None, found)
    for field in fields(EngineKey):
        got, need = getattr(found.key, field.name), getattr(key, field.name)
        if field.name not in ignore and got != need:
            return Kept(None, f"made for {field.name} {got!r}, here it is {need!r}")
    if len(found.payload) != found.size:
        return Kept(None, f"cut short: {len(found.payload)} of {found.size} bytes")
    if hashlib.sha256(found.payload).hexdigest() != found.digest:
        return Kept(None, "damaged: its content does not have the hash in its header")
    return Kept(found.payload, "")


def key_of(path: Path) -> EngineKey | None:
    """What a file says that it was made for; None when it cannot be read or is no engine."""
    found = _parsed(path)
    return None if isinstance(found, str) else found.key


@dataclass(frozen=True, slots=True)
class _Parsed:
    key: EngineKey
    digest: str
    size: int
    payload: bytes


def _parsed(path: Path) -> _Parsed | str:
    """Content of a file, not yet compared with its hash; or why there is none."""
    if not path.is_file():
        return "not built yet"
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error}"
    if len(content) < _HEAD.size:
        return "cut short in its header"
    magic, form, length = _HEAD.unpack_from(content)
    if magic != MAGIC:
        return "not an engine of this program"
    if form != FORMAT:
        return f"of format {form}, this program writes {FORMAT}"
    start = _HEAD.size + length
    if length > MOST_HEADER or len(content) < start:
        return "cut short in its header"
    try:
        header = json.loads(content[_HEAD.size : start])
        key = EngineKey(**{name: str(value) for name, value in header["key"].items()})
        return _Parsed(key, str(header["sha256"]), int(header["bytes"]), content[start:])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"damaged in its header ({error})"


class EngineCache:
    """A folder of built engines of bounded size.

    Parameters
    ----------
    folder
        Made when first written to.
    most_bytes
        Most that it holds.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self.folder, self._most = folder, most_bytes

    def path(self, key: EngineKey, ending: str = ENGINE) -> Path:
        """Where the engine of a key lies, or would."""
        return self.folder / f"{key.file_name()}{ending}"

    def load(self, key: EngineKey, ending: str = ENGINE) -> Kept:
        """The engine of a key. One that is damaged or outdated is removed; blocks on the disk."""
        path = self.path(key, ending)
        kept = read_kept(path, key)
        if kept.payload is not None:
            _touch(path)
        elif path.is_file():
            self.remove(key, ending)
        return kept

    def save(self, key: EngineKey, payload: bytes, ending: str = ENGINE) -> Path:
        """Keep an engine, and make room for it; raises ``EngineError`` when the disk is full."""
        path = self.path(key, ending)
        write_kept(path, key, payload)
        self._make_room(path)
        return path

    def remove(self, key: EngineKey, ending: str = ENGINE) -> None:
        """Take the engine of a key away; nothing happens where there is none.

        Raises
        ------
        EngineError
            When the system does not let it go.
        """
        path = self.path(key, ending)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise EngineError(f"cannot remove the outdated {path}: {error}; remove it") from error

    def _make_room(self, newest: Path) -> None:
        """Remove what was used longest ago, never the newest, until the rest fits."""
        found = []
        for path in self.folder.iterdir():
            if path.suffix in (ENGINE, JIT) and path != newest:
                try:
                    state = path.stat()
                except FileNotFoundError:  # another process removed it
                    continue
                found.append((state.st_mtime_ns, path, state.st_size))
        room = self._most - newest.stat().st_size
        for _, path, size in sorted(found, reverse=True):
            room -= size
            if room < 0:
                try:
                    path.unlink(missing_ok=True)
                except PermissionError:  # on Windows a file that is being read stays
                    continue


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        # only the order in which files are removed depends on it
        return
