"""The shipped configuration with other settings."""

from pathlib import Path

import pytest

from data_pipeline.instances import load_configuration


def table_store(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds a setting to the table store of all instances."""
    text = load_configuration().file.read_text()
    changed = text.replace("table_store: {", f"table_store: {{{setting}, ")
    assert changed != text
    file = tmp_path / "instances.yaml"
    file.write_text(changed)
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
