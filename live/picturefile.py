"""Writing one picture where someone asked for it: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from live.errors import UsageError


def check_png(target: Path) -> None:
    """Refuse a name that is no PNG, with ``UsageError``."""
    if target.suffix.lower() != ".png":
        raise UsageError(
            f"--picture {target}: there is one picture to write; give a name that ends in .png"
        )


def save_whole(target: Path, draw: Callable[[], Image.Image]) -> Path:
    """Draw a picture and write it as PNG; leaves nothing half done.

    Returns
    -------
    Path
        Where it is.

    Raises
    ------
    UsageError
        When ``target`` is no PNG or cannot be written.
    """
    target = target.expanduser()
    check_png(target)
    part = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        draw().save(part, "PNG")
        part.replace(target)
    except OSError as error:
        raise UsageError(
            f"--picture {target}: cannot be written: {error.strerror or error}"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return target
