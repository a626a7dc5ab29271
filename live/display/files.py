"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path


def write_whole(content: bytes, path: Path) -> None:
    """Write a file beside ``path`` and put it in its place, so that a reader never sees half.

    Raises
    ------
    OSError
        When it cannot be written; ``path`` is then as before, and nothing else is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def free_name(folder: Path, stem: str) -> Path:
    """First of ``stem.png``, ``stem-2.png``, ... that does not exist in ``folder``."""
    path, number = folder / f"{stem}.png", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}.png", number + 1
    return path
