"""Fixtures for tests of the configuration: load a text as if it were the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

from data_pipeline.instances import Configuration, load_configuration


class Load(Protocol):
    def __call__(
        self,
        text: str,
        environ: Mapping[str, str] | None = None,
        *,
        per_user: bool | None = None,
    ) -> Configuration: ...


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Path of the configuration file that `load` writes."""
    return tmp_path / "instances.yaml"


@pytest.fixture
def load(file: Path) -> Load:
    """Load a configuration from its text; the environment has only the given variables."""

    def load(
        text: str,
        environ: Mapping[str, str] | None = None,
        *,
        per_user: bool | None = None,
    ) -> Configuration:
        file.write_text(text, encoding="utf-8")
        return load_configuration(
            file, per_user=per_user, environ={"USER": "ann", **(environ or {})}
        )

    return load
