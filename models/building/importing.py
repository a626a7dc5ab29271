"""Networks of other people into this program, and those of this program out of it."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml

from models.building.frames import through
from models.catalog import ModelCard, read_card
from models.engines.inside import precision_inside
from models.errors import ModelError

Task = Literal["segment", "denoise", "classify"]


class _Port(NamedTuple):
    axes: int
    needed: bool = True
    kinds: tuple[str, ...] = ("tensor(float)",)


_LABELS = ("tensor(int32)", "tensor(int64)")
TAKES: dict[str, dict[str, _Port]] = {
    "segment": {"image": _Port(2), "limits": _Port(1, False), "centre": _Port(1, False)},
    "denoise": {"image": _Port(4), "state": _Port(4), "noise": _Port(1), "fresh": _Port(1)},
    "classify": {"windows": _Port(4), "context": _Port(2)},
}
GIVES: dict[str, dict[str, _Port]] = {
    "segment": {"labels": _Port(2, True, _LABELS), "probability": _Port(2)},
    "denoise": {"denoised": _Port(4), "state_out": _Port(4)},
    "classify": {"probability": _Port(2)},
}
"""By task, what the network must take and give: names, axes, types."""


@dataclass(frozen=True, slots=True)
class Import:
    """What a person says of a network."""

    name: str
    task: Task
    summary: str = ""
    licence: str = ""
    diameter_px: float = 0.0
    pixel_multiple: int = 16
    pixel_size_um: float = 0.0
    classes: Sequence[str] = ()
    crop_px: int = 0


def import_network(file: Path, about: Import, folder: Path) -> ModelCard:
    """Check an ONNX file, run it once, and put it with a card into a folder.

    Parameters
    ----------
    file
        ONNX file with its weights inside.
    about
        Name, task and what the card says.
    folder
        Where it goes, as ``models.catalog.user_folder()``; made if need be.

    Raises
    ------
    ModelError
        In one sentence: no such file, a name in use, inputs or outputs that the task does not have,
        or a run that fails or gives no numbers.
    """
    if not file.is_file():
        raise ModelError(f"no model file at {file}; give the path of an ONNX file")
    if Path(about.name).name != about.name or not about.name.strip(". "):
        raise ModelError(f"name {about.name!r}: need the name of a file, without folders")
    target = folder / f"{about.name}.onnx"
    if target.exists():
        raise ModelError(f"{target} exists; choose another name, or delete it")
    _check_ports(file, about)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as beside:
        path = Path(beside) / target.name
        shutil.copyfile(file, path)
        path.with_suffix(".md").write_text(_card(file, about), encoding="utf-8")
        card = read_card(path)
        _run_once(card)
        path.with_suffix(".md").replace(target.with_suffix(".md"))
        path.replace(target)
    return read_card(target)


def export_network(card: ModelCard, out: Path, *, openvino: bool = False) -> list[Path]:
    """Copy a network, its card and its licence into a folder; nothing is overwritten.

    Parameters
    ----------
    card
        Of the network.
    out
        Made if need be.
    openvino
        Write OpenVINO's own files as well, in the precision of the network.

    Raises
    ------
    ModelError
        When a file is in the way, or OpenVINO is asked for and not installed.
    """
    if openvino and find_spec("openvino") is None:
        raise ModelError(
            'OpenVINO is not installed; `pip install "parfocal[openvino]"`, or leave it out'
        )
    licence = out / f"{card.name}.licence.txt"
    files = [out / card.path.name, out / f"{card.name}.md", licence]
    if openvino:
        files += [out / f"{card.name}.xml", out / f"{card.name}.bin"]
    for file in files:
        if file.exists():
            raise ModelError(f"{file} exists; choose another --out, or delete it")
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(card.path, files[0])
    shutil.copyfile(card.path.with_suffix(".md"), files[1])
    said = card.licence or "not stated on its card: ask whoever made it before you pass it on"
    licence.write_text(f"{card.name}: licence {said}. SHA-256 {card.sha256()}.\n", encoding="utf-8")
    if openvino:
        _write_openvino(card.path, files[3])
    return files


def _write_openvino(path: Path, target: Path) -> None:
    import sys

    # as in `models.engines.openvino`: importing it must not report to anyone
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as ov

    try:
        ov.save_model(ov.Core().read_model(str(path)), str(target), compress_to_fp16=False)
    except Exception as error:  # it raises plain RuntimeError and others
        raise ModelError(f"OpenVINO cannot write {target}: {error}") from error


def _check_ports(file: Path, about: Import) -> None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class of their own
        raise ModelError(f"ONNX Runtime cannot load {file}: {error}") from error
    problems = [
        *_problems("input", session.get_inputs(), TAKES[about.task]),
        *_problems("output", session.get_outputs(), GIVES[about.task]),
    ]
    if problems:
        raise ModelError(
            f"{file.name} is no network to {about.task} as this program runs it: "
            f"{'; '.join(problems)}; export it again with these names and axes"
        )
    if about.task == "classify":
        given = session.get_outputs()[0].shape[1]
        if isinstance(given, int) and given != len(about.classes):
            raise ModelError(
                f"{file.name} gives {given} probabilities an object, got {len(about.classes)} "
                "names of classes; give one for each, in their order"
            )


def _problems(what: str, found: Sequence[Any], wanted: dict[str, _Port]) -> list[str]:
    """What differs from what a task needs."""
    there = {one.name: one for one in found}
    problems = [
        f"{what} {name} is missing (there {'is' if len(there) == 1 else 'are'} "
        f"{', '.join(there) or 'none'})"
        for name, port in wanted.items()
        if port.needed and name not in there
    ]
    for name, one in there.items():
        port = wanted.get(name)
        if port is None:
            if what == "input":
                problems.append(f"input {name} is one that nobody would give")
        elif len(one.shape) != port.axes or one.type not in port.kinds:
            problems.append(
                f"{what} {name} is {one.type} {tuple(one.shape)}, need {' or '.join(port.kinds)} "
                f"with {port.axes} axes"
            )
    return problems


def _run_once(card: ModelCard) -> None:
    """Run the network on a made-up image through its stage; its answer must be numbers."""
    y, x = np.mgrid[:128, :128]
    spots = np.exp(-(((y % 32) - 16) ** 2 + ((x % 32) - 16) ** 2) / 60)
    frame = np.random.default_rng(1).poisson(100 + 400 * spots).astype(np.uint16)
    run_as = "int8" if card.precision == "int8" else "fp32"
    for found in through(card, [frame, frame], precision=run_as):
        if not math.isfinite(float(np.sum(found, dtype=np.float64))):
            raise ModelError(f"{card.name} gives values that are no numbers; export it again")


def _card(file: Path, about: Import) -> str:
    """Model card with what is known."""
    front: dict[str, Any] = {
        "name": about.name, "task": about.task, "summary": about.summary,
        "diameter_px": about.diameter_px, "pixel_multiple": about.pixel_multiple,
        "pixel_size_um": about.pixel_size_um, "licence": about.licence,
        "precision": precision_inside(file.read_bytes()),
    }  # fmt: skip
    if about.task == "classify":
        front.update(classes=list(about.classes), crop_px=about.crop_px)
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---\n\n## What it does\n{about.summary or 'Not said.'} From {file.name}.\n"
