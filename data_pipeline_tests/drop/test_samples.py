"""Dropping an instance that samples takes its roles, its weights and its working tables along."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.drop import commands
from data_pipeline_tests.drop.commands import schemas
from data_pipeline_tests.sampling.shop import Shop, configured, run


def test_nothing_stays_of_a_sample(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path, midi={"roots": {"customers": {"rate": 0.2}}})
    for name in ("full", "midi"):
        run(Shop().assets(weights=True), name, config)
    with pipeline_database.begin() as connection:  # as a killed step leaves them
        connection.execute(sa.text("CREATE SCHEMA IF NOT EXISTS midi_sample__work"))
        connection.execute(sa.text("CREATE TABLE midi_sample__work.rows ()"))
    before = schemas(pipeline_database)
    assert {"midi_sample", "midi_sample__work", "midi_inputs"} <= before
    # The command loads the project's pipelines, which have other tables to sample.
    plain = "  full: {instance_id: full}\n  midi: {instance_id: midi}\n"
    commands.configured(plain, tmp_path, monkeypatch)
    listing = commands.drop("midi", "--yes")
    assert "view inputs__orders_weighted" in listing
    assert {name for name in schemas(pipeline_database) if name.startswith("midi")} == set()
    assert {name for name in before if name.startswith("full")} <= schemas(pipeline_database)
