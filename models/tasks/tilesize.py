"""How large an image a network is given at once, which can shrink where memory runs out."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import EngineOutOfMemory
from models.result import EngineInfo
from models.tasks.tiles import HALO_PX

SMALLEST_CORE_PX = 128
"""Below this nearly all of a tile is halo."""


@dataclass(frozen=True, slots=True)
class TileSize:
    """Sizes in network pixels; zeros are those of the program."""

    above_px: int = 0
    """Images of more pixels are cut into tiles."""
    core_px: int = 0
    """Longest side of the core of a tile."""

    def smaller(self, error: EngineOutOfMemory, pixels: int) -> TileSize:
        """The next smaller size, after an image or tile of so many ``pixels`` did not fit.

        Raises
        ------
        EngineOutOfMemory
            When there is none: the one given, with what to do.
        """
        core = (self.core_px or 2048) // 2
        while core > SMALLEST_CORE_PX and (core + 2 * HALO_PX) ** 2 >= pixels:
            core //= 2
        if core < SMALLEST_CORE_PX or (core + 2 * HALO_PX) ** 2 >= pixels:
            raise EngineOutOfMemory(
                f"{error}; smaller tiles do not help, so close what else uses the device"
            ) from error
        return TileSize((core + 2 * HALO_PX) ** 2, core)

    def told(self, info: EngineInfo) -> EngineInfo:
        """What runs, with the size of the tiles where it is not the usual one."""
        if not self.core_px:
            return info
        device = f"{info.device}, tiles of {self.core_px} px as memory ran out"
        return EngineInfo(info.name, info.precision, device, info.model)
