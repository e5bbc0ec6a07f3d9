"""`where` says which rows can be drawn: what is drawn with them, and weights, go by these."""

from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from hypothesis import given

from data_pipeline import instance_resources
from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.report import sampled_inputs_with_report
from data_pipeline_tests.sampling.made_schemas import RATES, all_rows, build, made_schemas
from data_pipeline_tests.sampling.schemas import Schema, schema, to
from data_pipeline_tests.sampling.shop import Shop, configured, rows, run
from data_pipeline_tests.sampling.test_sampling_properties import SALTS, on_one_database

RECENT = {"orders": "day > 60"}
DRAWN: dict[str, Any] = {"roots": {"orders": {"rate": 0.3}}, "hubs": "off"}


@pytest.fixture
def source(engine: sa.Engine) -> Schema:
    return schema(
        engine,
        [
            "CREATE TABLE customers AS SELECT g AS id FROM generate_series(1, 50) g",
            "CREATE TABLE orders AS SELECT g AS id, g % 100 AS day, 1 + g % 50 AS customer "
            "FROM generate_series(1, 400) g",
            'CREATE TABLE lines AS SELECT g AS id, nullif(1 + g % 410, 1) AS "order" '
            "FROM generate_series(1, 1230) g",
            "CREATE TABLE notes AS SELECT g AS id, g % 1230 AS line FROM generate_series(1, 900) g",
        ],
        customers={"primary_key": "id"},
        orders={"primary_key": "id", "foreign_keys": [to("customer", "customers", "id")]},
        lines={"primary_key": "id", "foreign_keys": [to("order", "orders", "id")]},
        notes={"primary_key": "id", "foreign_keys": [to("line", "lines", "id")]},
    )


def population(engine: sa.Engine) -> Mapping[str, set[tuple[Any, ...]]]:
    """Gives the keys that can be drawn, by hand."""
    orders = {row["id"]: row for row in all_rows(engine, "orders")}
    outside = {key for key, row in orders.items() if not row["day"] > 60}
    lines = [row for row in all_rows(engine, "lines") if row["order"] not in outside]
    left_out = {row["id"] for row in all_rows(engine, "lines")} - {row["id"] for row in lines}
    notes = [row for row in all_rows(engine, "notes") if row["line"] not in left_out]
    return {
        "orders": {(key,) for key in orders if key not in outside},
        "lines": {(row["id"],) for row in lines},
        "notes": {(row["id"],) for row in notes},
    }


@pytest.mark.parametrize("size", [{"rate": 0.3}, {"rows": 60}, {"rate": 1.0}])
def test_only_rows_of_the_population_are_drawn(
    source: Schema, engine: sa.Engine, size: dict[str, Any]
) -> None:
    inside = population(engine)
    drawn = {**DRAWN, "roots": {"orders": size}}
    sample = source.sample(**drawn, where=RECENT, small_table_rows=0)
    for table, keys in inside.items():
        assert sample.keys(table) <= keys, table
        if size == {"rate": 1.0}:
            assert sample.keys(table, "certain") == keys
    assert sample.violations() == []


def test_what_refers_to_a_row_outside_brings_it_along(source: Schema) -> None:
    sample = source.sample(**DRAWN, where={"customers": "id <= 10"}, cover="off")
    brought = sample.keys("customers", "reference")
    assert brought
    assert all(key > 10 for (key,) in brought)
    assert sample.keys("customers", "certain") == {(key,) for key in range(1, 11)}
    assert sample.violations() == []


@pytest.mark.parametrize("size", [{"rate": 0.3}, {"rows": 50}])
def test_weights_add_up_to_the_population(
    source: Schema, engine: sa.Engine, size: dict[str, Any]
) -> None:
    inside = population(engine)
    drawn = {**DRAWN, "roots": {"orders": size}, "cover": "off"}
    samples = [source.sample(**drawn, where=RECENT, salt=salt) for salt in range(20)]
    for table, keys in inside.items():
        assert mean(s.weighted_count(table) for s in samples) == pytest.approx(len(keys), rel=0.12)


@on_one_database
@given(made_schemas(), RATES, SALTS)
def test_samples_of_populations_keep_references(
    engine: sa.Engine, made: dict[str, Any], rate: float, salt: int
) -> None:
    source = build(engine, made)
    where = dict.fromkeys(list(source.declared)[:2], "amount > 0.4 OR word = 'a'")
    sample = source.sample(
        roots={"t0": {"rate": rate}},
        salt=salt,
        where=where,
        small_table_rows=5,
        whole=source.unreached("t0"),
    )
    assert sample.violations() == []
    for name in where:
        for row in sample.tables[name]:
            amount, word = row.values["amount"], row.values["word"]
            assert row.role == "reference" or word == "a" or (amount or 0) > 0.4


