"""Relationships: which types can refer to which, corrected ones, and likely ones."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline import ForeignKey, instance_definitions, instance_resources, table_properties
from data_pipeline.cli.command_line import main
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline_tests.sampling.schemas import schema, to
from data_pipeline_tests.sampling.shop import configured, rows


@pytest.mark.parametrize(("own", "other"), [("int", "numeric"), ("numeric", "bigint")])
@pytest.mark.parametrize("size", [{"rate": 0.3}, {"rows": 60}])
def test_types_that_postgresql_compares_refer_to_each_other(
    engine: sa.Engine, own: str, other: str, size: dict[str, Any]
) -> None:
    source = schema(
        engine,
        [
            f"CREATE TABLE a AS SELECT CAST(g AS {other}) AS id FROM generate_series(1, 200) g",
            f"CREATE TABLE b AS SELECT g AS id, CAST(1 + g % 210 AS {own}) AS a "
            "FROM generate_series(1, 800) g",
        ],
        a={"primary_key": "id"},
        b={"primary_key": "id", "foreign_keys": [to("a", "a", "id")]},
    )
    sample = source.sample(roots={"a": size}, cover="off", hubs="off")
    assert sample.violations() == []
    drawn = sample.keys("a", "sampled")
    there = [row for row in sample.tables["b"] if row.role == "sampled"]
    assert sum((row.values["a"],) in drawn for row in there) >= 3 * len(drawn)
    assert sample.weighted_count("b") == pytest.approx(800, rel=0.35)


def test_types_that_it_does_not_compare_are_refused(engine: sa.Engine) -> None:
    source = schema(
        engine,
        ["CREATE TABLE a AS SELECT 1 AS id", "CREATE TABLE b AS SELECT 1 AS id, true AS a"],
        a={"primary_key": "id"},
        b={"primary_key": "id", "foreign_keys": [to("a", "a", "id")]},
    )
    with pytest.raises(ConfigurationError, match="is of type boolean, but"):
        source.sample(roots={"a": {"rate": 1}})


def assets(*keys: ForeignKey) -> list[dg.AssetsDefinition]:
    def raw(name: str, frame: pd.DataFrame, *keys: ForeignKey) -> dg.AssetsDefinition:
        declared = table_properties(primary_key="id", foreign_keys=keys)

        @dg.asset(key=["raw", name], partitions_def=INSTANCE_PARTITIONS, metadata=declared)
        def table() -> pd.DataFrame:
            return frame

        return table

    number = range(300)
    customers = pd.DataFrame({"id": number})
    orders = pd.DataFrame({"id": number, "customer_id": number, "other": [299 - n for n in number]})
    tables = [raw("customers", customers), raw("orders", orders, *keys)]
    return [*tables, copy_filtered_inputs(stage="inputs", raw=tables)]


def test_a_corrected_relationship_counts_at_once(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    midi = {"roots": {"customers": {"rate": 0.2}}, "cover": "off", "small_table_rows": 10}
    config = configured(tmp_path, midi=midi)
    wrong, right = (ForeignKey([name], "customers", ["id"]) for name in ("other", "customer_id"))
    for keys, name in (([wrong], "full"), ([wrong], "midi"), ([right], "midi")):
        made = assets(*keys)
        dg.materialize(
            made,
            selection=None if name == "full" else dg.AssetSelection.assets(made[-1]),
            partition_key=name,
            resources=instance_resources(name, config=config),
        )
    left = """
        SELECT count(*), count(c.id) FROM midi_inputs.orders o
        LEFT JOIN midi_inputs.customers c ON c.id = o.customer_id
    """
    [(orders, found)] = rows(pipeline_database, left)
    assert orders == found > 0


def test_likely_relationships_are_suggested_until_they_are_declared(
    pipeline_database: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    define: Any,
) -> None:
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", configured(tmp_path))
    made = assets()
    dg.materialize(made[:2], partition_key="full", resources=instance_resources("full"))
    define(instance_definitions(made))
    arguments = ["-m", "data_pipeline.definitions", "relationships", "raw"]
    printed = CliRunner().invoke(main, arguments)
    key = 'ForeignKey(["customer_id"], "customers", ["id"])'
    assert printed.stdout == f"orders: {key}  # 100.0 % of 300 values are there\n"
    [found] = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert (found["child"], found["columns"], found["parent"]) == (
        "orders",
        ["customer_id"],
        "customers",
    )
    assert "without a primary key" not in printed.stderr
    define(instance_definitions(assets(ForeignKey(["customer_id"], "customers", ["id"]))))
    assert "No relationship of stage `raw`" in CliRunner().invoke(main, arguments).stdout
    refused = CliRunner().invoke(main, [*arguments[:-1], "rwa"])
    assert "There is no stage `rwa`. Known here: `inputs`, `raw`." in refused.output


def test_tables_that_have_no_key_to_refer_to_are_named(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, define: Any
) -> None:
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", configured(tmp_path))

    @dg.asset(key=["raw", "customers"], partitions_def=INSTANCE_PARTITIONS)
    def customers() -> pd.DataFrame:
        return pd.DataFrame({"id": [1]})

    dg.materialize([customers], partition_key="full", resources=instance_resources("full"))
    define(instance_definitions([customers]))
    arguments = ["-m", "data_pipeline.definitions", "relationships", "raw"]
    printed = CliRunner().invoke(main, arguments)
    assert "tables without a primary key were not looked for: `customers`." in printed.stderr
