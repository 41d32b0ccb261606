"""Small tools of the configuration tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from services.config import ConfigurationError, LoadedConfiguration, from_mapping, load


def write(path: Path, content: object) -> Path:
    """Write text as it is, bytes as they are, anything else as JSON."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def problems_of(content: object, directory: Path, *, strict: bool = False) -> list[str]:
    """The problems that reading a file with this content gives, without the file's name in front."""
    path = write(directory / "o.conf.json", content)
    with pytest.raises(ConfigurationError) as caught:
        load([path], strict=strict)
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{path}: ") for line in lines), lines
    return [line.removeprefix(f"{path}: ") for line in lines]


def problem_with(mapping: Mapping[str, object], env: Mapping[str, str] | None = None) -> str:
    """The one problem that these settings have, without its origin."""
    with pytest.raises(ConfigurationError) as caught:
        from_mapping(mapping, "x", env=env or {})
    (problem,) = caught.value.problems
    assert problem.startswith("x: ")
    return problem.removeprefix("x: ")


def loaded(**values: object) -> LoadedConfiguration:
    """Settings from these values, which must be sound."""
    return from_mapping(values, "x", env={})
