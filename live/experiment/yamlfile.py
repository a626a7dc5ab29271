"""Reads a YAML file that a person wrote: safely, strictly, remembering where each key stands.

What the YAML standard lets pass and what has cost experiments is refused here: a key written
twice (the first would be dropped in silence), a file too big or nested too deep to be settings,
text that is not UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from live.errors import Problem, SettingsProblems

MAX_BYTES = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 40

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The content of one YAML file, a mapping, with the line of every key."""

    path: Path
    data: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def line_of(self, key: KeyPath) -> int:
        """Line of ``key``, or of the nearest part of it that is in the file; 0 if none is."""
        for length in range(len(key), 0, -1):
            if (line := self.lines.get(key[:length])) is not None:
                return line
        return 0


def key_text(key: KeyPath) -> str:
    """``("plan", "channels", 0, "exposure")`` as ``plan.channels[0].exposure``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def yaml_from_path(path: Path) -> YamlFile:
    """Read a YAML file whose top level is a mapping.

    Raises
    ------
    SettingsProblems
        With file, line and column, when the file is missing, unreadable, not YAML, or holds a
        key twice.
    """
    return yaml_from_text(_text_from_path(path), path)


def yaml_from_text(text: str, path: Path) -> YamlFile:
    """The same for text already read; ``path`` is used in messages and for relative paths."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise _refused(path, "the file is empty; copy one of the shipped ones to begin with")
        lines: dict[KeyPath, int] = {}
        problems = _walk(node, (), lines, path, _Budget())
        if problems:
            raise SettingsProblems(problems)
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        what = " ".join(filter(None, (error.context, error.problem)))
        raise _refused(path, f"not valid YAML at column {column}: {what}", line) from error
    except (yaml.YAMLError, ValueError) as error:
        what = " ".join(str(error).split())
        raise _refused(path, f"not valid YAML: {what}") from error
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise _refused(path, f"got a {type(data).__name__}, need 'key: value' lines at the top")
    return YamlFile(path, data, lines)


def _text_from_path(path: Path) -> str:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise _refused(path, "this is a folder, need a YAML file")
        if size > MAX_BYTES:
            raise _refused(path, f"got {size:,} bytes, settings may have {MAX_BYTES:,}")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise _refused(path, "no such file") from error
    except UnicodeDecodeError as error:
        raise _refused(path, f"byte {error.start} is not UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror or error}") from error


def _refused(path: Path, message: str, line: int = 0) -> SettingsProblems:
    return SettingsProblems([Problem(str(path), "", message, line)])


@dataclass(slots=True)
class _Budget:
    """Nodes still allowed. Aliases are counted each time, so nested ones cannot blow up."""

    left: int = MAX_NODES


def _walk(
    node: yaml.Node, at: KeyPath, lines: dict[KeyPath, int], path: Path, budget: _Budget
) -> list[Problem]:
    budget.left -= 1
    if budget.left < 0 or len(at) > MAX_DEPTH:
        raise _refused(path, f"more than {MAX_NODES:,} values or {MAX_DEPTH} levels")
    problems: list[Problem] = []
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*at, index)] = item.start_mark.line + 1
            problems += _walk(item, (*at, index), lines, path, budget)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                problems.append(Problem(str(path), key_text(at), "a key must be text", line))
                continue
            key = str(key_node.value)
            if key_node.tag == "tag:yaml.org,2002:merge":
                problems += _walk(value_node, at, {}, path, budget)
                continue
            if key_node.tag != "tag:yaml.org,2002:str":
                # YAML reads the bare keys on, off, yes and no as booleans and 1 as a number.
                message = f"YAML does not read this key as text; write '{key}' in quotes"
                problems.append(Problem(str(path), key_text((*at, key)), message, line))
                continue
            if key in seen:
                message = f"written twice, first on line {seen[key]}; keep one"
                problems.append(Problem(str(path), key_text((*at, key)), message, line))
            seen[key] = line
            lines[(*at, key)] = line
            problems += _walk(value_node, (*at, key), lines, path, budget)
    return problems
