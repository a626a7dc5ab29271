"""A Micro-Manager microscope in this process, through pymmcore-plus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import mm_test_adapters
import pymmcore

from drivers.errors import RigError, SettingsError
from drivers.mmcore import CoreRig, release_core
from drivers.mmcore_names import set_property
from drivers.plus import CMMCorePlus, find_micromanager, pymmcore_plus, silent
from drivers.settings import MicroManagerSettings

TEST_ADAPTERS = "mm-test-adapters"
DEMO = "demo"


def open_micromanager(settings: MicroManagerSettings) -> CoreRig:
    """Rig of a Micro-Manager configuration; the hardware is opened on entering its block.

    Raises
    ------
    SettingsError
        When the configuration or the adapters' folder does not exist.
    """
    adapters, note = adapter_folder(settings.adapters, settings.config)
    config = config_file(settings.config)

    def open_core() -> CMMCorePlus:
        # Given a path, it does not look for one in the user's settings of pymmcore-plus.
        core = CMMCorePlus(mm_path=str(adapters))
        try:
            load_config(core, config, adapters)
            for device, name, value in settings.startup:
                set_property(core, device, name, value)
        except BaseException as error:
            release_core(core)
            if isinstance(error, RigError):
                raise SettingsError(f"startup: {error}") from error
            raise
        return core

    return CoreRig(
        open_core,
        name="micromanager",
        config=str(config),
        adapters=str(adapters),
        software=f"pymmcore-plus {pymmcore_plus.__version__}, pymmcore {pymmcore.__version__}",
        notes=note,
        limits=settings.limits.limits(),
        camera_buffer_mb=settings.camera_buffer_mb,
        ready_timeout_s=settings.ready_timeout_s,
    )


def config_file(config: str) -> Path:
    """Absolute path of a ``.cfg``; ``demo`` is the one of ``mm-test-adapters``."""
    if config == DEMO:
        return Path(mm_test_adapters.device_adapter_path()) / "MMConfig_demo.cfg"
    path = Path(config).expanduser().absolute()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise SettingsError(
            f"config: {path} {what}; give a Micro-Manager .cfg file, or 'demo' for the demo camera"
        )
    return path


def adapter_folder(adapters: str | None, config: str = "") -> tuple[Path, tuple[str, ...]]:
    """Folder that device adapters are loaded from, and what the user should know about it."""
    if adapters == TEST_ADAPTERS or (adapters is None and config == DEMO):
        return Path(mm_test_adapters.device_adapter_path()), ()
    if adapters is not None:
        path = Path(adapters).expanduser().absolute()
        if not path.is_dir():
            raise SettingsError(
                f"adapters: folder {path} does not exist; give the Micro-Manager folder with its "
                f"mmgr_dal files, or '{TEST_ADAPTERS}'"
            )
        return path, ()
    found = find_micromanager()
    if not found:
        raise SettingsError(
            "adapters: pymmcore-plus finds no Micro-Manager here; install one ('mmcore install'), "
            f"or name the folder with its mmgr_dal files, or '{TEST_ADAPTERS}'"
        )
    note = f"adapters were not named; pymmcore-plus, by its per-user settings, found {found}"
    return Path(found), (note,)


def load_config(core: Any, config: Path, adapters: Path) -> None:
    """Load a ``.cfg`` into a core; raises ``SettingsError`` with the line at fault where known."""
    try:
        with silent():
            core.loadSystemConfiguration(str(config))
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        if lines and re.match(r"Line \d+:", lines[0]):
            place, _, text = lines[0].partition(":")
            why = f"{place.lower()} ({text.strip()}): {'; '.join(lines[1:]) or 'refused'}"
        else:
            why = "; ".join(lines) or type(error).__name__
        raise SettingsError(f"{config}: {why} (adapters from {adapters})") from error
