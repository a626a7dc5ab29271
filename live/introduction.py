"""What a run says of itself before it begins."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from drivers import ImageFormat, RigInfo


def introduce(console: Console, info: RigInfo, image: ImageFormat, folder: Path) -> None:
    """Print what the rig is, what its frames are, and where they go."""
    scale = f"{image.pixel_size_um:g} µm/px" if image.pixel_size_um else "uncalibrated"
    lines = [
        f"Rig {info.name}: camera {info.camera}, {image.width} x {image.height} "
        f"{image.dtype} ({image.bit_depth} bit), {scale}",
        f"Configuration: {info.config}" if info.config else "",
        f"Device adapters: {info.adapters}" if info.adapters else "",
        f"Driven by {info.software}" if info.software else "",
        *(f"Note: {note}" for note in info.notes),
        f"Recording to {folder}",
    ]
    for line in filter(None, lines):
        console.print(line, markup=False, soft_wrap=True)
