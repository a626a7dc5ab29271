"""Where the shipped YAML files are, and which file a name in a YAML file means."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from live.errors import Problem, SettingsProblems
from live.experiment.didyoumean import suggestion

Kind = Literal["rigs", "experiments", "pipelines", "rules"]


def config_folder() -> Path:
    """The folder of shipped settings: inside the installed package, else of the checkout."""
    here = Path(__file__).resolve().parents[1]
    installed = here / "config"
    return installed if installed.is_dir() else here.parent / "config"


def shipped(kind: Kind) -> dict[str, Path]:
    """Name -> file of what ships with the program, in order of name."""
    return {path.stem: path for path in sorted((config_folder() / kind).glob("*.yaml"))}


def config_path(
    kind: Kind,
    name_or_path: str | Path,
    base: Path | None = None,
    *,
    asked_by: Problem | None = None,
) -> Path:
    """The file that ``name_or_path`` means.

    A bare word such as ``simulated`` is a shipped file. Anything with a suffix or a slash is a
    path, relative to ``base`` (the folder of the YAML file that says it, or the working folder).

    Parameters
    ----------
    kind
        Which shipped folder a bare word refers to.
    name_or_path
        As written.
    base
        Folder that relative paths start from.
    asked_by
        File and key that the name stands at, for the message.

    Raises
    ------
    SettingsProblems
        When there is no such file; lists the shipped names.
    """
    text = str(name_or_path)
    names = shipped(kind)
    if text in names:
        return names[text]
    path = Path(text).expanduser()
    if base is not None and not path.is_absolute():
        path = base / path
    if path.is_file():
        return path
    what = kind.removesuffix("s")
    if path.suffix or len(Path(text).parts) > 1:
        message = f"no such {what} file: {path}"
    else:
        message = f"no {what} is called '{text}'; {suggestion(text, names)}, or give a .yaml file"
    place = asked_by or Problem("", "", "")
    raise SettingsProblems([Problem(place.file, place.key, message, place.line)])
