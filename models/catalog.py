"""The networks that there are: where their files lie and what their cards say.

Each network is two files: ``<name>.onnx`` and its model card ``<name>.md``, whose front matter
(YAML between two ``---`` lines) holds what the program must know of it. Those that ship lie in
``models/weights``; those that a user imported in a folder of that user.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from models.errors import PipelineError

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the shipped networks."""

Error = dict[str, float]
"""Figures of a comparison by what they are."""


def user_folder(environment: Mapping[str, str] | None = None, platform: str = "") -> Path:
    """Folder of the networks that this user imported; it need not exist.

    ``PARFOCAL_MODELS`` names another one, as do the usual settings of each system.
    """
    env = os.environ if environment is None else environment
    if env.get("PARFOCAL_MODELS"):
        return Path(env["PARFOCAL_MODELS"])
    system = platform or sys.platform
    if system == "win32":
        local = env.get("LOCALAPPDATA")
        root = Path(local) if local else Path.home() / "AppData" / "Local"
    elif system == "darwin":
        root = Path.home() / "Library" / "Application Support"
    else:
        given = env.get("XDG_DATA_HOME", "")
        root = Path(given) if given.startswith("/") else Path.home() / ".local" / "share"
    return root / "parfocal" / "models"


class _Front(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    task: Literal["segment", "denoise", "classify"]
    summary: str = ""
    diameter_px: Annotated[float, Field(ge=0)] = 0.0
    pixel_multiple: Annotated[int, Field(ge=1)] = 16
    pixel_size_um: Annotated[float, Field(ge=0)] = 0.0
    licence: str = ""
    classes: tuple[str, ...] = ()
    crop_px: Annotated[int, Field(ge=0)] = 0
    calibration: tuple[()] | tuple[float, float, float] = ()
    sure_centre: Annotated[float, Field(ge=0, lt=1)] = 0.0
    least_confidence: Annotated[float, Field(ge=0, lt=1)] = 0.0
    limits: dict[str, tuple[float, float, float]] = Field(default_factory=dict)
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    built_from: str = ""
    error: Error = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of one network."""

    name: str
    task: str
    """``segment``, ``denoise`` or ``classify``."""
    summary: str
    """One line on what it is for."""
    path: Path
    """The ONNX file."""
    diameter_px: float
    """Median diameter of the objects that it was trained on; 0 where size does not matter."""
    pixel_multiple: int
    """Height and width of what it takes are multiples of this."""
    pixel_size_um: float
    """Pixel size of its training images; 0 where they differ."""
    licence: str
    classes: tuple[str, ...] = ()
    """Of a network that sorts objects: names of its classes in the order of its answers."""
    crop_px: int = 0
    """Of the same: side of the crops that it takes."""
    calibration: tuple[float, ...] = ()
    """Numbers that make a probability of its confidence, see ``models.tasks.calibration``."""
    sure_centre: float = 0.0
    """How high a centre must be to count once the size of objects is known; 0 as in the network.
    To find the size, more centres are better than surer ones."""
    least_confidence: float = 0.0
    """Objects below it are left out, where the confidence is calibrated."""
    limits: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """What is usual on images it was trained for, see ``models.tasks.strangeness``."""
    precision: str = "fp32"
    """What the file computes in."""
    built_from: str = ""
    """Of a file of another precision: SHA-256 of the one that it was built from."""
    error: Mapping[str, float] = field(default_factory=dict)
    """Of the same: how it differs from that one, see ``models.building.accuracy``."""

    def sha256(self) -> str:
        """Hash of the ONNX file, 64 hexadecimal digits; reads the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The card as ``parfocal models list --json`` gives it."""
        return {
            "name": self.name,
            "task": self.task,
            "summary": self.summary,
            "diameter_px": self.diameter_px,
            "pixel_size_um": self.pixel_size_um,
            "licence": self.licence,
            "classes": list(self.classes),
            "precision": self.precision,
            "bytes": self.path.stat().st_size,
            "sha256": self.sha256(),
        }


def models_available(folder: Path = WEIGHTS) -> list[ModelCard]:
    """Cards of the networks in a folder, by name; those that ship unless another is given.

    Those that a user imported lie in `user_folder`.

    Raises
    ------
    PipelineError
        When a card is missing or cannot be understood.
    """
    return [read_card(path) for path in sorted(folder.glob("*.onnx"))]


def weights_path(name: str, folder: Path = WEIGHTS) -> Path:
    """ONNX file of a network by name, or the file itself when given a path to one.

    A network that ships comes before one that was imported under the same name.

    Raises
    ------
    PipelineError
        When there is no such network or file; the message names those that exist.
    """
    # a name is looked up first, so that a file in the working folder cannot take its place
    known = {path.stem: path for path in sorted(user_folder().glob("*.onnx"))}
    known.update({path.stem: path for path in sorted(folder.glob("*.onnx"))})
    if name in known:
        return known[name]
    given = Path(name)
    if given.suffix == ".onnx":
        if given.is_file():
            return given
        raise PipelineError(f"no model file at {given}; give the path of an ONNX file")
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known) or 'none'}"
    raise PipelineError(f"no model named {name!r}; {hint} (or give the path of an .onnx file)")


def read_card(path: Path) -> ModelCard:
    """Card of an ONNX file: the front matter of the ``.md`` file beside it.

    Raises
    ------
    PipelineError
        When there is no card, or it does not say what is needed.
    """
    card = path.with_suffix(".md")
    if not card.is_file():
        raise PipelineError(
            f"{path.name} has no model card; write {card} with `name`, `task` and `diameter_px` "
            "between two --- lines"
        )
    parts = card.read_text(encoding="utf-8").split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise PipelineError(f"{card}: need YAML between two --- lines at the top")
    try:
        front = _Front.model_validate(yaml.safe_load(parts[1]))
    except yaml.YAMLError as error:
        raise PipelineError(f"{card}: the lines between --- are not YAML: {error}") from error
    except pydantic.ValidationError as error:
        found = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors()
        )
        raise PipelineError(f"{card}: {found}") from error
    if front.name != path.stem:
        raise PipelineError(f"{card}: name is {front.name!r}, need {path.stem!r} as the file's")
    return ModelCard(
        front.name,
        front.task,
        front.summary,
        path,
        front.diameter_px,
        front.pixel_multiple,
        front.pixel_size_um,
        front.licence,
        front.classes,
        front.crop_px,
        front.calibration,
        front.sure_centre,
        front.least_confidence,
        front.limits,
        front.precision,
        front.built_from,
        front.error,
    )
