"""What depends on the time is asked whenever a sample is drawn, not taken from what is known."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline import ForeignKey, instance_resources
from data_pipeline_tests.io_manager.runs import execute
from data_pipeline_tests.sampling import shop as shops
from data_pipeline_tests.sampling.report.shop_report import build
from data_pipeline_tests.sampling.shop import Shop, configured, rows

MIDI: dict[str, Any] = {"roots": {"customers": {"rate": 0.2}}, "small_table_rows": 2}


def it_is(engine: sa.Engine, number: int) -> None:
    """Sets the clock."""
    clock = "CREATE OR REPLACE FUNCTION public.clock() RETURNS int STABLE LANGUAGE plpgsql AS"
    execute(engine, f"{clock} 'BEGIN RETURN {number}; END'")


def drawn_twice(engine: sa.Engine, path: Path, settings: dict[str, Any], **again: Any) -> None:
    """Draws at 20, and again at 10, by other settings, or when another table has changed."""
    shop, config = Shop(customers=40), configured(path, midi=MIDI | settings)
    it_is(engine, 20)
    build(shop, "full", config)
    build(shop, "midi", config)
    it_is(engine, 10)
    shop.frames["regions"].loc[3] = "east"
    if not again:
        dg.materialize(
            shop.assets(),
            selection=dg.AssetSelection.assets(["raw", "regions"]),
            partition_key="full",
            resources=instance_resources("full", config=config),
        )
    build(shop, "midi", configured(path, midi=MIDI | settings | again))


def test_a_report_counts_the_population_of_the_time(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    where = {"customers": "customer < public.clock()"}
    drawn_twice(pipeline_database, tmp_path, {"where": where}, salt=1)
    keys = rows(pipeline_database, "SELECT max(customer) FROM midi_inputs.customers")
    assert keys < [(10,)]
    query = "SELECT expected FROM midi_sample.inputs__report WHERE measure = 'rows' AND table_name"
    assert rows(pipeline_database, f"{query} = 'customers'") == [(10,)]
    assert rows(pipeline_database, f"{query} = 'orders'") == [(40,)]
    said = "SELECT table_name FROM midi_sample.inputs__report WHERE measure = 'depends on time'"
    assert rows(pipeline_database, said) == [("customers",)]


def test_witnesses_of_a_predicate_are_those_of_the_time(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    predicates = {"orders": {"new": "number = public.clock()"}}
    drawn_twice(pipeline_database, tmp_path, {"cover": {"predicates": predicates}})
    found = "SELECT count(*) FROM midi_inputs.orders WHERE number = 10"
    assert rows(pipeline_database, found) == [(1,)]


def test_masks_show_one_time(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    mask = {"orders": {"amount": "public.clock()"}}
    drawn_twice(pipeline_database, tmp_path, {"mask": mask})
    found = "SELECT DISTINCT amount FROM midi_inputs.orders"
    assert rows(pipeline_database, found) == [(10,)]


def test_what_a_condition_of_the_time_lets_refer_is_not_kept(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_orders = [ForeignKey(["customer"], "customers", where="number % 20 < public.clock()")]
    declared = {"primary_key": "number", "foreign_keys": of_orders}
    monkeypatch.setitem(shops.PROPERTIES, "orders", declared)
    drawn_twice(pipeline_database, tmp_path, {})
    kept = (
        "SELECT about FROM midi_catalog.source_facts "
        "WHERE about LIKE '%orders%' AND about <> 'copy of orders'"
    )
    assert rows(pipeline_database, kept) == []
