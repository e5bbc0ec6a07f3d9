"""A raw view has the key that its asset declares: in roles, weights, report and explanations."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline import View, instance_resources, table_properties
from data_pipeline.cli import main
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling.report import sampled_inputs_with_report
from data_pipeline_tests.sampling.shop import configured, rows

KEYED = table_properties(primary_key="id")


@dg.asset(key=["raw", "items"], partitions_def=INSTANCE_PARTITIONS, metadata=KEYED)
def items() -> Any:
    return sa.text("SELECT g AS id, g % 7 AS amount FROM generate_series(1, 500) g")


@dg.asset(key=["raw", "seen"], partitions_def=INSTANCE_PARTITIONS, metadata=KEYED)
def seen(items: sa.Table) -> Any:
    return View(sa.select(items))


def build(name: str, config: str) -> list[dg.AssetsDefinition]:
    raw = [items, seen]
    inputs, report = sampled_inputs_with_report(stage="inputs", raw=raw)
    assets = [*raw, inputs, report]
    chosen = assets if name == "full" else [inputs, report]
    dg.materialize(
        assets,
        selection=dg.AssetSelection.assets(*chosen),
        partition_key=name,
        resources=instance_resources(name, config=config),
    )
    return assets


def test_a_view_with_a_declared_key_is_sampled_reported_and_explained(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path, midi={"roots": {"seen": {"rate": 0.2}}})
    for name in ("full", "midi"):
        assets = build(name, config)
        roles = f"SELECT count(*), count(id) FROM {name}_sample.inputs__seen"
        [(count, keys)] = rows(pipeline_database, roles)
        assert 0 < count == keys
        weighted = f"SELECT count(*) FROM {name}_sample.inputs__seen_weighted"
        assert rows(pipeline_database, weighted) == [(count,)]
    assert rows(
        pipeline_database,
        "SELECT expected FROM midi_sample.inputs__report "
        "WHERE table_name = 'seen' AND measure = 'rows'",
    ) == [(500,)]

    from data_pipeline import definitions

    monkeypatch.setenv("DATA_PIPELINE_CONFIG", config)
    found = dg.Definitions(assets, resources=instance_resources(config=config))
    monkeypatch.setattr(definitions, "defs", found)
    [(one,)] = rows(pipeline_database, "SELECT min(id) FROM midi_sample.inputs__seen")
    said = CliRunner().invoke(main, ["why", "midi", "seen", str(one)])
    assert f"seen (id = {one}) is in the sample: sampled" in said.output
