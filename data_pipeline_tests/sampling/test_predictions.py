"""Before rows are copied it is said what a sample will cost, and warned where that is much."""

import logging
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.sampling.prediction.messages_of_draws import log_selection, parted_rows
from data_pipeline_tests.sampling.schemas import Schema, schema, to


@pytest.fixture
def heavy_below(engine: sa.Engine) -> Schema:
    """Customers have two orders each, but one of the orders has half of the lines."""
    return schema(
        engine,
        [
            "CREATE TABLE customers AS SELECT g AS id FROM generate_series(1, 500) g",
            "CREATE TABLE orders AS SELECT g AS id, 1 + g % 500 AS customer "
            "FROM generate_series(1, 1000) g",
            "CREATE TABLE lines AS SELECT g AS id, CASE WHEN g % 2 = 0 THEN 3 ELSE 1 + g % 1000 "
            'END AS "order" FROM generate_series(1, 4000) g',
        ],
        customers={"primary_key": "id"},
        orders={"primary_key": "id", "foreign_keys": [to("customer", "customers", "id")]},
        lines={"primary_key": "id", "foreign_keys": [to("order", "orders", "id")]},
    )


def predicted(
    source: Schema, caplog: pytest.LogCaptureFixture, **settings: Any
) -> dict[str, list[str]]:
    """Gives what is logged of a sample, by level."""
    selection = source.sample(**settings).selection
    caplog.clear()
    with caplog.at_level(logging.INFO):
        log_selection(logging.getLogger("test"), selection)
    records = [record for record in caplog.records if "design effect" in record.getMessage()]
    return {
        level: [record.getMessage() for record in records if record.levelname == level]
        for level in ("INFO", "WARNING")
    }


def test_many_children_below_a_root_are_warned_of(
    heavy_below: Schema, caplog: pytest.LogCaptureFixture
) -> None:
    said = predicted(heavy_below, caplog, roots={"customers": {"rate": 0.1}})
    [info], [warning] = said["INFO"], said["WARNING"]
    assert info.startswith("Root `inputs/customers`: the predicted design effect of sampling")
    assert "`inputs/orders`: the predicted design effect of sampling `lines` with it" in warning
    assert "Make `orders` or `lines` a root in sample.roots" in warning


@pytest.mark.parametrize(("limit", "warnings"), [("off", 0), (1.5, 2), ({"warn": 2000}, 0)])
def test_a_setting_says_what_is_warned_of(
    heavy_below: Schema, caplog: pytest.LogCaptureFixture, limit: Any, warnings: int
) -> None:
    checks = {"design_effect": limit}
    said = predicted(heavy_below, caplog, roots={"customers": {"rate": 0.1}}, checks=checks)
    assert len(said["WARNING"]) == warnings


def test_rows_that_are_drawn_without_those_that_they_extend_are_named(engine: sa.Engine) -> None:
    source = schema(
        engine,
        [],
        customers={"primary_key": "id"},
        sales={"primary_key": ["order", "item"], "foreign_keys": [to("by", "customers", "id")]},
        returns={
            "primary_key": ["item", "order"],
            "foreign_keys": [
                to("by", "customers", "id"),
                to("order item", "sales", "order item"),
            ],
        },
    )
    roots = {"customers": {"rate": 0.1}}
    [note] = parted_rows(source.plan(roots=roots))
    assert note.startswith("`returns` is drawn by returns (by) -> customers (id), not with the")
    assert "`follow: {returns: sales}` keeps them" in note
    for other in ({"follow": {"returns": "sales"}}, {"follow": {"returns": ["by"]}}):
        assert parted_rows(source.plan(roots=roots, **other)) == []


def test_what_the_warning_advises_helps(
    heavy_below: Schema, caplog: pytest.LogCaptureFixture
) -> None:
    said = predicted(heavy_below, caplog, roots={"orders": {"rate": 0.1}})
    assert said["WARNING"] == []
    assert len(said["INFO"]) == 1


def test_a_root_without_hubs_is_warned_of(
    heavy_below: Schema, caplog: pytest.LogCaptureFixture
) -> None:
    said = predicted(heavy_below, caplog, roots={"orders": {"rate": 0.1}}, hubs="off")
    [warning] = said["WARNING"]
    assert "Set sample.hubs to a number of children below 2,00" in warning


@pytest.mark.parametrize("root", [{"rate": 1.0}, {"rows": 500}])
def test_tables_that_come_whole_cost_nothing(
    heavy_below: Schema, caplog: pytest.LogCaptureFixture, root: dict[str, float]
) -> None:
    said = predicted(heavy_below, caplog, roots={"customers": root})
    assert said == {"INFO": [], "WARNING": []}


def test_nothing_is_said_of_children_that_are_not_there(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    source = schema(
        engine,
        [
            "CREATE TABLE customers AS SELECT g AS id FROM generate_series(1, 50) g",
            "CREATE TABLE orders (id int, customer int)",
            'CREATE TABLE lines (id int, "order" int)',
        ],
        customers={"primary_key": "id"},
        orders={"primary_key": "id", "foreign_keys": [to("customer", "customers", "id")]},
        lines={"primary_key": "id", "foreign_keys": [to("order", "orders", "id")]},
    )
    settings: dict[str, Any] = {"roots": {"customers": {"rate": 0.1}}, "small_table_rows": 0}
    assert predicted(source, caplog, **settings) == {"INFO": [], "WARNING": []}
