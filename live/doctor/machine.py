"""What this machine is: processor, memory, disk, GPU. Looks, and measures nothing."""

from __future__ import annotations

import ctypes
import getpass
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from live.doctor.gpu import Gpu, find_gpus
from live.processes.foremost import FIRST_NICE, may_go_first
from models.engines.threads import physical_cores

LOOK_S = 1.0
"""How long is watched what other programs use of the processor."""

BUSY_CORES = 0.3
"""More than this of a core in use by others is worth a remark."""

_FLAGS: Final = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_bf16": "AMX-BF16",
    "amx_int8": "AMX-INT8",
    "asimddp": "dot product",
    "bf16": "BF16",
}
"""Instructions that networks run faster with, as Linux names them -> for people."""

_WINDOWS: Final = {40: "AVX2", 41: "AVX-512"}
"""Numbers of ``IsProcessorFeaturePresent``; Windows tells no more."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Of one computer."""

    system: str
    python: str
    processor: str
    cores: int
    """Physical ones that this process may use."""
    threads: int
    """Logical ones of the machine."""
    instructions: tuple[str, ...]
    """Of those that networks run faster with; empty also where the system does not tell."""
    memory_gb: float
    memory_free_gb: float
    disk: str
    """Folder that recording was measured in."""
    disk_free_gb: float
    gpus: tuple[Gpu, ...]
    no_gpu: str
    """Why there is none; empty where there is one."""
    busy_cores: float
    """What other programs used of the processor before anything was measured."""
    goes_first: bool = True
    """Whether the process that owns the camera may go before others."""

    @property
    def busy(self) -> str:
        """A remark when other programs were at work; empty on a quiet machine."""
        if self.busy_cores < BUSY_CORES:
            return ""
        return (
            f"the machine was busy: other programs used {self.busy_cores:.1f} of {self.threads} "
            "cores. Close them and measure again for the rates of a quiet one"
        )

    @property
    def priority(self) -> str:
        """Whether the camera's process goes first, and what to do where it may not."""
        if self.goes_first:
            return "Priority: while imaging, the camera's process goes before other programs."
        lacks = (
            "Priority: this user's programs may not go before others, so frames come late while "
            "others work."
        )
        if not self.system.startswith("Linux"):
            return lacks
        line = f"{getpass.getuser()} - nice {FIRST_NICE}"
        return f"{lacks} Add the line '{line}' to /etc/security/limits.conf and log in anew."

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self) | {"busy": self.busy}


def look_at_machine(disk: Path) -> Machine:
    """Look at this computer; ``disk`` is a folder that exists. Takes about ``LOOK_S``."""
    gpus, no_gpu = find_gpus()
    logical = psutil.cpu_count() or 1
    memory = psutil.virtual_memory()
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        processor=_processor(),
        cores=physical_cores(),
        threads=logical,
        instructions=_instructions(),
        memory_gb=memory.total / 1e9,
        memory_free_gb=memory.available / 1e9,
        disk=str(disk),
        disk_free_gb=shutil.disk_usage(disk).free / 1e9,
        gpus=gpus,
        no_gpu=no_gpu,
        busy_cores=psutil.cpu_percent(LOOK_S) / 100 * logical,
        goes_first=may_go_first(),
    )


def _processor() -> str:
    for line in _cpuinfo():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    named = os.environ.get("PROCESSOR_IDENTIFIER", "") if sys.platform == "win32" else ""
    return named or platform.processor() or platform.machine()


def _instructions() -> tuple[str, ...]:
    if sys.platform == "win32":
        return tuple(name for number, name in _WINDOWS.items() if _windows_has(number))
    for line in _cpuinfo():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return instructions_of(value)
    return ()


def instructions_of(flags: str) -> tuple[str, ...]:
    """Those that matter among the flags that Linux gives, for people."""
    has = set(flags.split())
    return tuple(name for flag, name in _FLAGS.items() if flag in has)


def _windows_has(number: int) -> bool:
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - there on Windows alone
    return bool(kernel.IsProcessorFeaturePresent(number))


def _cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
