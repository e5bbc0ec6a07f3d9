"""How large samples are: predicted before rows are copied, and fitted to a size."""

import json
import re
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.engine.workspace import Workspace
from data_pipeline.sampling.prediction.budget import Sized, sized_selection
from data_pipeline.sampling.prediction.predicted_sizes import predicted_sizes
from data_pipeline.sampling.prediction.sizes import TableSize, as_lines, extents, total
from data_pipeline_tests.sampling.schemas import STAGE, Schema, schema, to
from data_pipeline_tests.sampling.shop import Shop, configured, rows, run


@pytest.fixture
def source(engine: sa.Engine) -> Schema:
    """Sales of few days of many, of customers who live at one address each."""
    made = schema(
        engine,
        [
            "CREATE TABLE days AS SELECT g AS day FROM generate_series(1, 8000) g",
            "CREATE TABLE addresses AS SELECT g AS id FROM generate_series(1, 6000) g",
            "CREATE TABLE customers AS SELECT g AS id FROM generate_series(1, 2000) g",
            "CREATE TABLE sales AS SELECT g AS id, 1 + (g * 7919) % 2000 AS customer, "
            "3 * (1 + (g * 7919) % 2000) AS address, 2000 + (g * 31) % 400 AS day "
            "FROM generate_series(1, 20000) g",
        ],
        days={"primary_key": "day"},
        addresses={"primary_key": "id"},
        customers={"primary_key": "id"},
        sales={
            "primary_key": "id",
            "foreign_keys": [
                to("customer", "customers", "id"),
                to("address", "addresses", "id"),
                to("day", "days", "day"),
            ],
        },
    )
    with engine.begin() as connection:
        for name in made.declared:
            connection.exec_driver_sql(f"ANALYZE raw.{name}")
    return made


def sized(source: Schema, **settings: Any) -> tuple[Sized, dict[str, TableSize]]:
    """Gives a sample with its sizes, and the predicted sizes by table."""
    plan = source.plan(**settings)
    with source.engine.connect() as connection:
        tables = {
            name: sa.Table(
                name, sa.MetaData(), schema="raw", autoload_with=connection, resolve_fks=False
            )
            for name in source.declared
        }
        predicted, _, _ = predicted_sizes(connection, plan, tables)
        chosen = sized_selection(Workspace.open(connection, "work", STAGE), plan, tables)
        return chosen, {size.table: size for size in predicted}


@pytest.mark.parametrize(
    "settings",
    [
        {"roots": {"customers": {"rate": 0.1}}},
        {"roots": {"sales": {"rows": 1000}}, "whole": ["addresses"]},
        {"roots": {"sales": {"rate": 0.1}}, "where": {"sales": "id % 3 = 0"}},
        {"roots": {"sales": {"rate": 0.5}}, "where": {"sales": "customer <= 200"}},
        {"roots": {"customers": {}}, "size": {"rows": 3000}},
    ],
)
def test_sizes_are_predicted_from_statistics(source: Schema, settings: dict[str, Any]) -> None:
    chosen, predicted = sized(source, **settings, cover="off", small_table_rows=500)
    for size in chosen.sizes:
        assert predicted[size.table].rows == pytest.approx(size.rows, rel=0.5), size
    assert total(predicted.values()).rows == pytest.approx(total(chosen.sizes).rows, rel=0.25)


def test_what_refers_to_rows_of_its_own_root_brings_nothing(engine: sa.Engine) -> None:
    source = schema(
        engine,
        [
            "CREATE TABLE customers AS SELECT g AS id FROM generate_series(1, 1000) g",
            "CREATE TABLE orders AS SELECT g AS id, 1 + g % 1000 AS customer "
            "FROM generate_series(1, 8000) g",
            "CREATE TABLE payments AS SELECT id, customer, id AS order_of FROM orders",
            "ANALYZE",
        ],
        customers={"primary_key": "id"},
        orders={"primary_key": "id", "foreign_keys": [to("customer", "customers", "id")]},
        payments={
            "primary_key": "id",
            "foreign_keys": [to("customer", "customers", "id"), to("order_of", "orders", "id")],
        },
    )
    settings: dict[str, Any] = {"roots": {"customers": {"rate": 0.1}}, "cover": "off"}
    chosen, predicted = sized(source, **settings, small_table_rows=0)
    for size in chosen.sizes:
        assert predicted[size.table].rows == pytest.approx(size.rows, rel=0.3), size


