"""A sample is of one state of the source, whatever else goes on there."""

import logging
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline import View, table_properties
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import load_configuration
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sampling.sample_request import Request
from data_pipeline.sampling.sampled_inputs import sampled_inputs
from data_pipeline.store.table_properties import properties
from data_pipeline_tests.sampling.shop import PROPERTIES, RunFull, Shop, configured, rows, run

LOG = logging.getLogger(__name__)
MIDI = {"roots": {"customers": {"rate": 0.2}}}


def test_no_table_of_the_source_can_be_replaced_while_rows_are_copied(
    pipeline_database: sa.Engine, tmp_path: Path, run_full: RunFull
) -> None:
    config = configured(tmp_path, midi=MIDI)
    run_full(Shop(), config)
    request = Request(
        instance=load_configuration(config).instance("midi"),
        stage="inputs",
        raw={name: StageTable("raw", name) for name in PROPERTIES},
        declared={name: properties(**item) for name, item in PROPERTIES.items()},
        tables=frozenset(PROPERTIES),
    )
    with sampled_inputs(request, LOG) as sample:
        assert sample is not None
        for name in PROPERTIES:
            with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
                drop(pipeline_database, name)
    for name in PROPERTIES:
        drop(pipeline_database, name)


def drop(engine: sa.Engine, table: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL lock_timeout = 20"))
        connection.execute(sa.text(f"DROP TABLE full_raw.{table} CASCADE"))


def test_raw_tables_that_are_views_are_sampled_like_others(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    shop = Shop()
    tables = shop.assets()[:-1]

    @dg.asset(
        key=["seen", "orders"],
        ins={"orders": dg.AssetIn(key=["raw", "orders"])},
        partitions_def=INSTANCE_PARTITIONS,
        metadata=table_properties(primary_key="number"),
    )
    def seen_orders(orders: sa.Table) -> View:
        return View(orders)

    config = configured(tmp_path, midi={"roots": {"orders": {"rate": 0.1}}}, salt=MIDI)
    of_tables = copy_filtered_inputs(stage="inputs", raw=[tables[2]])
    of_views = copy_filtered_inputs(stage="views", raw=[seen_orders])
    run([*tables, of_tables, seen_orders, of_views], "full", config)
    run([*tables, of_tables], "midi", config)
    run([*tables, seen_orders, of_views], "midi", config)
    found = "SELECT number FROM midi_{}.orders ORDER BY 1"
    assert rows(pipeline_database, found.format("views"))
    same = [rows(pipeline_database, found.format(stage)) for stage in ("views", "inputs")]
    assert same[0] == same[1]
