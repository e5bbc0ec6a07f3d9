"""The command `data-pipeline drop`, and what is there before and after it."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline.cli import main
from data_pipeline_tests.io_manager.runs import rows, table_asset, write


def drop(*arguments: str) -> str:
    """Drops; gives the output."""
    result = CliRunner().invoke(main, ["drop", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str) -> str:
    """Tries to drop; gives what the refusal says."""
    result = CliRunner().invoke(main, ["drop", *arguments])
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.output


def built(*names: str, on: str) -> None:
    """Builds `s/<name>` each, with two rows."""
    for name in names:
        write(name, pd.DataFrame({"a": [1, 2]}), on=on)


def built_with_blob(*names: str, on: str) -> None:
    """Builds `s/<name>` each, and the blob `s/model`."""
    built(*names, on=on)
    write("model", {"weight": 1}, on=on)


def frame(name: str, **options: object) -> dg.AssetsDefinition:
    """Gives the asset `s/<name>` with two rows."""
    return table_asset(name, lambda: pd.DataFrame({"a": [1, 2]}), **options)


def schemas(engine: sa.Engine) -> set[str]:
    """Gives all schemas that are not PostgreSQL's own."""
    query = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)'"
    return {name for (name,) in rows(engine, query)}


def files(tmp_path: Path, instance: str) -> list[Path]:
    """Gives what lies in the blob directory of an instance."""
    return sorted((tmp_path / "home" / "blobs" / instance).rglob("*.*"))


def configured(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `text` be the instances of the configuration."""
    file = tmp_path / "instances.yaml"
    file.write_text(f"instances:\n{text}")
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
