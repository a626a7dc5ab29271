"""The protection of one run: the gate before the rig, the light ledger, and where both are kept.

What is guaranteed. Every event, exposure and sequence passes one gate, and nothing of an event that
a limit refuses has happened. A refused action of a rule ends that action, and the run goes on; a
refused event of the user's own plan ends the run in order. The light goes off

- after each exposure and each sequence, by the core's autoshutter, and again by our own ``stop``;
- at the end of a run, also by an error, Ctrl-C or SIGTERM: every shutter of the configuration is
  closed and asked whether it is, and the report says so (``light.left_on``);
- when this process is killed, as far as another process can: `live.light.guard` opens the shutters'
  part of the configuration and closes them. It needs the driver to let go of the dead process's
  port, and it cannot help when the computer itself stops, a driver hangs, or Micro-Manager owns the
  hardware (pycro-manager): there only a light that the camera triggers is safe.

Counted is what the camera exposed: power times exposure, at the power that the table says. Light
that no exposure asks for, such as a lamp behind no shutter, is not seen.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drivers import LimitSettings, ProtectedRig, RigError, open_rig
from drivers.settings import MicroManagerSettings
from live.light.dose import DoseLedger
from live.light.guard import LightGuard
from live.light.picture import write_picture
from live.light.settings import LightSettings
from live.light.store import carry_over, save
from live.processes.messages import Result, objects_from_bytes
from live.recording.errors import JournalError
from live.recording.journal import Journal

SAVE_EVERY_S = 2.0
PICTURE = "light.png"
"""In the folder of a run: where the light fell."""


class Protection:
    """Limits and light budget of a run.

    Parameters
    ----------
    light
        Power table and caps.
    rig
        Settings of the rig; its ``limits`` bind, where it has any.
    folder
        Of the run.
    """

    def __init__(self, light: LightSettings, rig: Any, folder: Path) -> None:
        self.ledger = DoseLedger(light)
        self._light = light
        self._rig = rig
        self._folder = folder
        self._gate: ProtectedRig | None = None
        self._left_on: tuple[str, ...] = ()
        self._journal: Journal | None = None
        self._saved_s = time.monotonic()
        self._live = True

    @contextlib.contextmanager
    def rig(self) -> Iterator[ProtectedRig]:
        """The open rig behind its limits; light given before is taken over.

        Raises
        ------
        SettingsError
            When the driver or the earlier run cannot be used.
        RigError
            When the hardware does not open.
        """
        if self._light.carry_over is not None:
            carry_over(self.ledger, Path(self._light.carry_over).expanduser())
        limits = getattr(self._rig, "limits", None)
        if not isinstance(limits, LimitSettings):
            limits = None
        gate = ProtectedRig(
            open_rig(self._rig), limits, self.ledger, self.refused,
            exposure_in_sequence=getattr(self._rig, "exposure_in_sequence", False),
        )  # fmt: skip
        # Left last: the guard watches until the rig is closed.
        with self._guard(), gate as self._gate:
            yield gate

    def _guard(self) -> LightGuard:
        """Watches over the shutters of hardware that this process holds; else over nothing."""
        if not isinstance(self._rig, MicroManagerSettings):
            return LightGuard("", "", self._folder)
        from drivers.micromanager import adapter_folder, config_file

        adapters, _ = adapter_folder(self._rig.adapters, self._rig.config)
        return LightGuard(str(config_file(self._rig.config)), str(adapters), self._folder)

    def begin(self, journal: Journal, *, live: bool) -> None:
        """Write to this journal from now on; ``live``: light really falls."""
        self._journal, self._live = journal, live

    def refused(self, sentence: str) -> None:
        """A limit refused something: counted, and journalled."""
        self.ledger.refused(sentence)
        if self._journal is not None:
            self._journal.add_log("refused", sentence)

    def see(self, result: Result) -> None:
        """Take the cells that the analysis found in a frame."""
        if self._live and not result.failed and result.objects:
            self.ledger.see(objects_from_bytes(result.objects), result.meta)

    def tick(self) -> None:
        """Save the ledger when it is time; called often, by one thread."""
        now = time.monotonic()
        if self._live and self._journal is not None and now - self._saved_s >= SAVE_EVERY_S:
            self._saved_s = now
            save(self.ledger, self._journal)

    def finish(self) -> str | None:
        """See that it is dark, save all and draw the picture; what went wrong, or None."""
        if not self._live or self._journal is None:
            return None
        try:
            self._left_on = () if self._gate is None else self._gate.darken()
            save(self.ledger, self._journal, cells=True)
            with self.ledger.lock:
                cap, unit = self._light.cap_per_position, self._light.dose_unit
                write_picture(self._folder / PICTURE, self.ledger.map(), unit, cap)
        except RigError as error:
            return f"whether the light is off is not known: {error}"
        except (JournalError, OSError) as error:
            return f"the light ledger was not kept: {error}"
        if self._left_on:
            return f"the light is still on: {', '.join(self._left_on)}; switch it off by hand"
        return None

    def to_json(self) -> dict[str, Any]:
        """Key ``light`` of the report; empty for recorded data."""
        if not self._live:
            return {}
        return self.ledger.to_json() | {"left_on": list(self._left_on)}
