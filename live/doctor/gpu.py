"""The NVIDIA GPU of this machine, and which TensorRT to install for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.engines.trt.flavours import FLAVOURS, Flavour, flavour_for, flavour_named

TIMEOUT_S = 10.0
LEAST_DRIVER = 580
"""The oldest driver that runs CUDA 13, which both packages are built for."""
OLDEST = "7.5"
"""Compute capability below which no TensorRT of today runs."""
_QUERY = "name,compute_cap,driver_version,memory.total"
# a driver that is installed without being on the path of programs
_PLACES = (r"C:\Windows\System32\nvidia-smi.exe", "/usr/lib/wsl/lib/nvidia-smi")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU."""

    name: str
    capability: str
    """Compute capability, as ``8.6``."""
    driver: str
    memory_mb: int


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about TensorRT here."""

    sentence: str
    install: str
    """The line to type; empty where nothing would help."""


def find_gpus() -> tuple[tuple[Gpu, ...], str]:
    """The NVIDIA GPUs, as the driver's own program lists them, and why there are none.

    Takes up to ``TIMEOUT_S``. The second value is empty where the first is not.
    """
    program = shutil.which("nvidia-smi") or next((p for p in _PLACES if Path(p).is_file()), None)
    if program is None:
        return (), "no NVIDIA driver is installed (there is no nvidia-smi)"
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return (), f"nvidia-smi did not answer in {TIMEOUT_S:g} s; restart the machine"
    except OSError as error:
        return (), f"nvidia-smi does not run: {error}"
    if said.returncode != 0:
        lines = (said.stdout + said.stderr).strip().splitlines() or ["it gave no reason"]
        return (), f"nvidia-smi failed: {lines[0]}"
    found = gpus_of(said.stdout)
    return found, "" if found else "nvidia-smi lists no GPU"


def gpus_of(listing: str) -> tuple[Gpu, ...]:
    """GPUs of what ``nvidia-smi`` lists; lines that are none are passed over."""
    found = []
    for line in listing.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 4 or not _is_capability(parts[1]):
            continue
        memory = int(float(parts[3])) if parts[3].replace(".", "", 1).isdigit() else 0
        found.append(Gpu(parts[0], parts[1], parts[2], memory))
    return tuple(found)


def advice_for(
    gpus: Sequence[Gpu], platform: str = sys.platform, installed: frozenset[str] | None = None
) -> Advice:
    """Which TensorRT suits the first GPU, or a workstation that gets one; with the line to type.

    Parameters
    ----------
    gpus
        Of this machine.
    platform
        As ``sys.platform`` names it.
    installed
        Names of the flavours that are; None looks for them.
    """
    rtx = flavour_named("tensorrt-rtx")
    if platform == "darwin":
        return Advice("TensorRT needs an NVIDIA GPU under Linux or Windows.", "")
    if not gpus:
        line = _line(rtx)
        return Advice(
            "With an NVIDIA GPU of the RTX generations (GTX 16 and RTX 20 or newer) in this "
            "machine, install TensorRT:",
            line,
        )
    gpu = gpus[0]
    if _number(gpu.capability) < _number(OLDEST):
        return Advice(
            f"{gpu.name} (compute capability {gpu.capability}) is too old for TensorRT, which "
            f"needs {OLDEST}; the CPU runs the networks.",
            "",
        )
    flavour = flavour_for(gpu.capability)
    driver = gpu.driver.split(".")[0]
    old = driver.isdigit() and int(driver) < LEAST_DRIVER
    update = (
        f" Its driver {gpu.driver} is too old: update it to {LEAST_DRIVER} or newer first."
        if old
        else ""
    )
    if installed is None:
        installed = frozenset(one.name for one in FLAVOURS if one.installed)
    if flavour.name in installed:
        return Advice(f"{flavour.name} is installed, as suits {gpu.name}.{update}", "")
    return Advice(
        f"For {gpu.name} (compute capability {gpu.capability}) install {flavour.name}:{update}",
        _line(flavour),
    )


def _line(flavour: Flavour) -> str:
    return f"python -m {flavour.install}"


def _is_capability(text: str) -> bool:
    major, dot, minor = text.partition(".")
    return bool(dot) and major.isdigit() and minor.isdigit()


def _number(capability: str) -> tuple[int, int]:
    major, minor = capability.split(".")
    return int(major), int(minor)
