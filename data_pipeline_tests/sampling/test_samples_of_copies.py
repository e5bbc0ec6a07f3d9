"""Samples of whole copies: the rows, roles and weights of a sample of the root."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import ForeignKey, Table, instance_resources, table_properties
from data_pipeline.instances import load_configuration
from data_pipeline.instances.partitions import instance_partitions, raw_partition_mapping
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sampling.report.asset import sample_report
from data_pipeline_tests.beginnings import BeginWith
from data_pipeline_tests.memo.chains import configured, copy_of
from data_pipeline_tests.sampling.shop import PROPERTIES, Shop, rows

SAMPLES: dict[str, dict[str, Any]] = {
    "rate": {"roots": {"customers": {"rate": 0.2}}, "salt": 3},
    "number": {"roots": {"inputs/orders": {"rows": 90}}, "hubs": 20, "salt": -1},
    "no cover": {"roots": {"clicks": {"rate": 0.3}}, "cover": "off"},
    "two roots": {
        "roots": {"orders": {"rate": 0.1}, "clicks": {"rate": 0.4}},
        "pins": {"customers": [{"customer": 7}]},
        "small_table_rows": 2,
    },
    "minimal": {"roots": {"orders": {}}, "size": "minimal"},
}


def shop_assets(
    shop: Shop, *, declared: bool = True, report: bool = False
) -> list[dg.AssetsDefinition]:
    """Gives the tables of a shop on the instances of the configuration.

    Args:
        shop: The shop.
        declared: Whether assets declare keys and more, or give them with the rows.
        report: Whether samples are compared with their source.
    """
    configuration = load_configuration()
    partitions = instance_partitions(configuration)

    def raw(name: str) -> dg.AssetsDefinition:
        properties = {**PROPERTIES[name], **TYPES.get(name, {})}

        @dg.asset(
            key=["raw", name],
            partitions_def=partitions,
            metadata=table_properties(**properties) if declared else None,
        )
        def table() -> Any:
            frame = shop.frames[name]
            return frame if declared else Table(frame, **properties)

        return table

    tables = [raw(name) for name in PROPERTIES]
    options: dict[str, Any] = {"partition_mapping": raw_partition_mapping(configuration)}
    inputs = copy_filtered_inputs(stage="inputs", raw=tables, weights=True, **options)
    if not report:
        return [*tables, inputs]
    return [*tables, inputs, sample_report(stage="inputs", raw=tables, **options)]


TYPES: dict[str, dict[str, Any]] = {"orders": {"types": {"amount": "numeric(12,2)"}}}


def build(assets: list[dg.AssetsDefinition], *names: str) -> None:
    for name in names:
        chosen = dg.AssetSelection.groups("inputs", "sample")
        if load_configuration().instance(name).source is None:
            chosen = dg.AssetSelection.all()
        resources = instance_resources(name)
        result = dg.materialize(assets, selection=chosen, partition_key=name, resources=resources)
        assert result.success


def content(engine: sa.Engine, instance: str) -> dict[str, list[tuple[Any, ...]]]:
    """Gives the rows of all input tables of an instance, with roles and with weights, in order."""
    tables = [f"inputs.{name}" for name in PROPERTIES]
    tables += [f"sample.inputs__{name}{end}" for name in PROPERTIES for end in ("", "_weighted")]
    return {
        table: sorted(rows(engine, f"SELECT * FROM {instance}_{table}"), key=repr)
        for table in tables
    }


def chain(folder: Path, monkeypatch: pytest.MonkeyPatch, sample: dict[str, Any]) -> None:
    configured(
        folder,
        monkeypatch,
        base=None,
        copied=copy_of("base", copy_filter_rate=1.0),
        again=copy_of("copied"),
        **{f"of_{name}": copy_of(name, sample=sample) for name in ("base", "copied", "again")},
    )


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_sample_of_a_whole_copy_is_that_of_the_root(
    begin_with: BeginWith,
    pipeline_database: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    shop = Shop(customers=120)
    shop.frames["orders"].loc[300:, "customer"] = 5
    chain(tmp_path, monkeypatch, SAMPLES[kind])
    declared = kind != "number"
    assets = shop_assets(shop, declared=declared)
    begin_with((__name__, declared), lambda: build(assets, "base", "copied", "again"))
    build(assets, "of_base", "of_again")
    expected = content(pipeline_database, "of_base")
    whole = content(pipeline_database, "base")
    assert sum(len(expected[table]) < len(whole[table]) for table in expected) > 2
    found = content(pipeline_database, "of_again")
    for table in expected:
        assert found[table] == expected[table], table


@pytest.mark.parametrize("declared", [True, False])
def test_a_whole_copy_has_keys_types_and_relationships(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declared: bool
) -> None:
    chain(tmp_path, monkeypatch, SAMPLES["rate"])
    build(shop_assets(Shop(customers=20), declared=declared), "base", "copied", "again")
    inspector = sa.inspect(pipeline_database)
    kept = "SELECT properties FROM {}_catalog.tables WHERE stage = 'inputs' AND name = '{}'"
    for name in ("copied", "again"):
        schema = f"{name}_inputs"
        for table, properties in PROPERTIES.items():
            key = inspector.get_pk_constraint(table, schema=schema)["constrained_columns"]
            assert key == ([properties["primary_key"]] if "primary_key" in properties else [])
            [(found,)] = rows(pipeline_database, kept.format(name, table))
            assert len(found["foreign_keys"]) == len(properties.get("foreign_keys", ()))
        types = {c["name"]: str(c["type"]) for c in inspector.get_columns("orders", schema=schema)}
        assert types["amount"] == "NUMERIC(12, 2)"


def test_a_sample_and_its_report_need_no_root(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(customers=100)
    sample = {"roots": {"customers": {"rate": 0.3}}}
    configured(
        tmp_path,
        monkeypatch,
        base=None,
        copied=copy_of("base"),
        midi=copy_of("copied", sample=sample),
    )
    assets = shop_assets(shop, report=True)
    build(assets, "base", "copied")
    with pipeline_database.begin() as connection:
        for stage in ("raw", "inputs", "sample", "catalog"):
            connection.execute(sa.text(f"DROP SCHEMA base_{stage} CASCADE"))
    build(assets, "midi")
    figures = rows(pipeline_database, "SELECT count(*) FROM midi_sample.inputs__report")
    assert figures[0][0] > 20
    changed = "SELECT count(*) FROM midi_sample.inputs__report WHERE measure = 'source has changed'"
    assert rows(pipeline_database, changed) == [(0,)]
    # It compares with what it was taken from.
    shop.frames["orders"] = shop.frames["orders"].assign(amount=1.0)
    build(assets, "base", "copied")
    report = dg.AssetSelection.assets(["sample", "inputs__report"])
    resources = instance_resources("midi")
    dg.materialize(assets, selection=report, partition_key="midi", resources=resources)
    assert rows(pipeline_database, changed) == [(1,)]


def test_in_memory_a_sample_of_a_whole_copy_is_that_of_the_root(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(tmp_path, monkeypatch, SAMPLES["rate"])
    assets = shop_assets(Shop(customers=100))
    found = [
        dg.materialize_to_memory(
            assets, partition_key=name, resources=instance_resources(name, io_manager=False)
        )
        for name in ("of_base", "of_again")
    ]
    for table in PROPERTIES:
        one, other = (made.asset_value(dg.AssetKey(["inputs", table])) for made in found)
        assert len(one)
        pd.testing.assert_frame_equal(one, other)


def test_a_relationship_by_the_name_of_its_stage_is_followed_in_a_copy_too(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ForeignKey(["customer"], "raw/customers")
    monkeypatch.setitem(PROPERTIES["orders"], "foreign_keys", [key])
    chain(tmp_path, monkeypatch, SAMPLES["rate"])
    build(shop_assets(Shop(customers=60)), "base", "copied", "of_copied")
    dangling = """
        SELECT count(*), count(c.customer)
        FROM of_copied_inputs.orders o LEFT JOIN of_copied_inputs.customers c USING (customer)
    """
    [(count, referred)] = rows(pipeline_database, dangling)
    assert 0 < count == referred < 240
