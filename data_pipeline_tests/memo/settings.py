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


def cache_slots(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets all instances keep so many earlier versions of each table."""
    text = load_configuration().file.read_text()
    changed = text.replace("cache_slots: 1}", f"cache_slots: {count}}}")
    assert changed != text or count == 1
    file = tmp_path / "slots.yaml"
    file.write_text(changed)
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
