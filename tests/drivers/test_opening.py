"""Settings of rigs, and the way from a name to a driver."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from drivers import SettingsError, open_rig, rig_drivers, rig_settings

SHIPPED = sorted((Path(__file__).parents[2] / "config" / "rigs").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_rigs_are_valid(path: Path) -> None:
    settings = rig_settings(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert settings.driver in rig_drivers()


def test_every_driver_has_a_shipped_rig() -> None:
    drivers = {yaml.safe_load(path.read_text(encoding="utf-8"))["driver"] for path in SHIPPED}
    assert drivers == {"micromanager", "simulated", "pycromanager", "replay"}
    assert drivers <= set(rig_drivers())


def test_an_unknown_driver_lists_the_real_ones() -> None:
    @dataclass
    class Strange:
        driver: str = "labview"

    with pytest.raises(SettingsError, match=r"'labview' is unknown; there are: .*micromanager"):
        open_rig(Strange())
    with pytest.raises(ValidationError, match="micromanager"):
        rig_settings({"driver": "labview"})


def test_importing_the_package_is_light() -> None:
    heavy = "{'pymmcore_plus', 'pymmcore', 'tensorstore', 'tifffile', 'useq', 'pydantic', 'numpy'}"
    script = f"import sys, drivers; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists() -> None:
    import drivers

    for name in drivers.__all__:
        assert getattr(drivers, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = drivers.Nonsense
