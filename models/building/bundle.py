"""The files that a build leaves: the network, its model card and, for TensorRT, the engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from models.catalog import ModelCard, read_card
from models.engines.trt.engine import write_ahead
from models.errors import ModelError

if TYPE_CHECKING:
    from models.building.accuracy import Accuracy
    from models.engines.trt.build import Built


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files in a folder."""

    onnx: Path
    card: Path
    engine: Path | None = None
    """TensorRT engine, taken by a rig whose GPU and version it was built for."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file, the description of the engine beside it included."""
        rest = () if self.engine is None else (self.engine, described(self.engine))
        return (self.onnx, self.card, *rest)


def described(engine: Path) -> Path:
    """File beside an engine that says what goes in and out, and what it was built for."""
    return engine.with_suffix(".json")


def card_text(source: ModelCard, values: Mapping[str, Any], section: str = "") -> str:
    """Card of a network with other values in its front matter and a section at its end.

    Raises
    ------
    ModelError
        When the card of the source cannot be read.
    """
    path = source.path.with_suffix(".md")
    try:
        _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
        known = dict(yaml.safe_load(front))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelError(f"the model card {path} cannot be read: {error}") from error
    known.update(values)
    front = yaml.safe_dump(known, sort_keys=False, allow_unicode=True, width=100)
    end = f"\n## Built\n{section.strip()}\n" if section else ""
    return f"---\n{front}---\n{body.rstrip()}\n{end}"


def write_network(
    folder: Path, name: str, content: bytes, source: ModelCard, values: Mapping[str, Any],
    section: str = "",
) -> ModelCard:  # fmt: skip
    """Write ``name.onnx`` and its card into a folder and read the card back."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    path.write_bytes(content)
    text = card_text(source, {"name": name, **values}, section)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    return read_card(path)


def built_values(source: ModelCard, precision: str, accuracy: Accuracy | None) -> dict[str, Any]:
    """What the card of a built network says of where it comes from and how it differs."""
    values: dict[str, Any] = {"precision": precision, "built_from": source.sha256()}
    if accuracy is not None:
        values["error"] = {name: round(value, 5) for name, value in accuracy.figures.items()}
    return values


def write_engine(onnx: Path, built: Built) -> Path:
    """Write a TensorRT engine where the adapter finds it, and a JSON file that describes it."""
    path = write_ahead(onnx, built)
    about = {
        "flavour": built.flavour,
        "flavour_version": built.flavour_version,
        "capabilities": list(built.capabilities),
        "sizes": str(built.sizes),
        "precision": built.precision,
        "inputs": [port._asdict() for port in built.inputs],
        "outputs": [port._asdict() for port in built.outputs],
        "onnx_sha256": hashlib.sha256(onnx.read_bytes()).hexdigest(),
        "plan_sha256": hashlib.sha256(built.engine).hexdigest(),
        "plan_bytes": len(built.engine),
    }
    described(path).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return path


def moved(bundle: Bundle, out: Path) -> Bundle:
    """Put the files of a bundle into their folder, each whole; nothing is overwritten.

    Raises
    ------
    ModelError
        When one of them exists.
    """
    out.mkdir(parents=True, exist_ok=True)
    for file in bundle.files:
        if (out / file.name).exists():
            raise ModelError(f"{out / file.name} exists; choose another --out, or delete it")
    # the card last: a network counts once it has one
    for file in sorted(bundle.files, key=lambda one: one == bundle.card):
        file.replace(out / file.name)
    engine = None if bundle.engine is None else out / bundle.engine.name
    return Bundle(out / bundle.onnx.name, out / bundle.card.name, engine)