def test_what_two_ways_lead_to_is_counted_once(engine: sa.Engine) -> None:
    source = schema(
        engine,
        [
            "CREATE TABLE customers AS SELECT g AS id FROM generate_series(1, 4000) g",
            "CREATE TABLE sales AS SELECT g AS id, 1 + (g * 7919) % 4000 AS bill, "
            "1 + (g * 7919) % 4000 AS ship FROM generate_series(1, 9000) g",
            "CREATE TABLE returns AS SELECT id AS sale, bill AS customer FROM sales",
            "ANALYZE",
        ],
        customers={"primary_key": "id"},
        sales={
            "primary_key": "id",
            "foreign_keys": [to("bill", "customers", "id"), to("ship", "customers", "id")],
        },
        returns={
            "primary_key": "sale",
            "foreign_keys": [to("sale", "sales", "id"), to("customer", "customers", "id")],
        },
    )
    settings: dict[str, Any] = {"roots": {"returns": {"rate": 0.1}}, "cover": "off"}
    for cut in [], ["sales.bill"]:
        chosen, predicted = sized(source, **settings, small_table_rows=0, cut=cut)
        for size in chosen.sizes:
            assert predicted[size.table].rows == pytest.approx(size.rows, rel=0.25), size


def test_what_several_tables_of_a_root_refer_to_is_counted_once(engine: sa.Engine) -> None:
    source = schema(
        engine,
        [
            "CREATE TABLE teams AS SELECT g AS id FROM generate_series(1, 300) g",
            "CREATE TABLE players AS SELECT g AS id FROM generate_series(1, 3000) g",
            *(
                f"CREATE TABLE {name} AS SELECT g AS id, 1 + g / 20 AS team, "
                "1 + (g * 7919) % 3000 AS player FROM generate_series(0, 5999) g"
                for name in ("batting", "fielding", "pitching")
            ),
            "ANALYZE",
        ],
        teams={"primary_key": "id"},
        players={"primary_key": "id"},
        **{
            name: {
                "primary_key": "id",
                "foreign_keys": [to("team", "teams", "id"), to("player", "players", "id")],
            }
            for name in ("batting", "fielding", "pitching")
        },
    )
    settings: dict[str, Any] = {"roots": {"teams": {"rate": 0.1}}, "cover": "off"}
    chosen, predicted = sized(source, **settings, small_table_rows=0)
    rows_of = {size.table: size.rows for size in chosen.sizes}
    assert predicted["players"].rows == pytest.approx(rows_of["players"], rel=0.25)


@pytest.mark.parametrize(
    ("size", "wanted"), [({"rows": 3000}, 3000), ({"share": 0.05}, 1800), ({"bytes": "400kB"}, 0)]
)
def test_a_sample_is_as_large_as_it_is_to_be(
    source: Schema, size: dict[str, Any], wanted: int
) -> None:
    settings: dict[str, Any] = {"roots": {"customers": {}}, "size": size, "small_table_rows": 500}
    chosen, _ = sized(source, **settings)
    every = total(chosen.sizes)
    if wanted:
        assert every.rows == pytest.approx(wanted, rel=0.1)
    else:
        assert every.bytes == pytest.approx(400 * 1024, rel=0.1)
    assert "the rate of `customers` is 0." in str(chosen.note)


@pytest.mark.parametrize("rows_of_copy", [0, 1, 150, 4000, 20_000])
def test_bytes_are_those_of_a_copy_with_its_indexes(source: Schema, rows_of_copy: int) -> None:
    with source.engine.connect() as connection:
        for statement in (
            "CREATE TABLE words AS SELECT id, id::text AS word FROM raw.sales",
            "ALTER TABLE words ADD PRIMARY KEY (id)",
            "CREATE INDEX ON words (word)",
            f"CREATE TABLE some_words AS SELECT * FROM words LIMIT {rows_of_copy}",
            "ALTER TABLE some_words ADD PRIMARY KEY (id)",
            "CREATE INDEX ON some_words (word)",
            "ANALYZE words",
        ):
            connection.exec_driver_sql(statement)
        table = sa.Table("words", sa.MetaData(), autoload_with=connection)
        extent = extents(connection, {"words": table})["words"]
        size = "SELECT pg_total_relation_size('some_words')"
        real = connection.exec_driver_sql(size).scalar_one()
    assert extent.bytes_of(rows_of_copy) == pytest.approx(real, rel=0.2)


