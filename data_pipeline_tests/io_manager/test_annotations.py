"""Annotations with a schema, optional ones, and tables of ibis."""

from typing import Any, Optional

import dagster as dg
import dataframely as dy
import ibis
import pandas as pd
import pandera.pandas as pandera
import pandera.polars as pandera_polars
import pandera.typing as typed
import pandera.typing.polars as typed_polars
import polars as pl
import pytest
import sqlalchemy as sa

from data_pipeline import Table, instance_resources
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.io_manager.runs import (
    STAGE,
    from_inputs,
    metadata,
    refusal,
    rows,
    run,
    table_asset,
    told,
)

pytestmark = pytest.mark.usefixtures("pipeline_database")


class Orders(dy.Schema):
    id = dy.Int64(primary_key=True)
    price = dy.UInt8()
    note = dy.String(nullable=True)

    @dy.rule()
    def sold_for_something(cls) -> pl.Expr:  # noqa: N805 - as dataframely has it
        return pl.col("price") > 0


class PolarsPrices(pandera_polars.DataFrameModel):
    price: int


class Prices(pandera.DataFrameModel):
    price: int = pandera.Field(ge=0)
    note: str = pandera.Field(nullable=True)


OPTIONAL, OPTIONAL_SCHEMA = Optional[pl.DataFrame], Optional[dy.DataFrame[Orders]]  # noqa: UP045
PRICED = pd.DataFrame({"price": [1, 2], "note": ["a", None]})


def orders(*prices: int, **columns: Any) -> pl.DataFrame:
    plain = {"id": range(len(prices)), "price": prices, "note": [None] * len(prices), **columns}
    return pl.DataFrame(plain).cast({"id": pl.Int64, "price": pl.UInt8, "note": pl.String})


def asset(name: str, returns: Any, value: Any, **options: Any) -> dg.AssetsDefinition:
    def made():  # type: ignore[no-untyped-def]
        return value

    made.__annotations__["return"] = returns
    return dg.asset(key=[STAGE, name], partitions_def=INSTANCE_PARTITIONS, **options)(made)


def arriving(name: str, kind: Any, table: str, seen: list[Any]) -> dg.AssetsDefinition:
    def read(t):  # type: ignore[no-untyped-def]
        seen.append(t)

    read.__annotations__ |= {"t": kind, "return": None}
    return from_inputs(name, read, t=table)


def failure(*assets: dg.AssetsDefinition) -> Any:
    """Gives the check that did not pass."""
    result = run(*assets, raise_on_error=False)
    assert not result.success
    checks = [
        data.type_check_data
        for event in result.all_events
        if event.event_type_value in ("STEP_OUTPUT", "STEP_INPUT")
        and (data := event.event_specific_data) is not None
        and not data.type_check_data.success
    ]
    [check] = checks
    return check


@pytest.mark.parametrize("kind", [dy.DataFrame, dy.LazyFrame])
def test_a_dataframely_schema_makes_the_table(kind: Any, pipeline_database: sa.Engine) -> None:
    frame = orders(1, 2) if kind is dy.DataFrame else orders(1, 2).lazy()
    seen: list[Any] = []
    made = asset("orders", kind[Orders], frame)
    run(made, arriving("reader", kind[Orders], "orders", seen))
    inspector = sa.inspect(pipeline_database)
    assert inspector.get_pk_constraint("orders", "full_s")["constrained_columns"] == ["id"]
    columns = {c["name"]: c["nullable"] for c in inspector.get_columns("orders", "full_s")}
    assert columns == {"id": False, "price": False, "note": True}
    [arrived] = seen
    assert isinstance(arrived, type(frame))
    assert arrived.lazy().collect().equals(orders(1, 2))  # UInt8, which PostgreSQL has not


def test_rows_that_do_not_keep_it_are_counted_on_the_way_out() -> None:
    check = failure(asset("orders", dy.DataFrame[Orders], orders(0, 1, 0)))
    assert {name: value.value for name, value in check.metadata.items()} == {
        "sold_for_something": 2
    }
    assert "Schema `Orders` is not kept: sold_for_something (2 rows)" in check.description


def test_and_on_the_way_in() -> None:
    plain = table_asset("orders", lambda: orders(0, 1))
    check = failure(plain, arriving("reader", dy.DataFrame[Orders], "orders", []))
    assert [(k, v.value) for k, v in check.metadata.items()] == [("sold_for_something", 1)]
    check = failure(asset("orders", dy.DataFrame[Orders], orders(1).drop("note")))
    assert "missing columns" in check.description


