"""The weighted table of an input table is a view, which is committed with what it shows."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import ForeignKey, instance_resources, table_properties
from data_pipeline.estimates import total
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling.report import sampled_inputs_with_report
from data_pipeline_tests.sampling.shop import Shop, configured, rows, run

MIDI: dict[str, Any] = {"roots": {"customers": {"rate": 0.2}}, "salt": 3}
VIEW = "SELECT oid, relkind FROM pg_class WHERE oid = '{}_sample.inputs__orders_weighted'::regclass"


def test_it_is_a_view_on_every_instance_and_stays_when_nothing_changes(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    shop, config = Shop(), configured(tmp_path, midi=MIDI)
    for name in ("full", "midi"):
        run(shop.assets(weights=True), name, config)
    run(shop.assets(weights=True), "midi", config)
    for name in ("full", "midi"):
        [(_, kind)] = rows(pipeline_database, VIEW.format(name))
        assert kind == "v"
    before = rows(pipeline_database, VIEW.format("midi"))
    run(shop.assets(weights=True), "midi", config)
    assert rows(pipeline_database, VIEW.format("midi")) == before


def test_its_data_version_follows_its_rows(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    shop, config = Shop(), configured(tmp_path, midi=MIDI)
    versions = set()
    for amount in (1.0, 2.0, 3.0):
        shop.frames["orders"] = shop.frames["orders"].assign(amount=amount)
        for name in ("full", "midi"):
            run(shop.assets(weights=True), name, config)
            [(version,)] = rows(
                pipeline_database,
                f"SELECT data_version FROM {name}_catalog.tables "
                "WHERE stage = 'sample' AND name = 'inputs__orders_weighted'",
            )
            versions.add(version)
            shown = rows(
                pipeline_database,
                f"SELECT DISTINCT amount FROM {name}_sample.inputs__orders_weighted",
            )
            assert shown == [(amount,)]
    assert len(versions) == 6


def test_rows_roles_and_weights_are_committed_in_one_transaction(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    shop, config = Shop(), configured(tmp_path, midi=MIDI)
    for name in ("full", "midi"):
        run(shop.assets(weights=True), name, config)
    transactions = rows(
        pipeline_database,
        "SELECT count(DISTINCT xmin::text), count(*) FROM midi_catalog.tables "
        "WHERE stage IN ('inputs', 'sample')",
    )
    assert transactions == [(1, 15)]


def test_weights_are_called_otherwise_beside_columns_of_their_names(
    pipeline_database: sa.Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop, config = Shop(), configured(tmp_path, midi={**MIDI, "cover": "off"})
    *raw, _ = shop.assets()
    roles = ForeignKey(["customer"], "customers")
    declared = table_properties(primary_key=["role", "unit"], foreign_keys=[roles])

    @dg.asset(key=["raw", "orders"], partitions_def=INSTANCE_PARTITIONS, metadata=declared)
    def orders() -> pd.DataFrame:
        frame = shop.frames["orders"]
        return frame.rename(columns={"number": "role"}).assign(unit=1, weight=frame["amount"])

    raw = [orders if asset.key.path[-1] == "orders" else asset for asset in raw]
    assets = [*raw, *sampled_inputs_with_report(stage="inputs", raw=raw)]
    for name in ("full", "midi"):
        dg.materialize(
            assets,
            selection=None if name == "full" else dg.AssetSelection.assets(*assets[-2:]),
            partition_key=name,
            resources=instance_resources(name, config=config),
        )
    said = (
        "Roles and weights have longer names beside columns of theirs: `orders` (`sample_weight`)"
    )
    assert said in capsys.readouterr().err
    frame = pd.read_sql("SELECT * FROM midi_sample.inputs__orders_weighted", pipeline_database)
    assert list(frame.columns)[:5] == ["role", "customer", "amount", "unit", "weight"]
    assert list(frame.columns)[5:] == [
        f"sample_{name}"
        for name in ("role", "probability", "unit", "design", "sample_size", "weight")
    ]
    estimated = total(frame, 1.0).value
    assert estimated == pytest.approx(frame["sample_weight"].sum())
    with pipeline_database.connect() as connection:
        view = sa.Table(
            "inputs__orders_weighted", sa.MetaData(), schema="midi_sample", autoload_with=connection
        )
        in_database = total(view, 1.0, connection=connection).value
    assert in_database == pytest.approx(estimated)
    made = dg.materialize_to_memory(
        assets[:-1],
        partition_key="midi",
        resources=instance_resources("midi", config=config, io_manager=False),
    ).asset_value(dg.AssetKey(["sample", "inputs__orders_weighted"]))
    assert list(made.columns) == list(frame.columns)
    assert made["sample_weight"].sum() == pytest.approx(frame["sample_weight"].sum())