def test_bytes_of_partitions_are_counted(source: Schema) -> None:
    with source.engine.connect() as connection:
        for statement in (
            "CREATE TABLE parts (id int PRIMARY KEY, word text) PARTITION BY RANGE (id)",
            "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10000)",
            "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10000) TO (30000)",
            "INSERT INTO parts SELECT id, id::text FROM raw.sales",
        ):
            connection.exec_driver_sql(statement)
        table = sa.Table("parts", sa.MetaData(), autoload_with=connection)
        extent = extents(connection, {"parts": table})["parts"]
        size = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('parts')"
        real = float(connection.exec_driver_sql(size).scalar_one())
    assert (extent.rows, extent.bytes) == (20_000, real)
    assert extent.bytes_of(20_000) == pytest.approx(real, rel=0.2)


def test_more_rows_than_there_are_are_predicted_to_be_refused(source: Schema) -> None:
    plan = source.plan(roots={"customers": {"rows": 3000}}, whole=["addresses", "days"])
    with source.engine.connect() as connection:
        tables = {
            name: sa.Table(name, sa.MetaData(), schema="raw", autoload_with=connection)
            for name in source.declared
        }
        _, _, refused = predicted_sizes(connection, plan, tables)
    assert "3,000 rows of `customers` cannot be drawn: it has some 2,000" in str(refused)


def test_a_closure_over_its_limit_is_predicted(source: Schema) -> None:
    settings: dict[str, Any] = {"roots": {"sales": {"rate": 0.3}}, "small_table_rows": 500}
    with source.engine.connect() as connection:
        tables = {
            name: sa.Table(name, sa.MetaData(), schema="raw", autoload_with=connection)
            for name in source.declared
        }
        plan = source.plan(**settings, closure_limit=0.5)
        _, _, [text] = predicted_sizes(connection, plan, tables)
        assert "of `customers` would come since others refer to them, over the limit of 0.5" in text
        assert "sales (customer) -> customers (id). Cut them" in text
        assert "`cut: [sales.customer]`" in text
        cut = source.plan(**settings, closure_limit=0.5, cut=["sales.customer"])
        assert predicted_sizes(connection, cut, tables)[1:] == (None, ())


def test_weights_are_right_at_a_fitted_rate(source: Schema) -> None:
    settings: dict[str, Any] = {"roots": {"customers": {}}, "size": {"rows": 3000}, "cover": "off"}
    estimates = []
    for salt in range(3):
        chosen, _ = sized(source, **settings, salt=salt, small_table_rows=500)
        rate = chosen.selection.plan.roots["customers"].rate
        size = next(item for item in chosen.sizes if item.table == "sales")
        assert rate is not None
        estimates.append(size.rows / rate)
    assert mean(estimates) == pytest.approx(20_000, rel=0.12)


def test_a_size_that_cannot_be_met_is_refused(source: Schema) -> None:
    message = "sample.size: {rows: 500} cannot be met: the least that such a sample of stage"
    with pytest.raises(ConfigurationError, match=message):
        sized(source, roots={"customers": {}}, size={"rows": 500}, whole=["days"])


@pytest.mark.parametrize(
    ("rows", "said"),
    [(50, "times what is asked for, so a run is likely"), (10**9, "no more rows: it is")],
)
def test_a_size_that_no_rate_meets_is_predicted(source: Schema, rows: int, said: str) -> None:
    plan = source.plan(roots={"customers": {}}, size={"rows": rows}, whole=["days"])
    with source.engine.connect() as connection:
        tables = {
            name: sa.Table(name, sa.MetaData(), schema="raw", autoload_with=connection)
            for name in source.declared
        }
        _, note, _ = predicted_sizes(connection, plan, tables)
    assert said in str(note)


def test_all_comes_where_the_source_has_less(source: Schema) -> None:
    found, _ = sized(source, roots={"customers": {}}, size={"rows": 10**9}, whole=["days"])
    of_root = next(item for item in found.sizes if item.table == "customers")
    assert of_root.rows == of_root.source_rows
    assert "its roots have no more rows: it is 0." in str(found.note)


