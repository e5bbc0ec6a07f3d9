"""Project files are parsed once a version: the message of each step asks for what they say."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from data_pipeline.instances.code_location import code_modules


def write(folder: Path, module: str) -> None:
    text = f'[tool.dagster]\nmodule_name = "{module}"\n'
    (folder / "pyproject.toml").write_text(text)


def test_a_project_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    loads = tomllib.loads

    def counted(text: str) -> Any:
        parsed.append(text)
        return loads(text)

    monkeypatch.setattr(tomllib, "loads", counted)
    write(tmp_path, "shop")
    assert [str(module) for module in code_modules(tmp_path)] == ["shop"]
    assert [str(module) for module in code_modules(tmp_path)] == ["shop"]
    assert len(parsed) == 1


def test_a_changed_project_file_is_read_anew(tmp_path: Path) -> None:
    write(tmp_path, "shop")
    assert [str(module) for module in code_modules(tmp_path)] == ["shop"]
    write(tmp_path, "market")
    assert [str(module) for module in code_modules(tmp_path)] == ["market"]
