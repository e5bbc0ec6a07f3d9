"""What samples know of their source is taken once, whatever the rate, and holds no masked value."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline_tests.beginnings import BeginWith
from data_pipeline_tests.io_manager.runs import execute
from data_pipeline_tests.sampling.shop import Rows, Shop, configured, rows, run

MIDI: dict[str, Any] = {
    "roots": {"customers": {"rate": 0.2}},
    "small_table_rows": 2,
    "cover": {"columns": {"clicks": ["page"], "orders": ["amount"], "customers": ["region"]}},
}
LOWER: dict[str, Any] = MIDI | {"roots": {"customers": {"rate": 0.1}}}

NOW = "customer < extract(year FROM now())"


@pytest.fixture
def shop(begin_with: BeginWith, tmp_path: Path) -> Shop:
    """A shop with a rare page, of which `full` and `midi` are built."""
    shop = Shop(customers=40)
    shop.frames["clicks"].loc[3, "page"] = "secret"
    config = configured(tmp_path, midi=MIDI)

    def build() -> None:
        run(shop.assets(), "full", config)
        run(shop.assets(weights=True), "midi", config)

    begin_with(__name__, build)
    return shop


def kept(engine: sa.Engine) -> dict[str, Any]:
    """Gives when each fact was taken, by what it is about."""
    query = "SELECT about, taken_at FROM midi_catalog.source_facts WHERE about NOT LIKE 'copy of %'"
    return dict(rows(engine, query))


def drawn(engine: sa.Engine) -> list[Rows]:
    """Gives the keys of midi with their roles."""
    names = ("customers", "orders", "clicks")
    return [rows(engine, f"SELECT * FROM midi_sample.inputs__{name} ORDER BY 1") for name in names]


def test_facts_serve_other_rates(shop: Shop, pipeline_database: sa.Engine, tmp_path: Path) -> None:
    lower, first = configured(tmp_path, midi=LOWER), kept(pipeline_database)
    assert {"witnesses of orders", "fan-outs of orders (customer) -> customers (customer)"} <= {
        *first
    }
    run(shop.assets(weights=True), "midi", lower)
    assert kept(pipeline_database) == first
    known = drawn(pipeline_database)
    execute(pipeline_database, "DROP SCHEMA midi_inputs CASCADE")
    execute(pipeline_database, "TRUNCATE midi_catalog.source_facts")
    run(shop.assets(weights=True), "midi", lower)
    assert kept(pipeline_database)["witnesses of orders"] > first["witnesses of orders"]
    assert drawn(pipeline_database) == known


def test_only_facts_about_a_table_with_new_data_are_taken_anew(
    shop: Shop, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    before, config = kept(pipeline_database), configured(tmp_path, midi=MIDI)
    shop.frames["orders"] = shop.frames["orders"].iloc[:-1]
    dg.materialize(
        shop.assets(),
        selection=dg.AssetSelection.assets(["raw", "orders"]),
        partition_key="full",
        resources=instance_resources("full", config=config),
    )
    run(shop.assets(weights=True), "midi", config)
    after = kept(pipeline_database)
    assert after.keys() == before.keys()
    assert after["witnesses of orders"] > before["witnesses of orders"]
    assert after["witnesses of customers"] == before["witnesses of customers"]


def test_facts_about_rows_that_were_moved_are_taken_anew(
    shop: Shop, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    before = kept(pipeline_database)
    with pipeline_database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM FULL full_raw.customers"))
    run(shop.assets(weights=True), "midi", configured(tmp_path, midi=LOWER))
    after = kept(pipeline_database)
    assert after["witnesses of customers"] > before["witnesses of customers"]
    assert after["witnesses of orders"] == before["witnesses of orders"]


def test_no_value_of_a_masked_column_is_kept(
    shop: Shop, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    secret = "SELECT count(*) FROM midi_catalog.source_facts WHERE content::text LIKE '%secret%'"
    assert rows(pipeline_database, secret) == [(1,)]
    masked = MIDI | {"mask": {"clicks": {"page": "'x'"}}}
    run(shop.assets(), "midi", configured(tmp_path, midi=masked))
    assert rows(pipeline_database, secret) == [(0,)]


def test_instances_of_a_database_share_what_they_know(
    shop: Shop, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    config = configured(tmp_path, midi=MIDI, mini=LOWER)
    drawn_before = kept(pipeline_database)
    taken = (
        "SELECT key, about, content FROM {}_catalog.source_facts WHERE about LIKE 'witnesses of%'"
    )
    marked = """jsonb_set(content, '{0,0,1}', '"marked"') WHERE about = 'witnesses of orders'"""
    execute(pipeline_database, f"UPDATE midi_catalog.source_facts SET content = {marked}")
    run(shop.assets(weights=True), "mini", config)
    midi, mini = (
        rows(pipeline_database, f"{taken.format(i)} ORDER BY 1") for i in ("midi", "mini")
    )
    assert midi == mini
    reasons = rows(pipeline_database, "SELECT DISTINCT reason FROM mini_sample.inputs__orders")
    assert ("marked",) in reasons
    assert kept(pipeline_database) == drawn_before


@pytest.mark.parametrize(("where", "stays"), [("customer < 40", True), (NOW, False)])
def test_facts_about_a_population_of_now_are_not_kept(
    shop: Shop, pipeline_database: sa.Engine, tmp_path: Path, where: str, stays: bool
) -> None:
    """Of other rows, at other times, other ones come first."""
    settings = LOWER | {"roots": {"customers": {"rows": 4}}, "where": {"customers": where}}
    run(shop.assets(weights=True), "midi", configured(tmp_path, midi=settings))
    facts = kept(pipeline_database)
    assert ("4 rows of customers" in facts) == stays