def test_a_size_that_witnesses_alone_have_is_refused(source: Schema) -> None:
    settings: dict[str, Any] = {"roots": {"customers": {}}, "small_table_rows": 500}
    least, _ = sized(source, roots={"customers": {"rate": 1e-7}}, small_table_rows=500)
    rows_of_least = round(total(least.sizes).rows)
    with pytest.raises(ConfigurationError, match=r"sample.size: {rows: \d+} cannot be met"):
        sized(source, **settings, size={"rows": rows_of_least})


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"sales": "id <= 2000"}, 200),
        ({"sales": "id < 0"}, "sample.where: no row of `inputs/sales` meets 'id < 0'"),
        ({"sales": "1 / (id - 7) > 1"}, "fails on a row of the source: division by zero"),
    ],
)
def test_populations_of_views_are_predicted(
    engine: sa.Engine, where: dict[str, str], found: int | str
) -> None:
    source = schema(
        engine,
        ["CREATE VIEW sales AS SELECT g AS id FROM generate_series(1, 20000) g"],
        sales={"primary_key": "id"},
    )
    plan = source.plan(roots={"sales": {"rate": 0.1}}, where=where, cover="off")
    with source.engine.connect() as connection:
        tables = {"sales": sa.Table("sales", sa.MetaData(), schema="raw", autoload_with=connection)}
        if isinstance(found, str):
            with pytest.raises(ConfigurationError, match=re.escape(found)):
                predicted_sizes(connection, plan, tables)
            return
        [[size], *_] = predicted_sizes(connection, plan, tables)
        assert size.rows == pytest.approx(found, rel=0.1)


@pytest.mark.parametrize(
    "settings",
    [
        {"where": {"sales": "1 / (id - 7) >= 0"}},
        {"cover": {"predicates": {"sales": {"odd": "1 / (id - 7) > 1"}}}},
    ],
)
def test_a_prediction_finds_conditions_that_fail_on_a_row(
    source: Schema, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="fails on a row of the source: division by zero"):
        sized(source, roots={"customers": {"rate": 0.1}}, whole=["days", "addresses"], **settings)


def test_the_table_of_sizes_says_how_each_table_is_chosen(source: Schema) -> None:
    chosen, _ = sized(source, roots={"customers": {"rate": 0.1}}, whole=["addresses"])
    lines = as_lines(chosen.sizes)
    assert lines[0].split() == ["table", "rows", "of", "share", "bytes", "how"]
    assert lines[1].endswith("only referred to")
    assert lines[2].endswith("whole: named in sample.whole")
    assert lines[3].endswith("root: rate 0.1")
    assert lines[4].endswith("child of customers, by sales (customer) -> customers (id)")
    assert lines[5].startswith("(all) ")


def test_all_tables_share_a_size_in_memory_too(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    import dagster as dg

    shop = Shop()
    config = configured(tmp_path, midi={"roots": {"customers": {}}, "size": {"rows": 1200}})
    for name in ("full", "midi"):
        run(shop.assets(), name, config)
    counts = {
        name: rows(pipeline_database, f"SELECT count(*) FROM midi_inputs.{name}")[0][0]
        for name in shop.frames
    }
    assert sum(counts.values()) == pytest.approx(1200, rel=0.1)
    made = dg.materialize_to_memory(
        shop.assets(),
        partition_key="midi",
        resources=instance_resources("midi", config=config, io_manager=False),
    )
    for name, count in counts.items():
        assert len(made.asset_value(dg.AssetKey(["inputs", name]))) == count


def test_the_command_says_what_a_sample_will_be(
    pipeline_database: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    define: Any,
) -> None:
    from click.testing import CliRunner

    from data_pipeline import instance_definitions
    from data_pipeline.cli.command_line import main

    shop = Shop()
    config = configured(tmp_path, midi={"roots": {"customers": {"rate": 0.2}}})
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", config)
    run(shop.assets(), "full", config)
    define(instance_definitions(shop.assets()))
    arguments = ["-m", "data_pipeline.definitions", "sample", "midi"]
    printed = CliRunner().invoke(main, arguments)
    assert printed.exit_code == 0, printed.output
    assert "child of customers, by orders (customer) -> customers (customer)" in printed.output
    found = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)["inputs"]
    assert found["measured"]
    run(shop.assets(), "midi", config)
    for size in found["tables"]:
        query = f"SELECT count(*) FROM midi_inputs.{size['table']}"
        assert rows(pipeline_database, query) == [(size["rows"],)]
    left = "SELECT count(*) FROM pg_class WHERE relname LIKE '%wave%'"
    assert rows(pipeline_database, left) == [(0,)]
    refused = CliRunner().invoke(main, ["-m", "data_pipeline.definitions", "sample", "full"])
    assert "Instance `full` is no sample" in refused.output