def test_what_the_asset_says_itself_goes_first(pipeline_database: sa.Engine) -> None:
    run(asset("orders", dy.DataFrame[Orders], Table(orders(1, 2), primary_key=["id", "price"])))
    key = sa.inspect(pipeline_database).get_pk_constraint("orders", "full_s")
    assert key["constrained_columns"] == ["id", "price"]


def test_a_pandera_model_is_checked(pipeline_database: sa.Engine) -> None:
    seen: list[Any] = []
    kinds = {"pandas": typed.DataFrame[Prices], "polars": typed_polars.DataFrame[PolarsPrices]}
    run(
        asset("prices", kinds["pandas"], PRICED),
        arriving("pandas", kinds["pandas"], "prices", seen),
        asset("for_polars", kinds["polars"], pl.DataFrame({"price": [1, 2]})),
        arriving("polars", kinds["polars"], "for_polars", seen),
    )
    assert {type(frame) for frame in seen} == {pd.DataFrame, pl.DataFrame}
    columns = sa.inspect(pipeline_database).get_columns("prices", "full_s")
    assert {c["name"]: c["nullable"] for c in columns} == {"price": False, "note": True}
    check = failure(asset("prices", kinds["pandas"], PRICED.assign(price=[-1, -2])))
    assert [value.value for value in check.metadata.values()] == [2]


def test_an_optional_frame_is_that_frame() -> None:
    seen: list[Any] = []
    kinds = [pd.DataFrame | None, OPTIONAL, OPTIONAL_SCHEMA]
    readers = [arriving(f"r{n}", kind, "orders", seen) for n, kind in enumerate(kinds)]
    run(table_asset("orders", lambda: orders(1)), *readers)
    assert [arrived["price"].to_list() for arrived in seen] == [[1]] * 3


def test_an_optional_frame_may_be_none() -> None:
    seen: list[Any] = []
    kinds = [pd.DataFrame | None, OPTIONAL_SCHEMA]
    made = [asset(f"t{n}", kind, None) for n, kind in enumerate(kinds)]
    run(*made, *(arriving(f"r{n}", kind, f"t{n}", seen) for n, kind in enumerate(kinds)))
    assert seen == [None, None]
    assert "returned None" in str(refusal(asset("t", Any, None)))


def test_what_a_table_cannot_be_given_as_is_refused() -> None:
    kinds = [list[pd.DataFrame], dict[str, int], int, list, pd.Series]
    readers = [arriving(f"r{n}", kind, "t", []) for n, kind in enumerate(kinds)]
    result = run(table_asset("t", lambda: PRICED), *readers, raise_on_error=False)
    for number, kind in enumerate(kinds):
        error = told(result, f"r{number}")
        assert "Table `s/t` cannot be given as" in error, kind
        assert "sa.Table" in error, kind


def test_ibis_tables_come_and_expressions_go(pipeline_database: sa.Engine) -> None:
    def doubled(t: ibis.Table) -> ibis.Table:
        return t.filter(t.price > 1).mutate(twice=t.price * 2, colon=ibis.literal(":x {y}"))

    def keyed(t: ibis.Table) -> Any:
        return Table(t.select("price"), primary_key="price")

    def counted(t: ibis.Table) -> pd.DataFrame:
        return pd.DataFrame({"n": [int(t.count().execute())]})

    result = run(
        table_asset("t", lambda: PRICED),
        from_inputs("doubled", doubled, "t"),
        from_inputs("keyed", keyed, "t"),
        from_inputs("counted", counted, t="doubled"),
    )
    assert rows(pipeline_database, "SELECT * FROM full_s.doubled") == [(2, None, 4, ":x {y}")]
    assert rows(pipeline_database, "SELECT n FROM full_s.counted") == [(1,)]
    assert '"full_s"."t"' in str(metadata(result, "doubled"))
    key = sa.inspect(pipeline_database).get_pk_constraint("keyed", "full_s")
    assert key["constrained_columns"] == ["price"]


def test_what_ibis_cannot_say_in_sql_is_refused() -> None:
    local = ibis.memtable({"x": [1]})
    error = refusal(asset("t", ibis.Table, local.mutate(y=local.x)))
    assert "An ibis expression" in str(error)


def test_schemas_are_kept_in_memory_too() -> None:
    resources = instance_resources("mini", io_manager=False)
    bad = asset("orders", dy.DataFrame[Orders], orders(0))
    with pytest.raises(dg.DagsterTypeCheckDidNotPass, match="sold_for_something"):
        dg.materialize_to_memory([bad], partition_key="mini", resources=resources)