def test_the_report_is_about_the_population(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    where = {"customers": "customer >= 100"}
    config = configured(
        tmp_path, midi={"roots": {"customers": {"rate": 0.3}}, "where": where, "salt": 2}
    )
    *raw, _ = Shop().assets()
    assets = [*raw, *sampled_inputs_with_report(stage="inputs", raw=raw)]
    run(assets, "full", config)
    dg.materialize(
        assets,
        selection=dg.AssetSelection.assets(*assets[-2:]),
        partition_key="midi",
        resources=instance_resources("midi", config=config),
    )
    figures = "SELECT value, expected, passed FROM midi_sample.inputs__report WHERE "
    counted = f"{figures} table_name = '{{}}' AND measure = 'rows'"
    assert rows(pipeline_database, counted.format("customers"))[0][1] == 300
    assert rows(pipeline_database, counted.format("orders"))[0][1] == 1200
    assert rows(pipeline_database, f"{figures} NOT passed AND severity = 'error'") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dya > 3", "does not understand the condition of `inputs/orders`, 'dya > 3': column"),
        ("day > 3) OR (true", "does not understand the condition"),
        ("1 / (day - 3) > 0", "fails on a row of the source: division by zero"),
    ],
)
def test_conditions_that_cannot_be(source: Schema, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        source.sample(**DRAWN, where={"orders": text})
    assert message in str(caught.value)


def test_of_several_rows_with_a_value_one_inside_is_enough(engine: sa.Engine) -> None:
    source = schema(
        engine,
        [
            "CREATE TABLE a AS SELECT g AS id, g / 2 AS code FROM generate_series(2, 201) g",
            "CREATE TABLE b AS SELECT g AS id, 1 + g % 100 AS code FROM generate_series(1, 300) g",
        ],
        a={"primary_key": "id"},
        b={"primary_key": "id", "foreign_keys": [to("code", "a", "code")]},
    )
    where = {"a": "id % 2 = 0 AND code > 50"}
    sample = source.sample(roots={"a": {"rate": 1}}, where=where, small_table_rows=0)
    assert {row.values["code"] for row in sample.tables["b"]} == set(range(51, 101))
    assert sample.violations() == []


def test_no_table_is_read_anew_for_each_row(engine: sa.Engine) -> None:
    """Of keys of several columns, the planner expects a single row where there are hundreds."""
    keys = "'x' || k AS code, k % 3 AS shop"
    source = schema(
        engine,
        [
            "CREATE TABLE a AS SELECT g AS id, g % 7 AS kind FROM generate_series(1, 900) g",
            f"CREATE TABLE b AS SELECT {keys}, 1 + k % 900 AS a FROM generate_series(1, 5000) k",
            f"CREATE TABLE c AS SELECT {keys}, k AS line FROM generate_series(1, 5000) k",
            f"CREATE TABLE d AS SELECT k AS id, {keys}, k AS line FROM generate_series(1, 3000) k",
            "ANALYZE",
        ],
        a={"primary_key": "id"},
        b={"primary_key": ["code", "shop"], "foreign_keys": [to("a", "a", "id")]},
        c={
            "primary_key": ["code", "shop", "line"],
            "foreign_keys": [to("code shop", "b", "code shop")],
        },
        d={
            "primary_key": "id",
            "foreign_keys": [to("code shop line", "c", "code shop line")],
        },
    )
    plans: list[str] = []

    def explain(_: object, cursor: Any, statement: str, values: Any, *others: Any) -> None:
        created, _, query = statement.partition(" AS ")
        if created.startswith("CREATE") and "_rows_d_" in created:
            cursor.execute(f"EXPLAIN {query}", values)
            plans.append("\n".join(line for (line,) in cursor))

    sa.event.listen(sa.Engine, "before_cursor_execute", explain)
    try:
        sample = source.sample(
            roots={"a": {"rate": 0.3}}, where={"a": "kind > 3"}, small_table_rows=0, cover="off"
        )
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", explain)
    assert len(sample.tables["d"]) > 200
    assert len(plans) == 1
    assert "Nested Loop" not in plans[0]
