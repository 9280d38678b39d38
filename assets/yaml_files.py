"""Reading the YAML files people write: company.yml, dialects and the contract.

Every scalar stays the string that was written (`NO`, `0123`, `12:30` and `2026-03-05` are not a boolean, an octal number,
a sexagesimal number and a date) and a key given twice is an error. Types come from the pydantic model that validates it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from assets.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)


class _StrictLoader(yaml.BaseLoader):
    """YAML with strings only and unique keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping written in `path`, all scalars as strings.

    Raises ConfigurationError naming file and line when it is absent, not UTF-8, not YAML or not a mapping.
    """
    shown = shown_path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"{shown} does not exist.") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{shown} is not UTF-8 (byte {error.start}): save it as UTF-8.") from None
    try:
        content = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigurationError(f"{shown}, line {line}: {error.problem}.") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{shown} should hold keys and values, and holds {type(content).__name__}.")
    return content


def validated(model: type[Model], content: dict[str, Any], path: Path) -> Model:
    """Return `content` as `model`; a ConfigurationError lists every key that is wrong, with the reason."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(
            "\n".join(
                f"{shown_path(path)}: key '{_place(content, problem['loc']) or '(whole file)'}': {_reason(problem)}."
                for problem in error.errors()
            )
        ) from None


def _place(content: Any, location: tuple[int | str, ...]) -> str:
    """Where a problem is, in the words of the file: one value that counts as a list of one has no number there."""
    parts: list[str] = []
    for part in location:
        if isinstance(part, int) and not isinstance(content, list):
            continue
        parts.append(str(part))
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            content = None
    return ".".join(parts)


def _reason(problem: Any) -> str:
    if problem["type"] == "missing":
        return "is required and missing"
    if problem["type"] == "extra_forbidden":
        return "is not a key known here; check its spelling and indentation"
    message = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    given = problem.get("input")
    return f"{message}; it is '{given}'" if isinstance(given, str) else message


def shown_path(path: Path) -> str:
    """The path as a person would type it: relative to the working directory where it lies below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
