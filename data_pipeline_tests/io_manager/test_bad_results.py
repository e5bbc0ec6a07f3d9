"""Results of which no table or blob can be made."""

import threading
from collections.abc import Callable
from typing import Any

import pandas as pd
import polars as pl
import pytest
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline.store.table_properties import Table, View
from data_pipeline_tests.io_manager.runs import (
    refusal,
    rows,
    run,
    table_asset,
    write,
    write_refusal,
)

T = sa.table("t", sa.column("a"))

BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "None": (lambda: None, "returned None, so there is nothing to store"),
    "None in a Table": (lambda: Table(None), "returned None, so there is nothing to store"),
    "a generator in a Table": (lambda: Table(n for n in "ab"), "returned a builtins.generator"),
    "a function": (lambda: run, "returned a builtins.function"),
    "a pandas series": (lambda: pd.Series([1]), "Series, which has no columns"),
    "a pandas index": (lambda: pd.RangeIndex(3), "Index, which has no columns"),
    "a polars series": (lambda: pl.Series([1]), "Series, which has no columns"),
    "an insert": (lambda: sa.insert(T).values(a=1), "which is no SELECT. The pipeline writes"),
    "an update": (lambda: sa.update(T).values(a=1).returning(T.c.a), "which is no SELECT"),
    "a view of a frame": (lambda: View(pd.DataFrame({"a": [1]})), "DataFrame, which a view cannot"),
    "a view of text": (lambda: View("SELECT 1"), "View of a builtins.str, which a view cannot"),
    "an expression": (lambda: sa.exists().where(T.c.a > 0), "which is no SELECT"),
    "a lock": (threading.Lock, "cannot be stored as a blob either: cannot pickle"),
    "a lambda in a list": (lambda: [lambda: 1], "cannot be stored as a blob either: "),
    "text with NUL": (lambda: pd.DataFrame({"x": ["a\0"]}), "Table `s/t`: Column `x`, row 0"),
    "a column twice": (
        lambda: pd.DataFrame([[1, 2]], columns=["x", "x"]),
        "Column 'x' (number 2) appears more than once",
    ),
}


def test_a_bad_result_is_explained_and_changes_nothing(pipeline_database: sa.Engine) -> None:
    write("t", pd.DataFrame({"a": [1]}))
    for case, (make, message) in BAD.items():
        error = write_refusal("t", make())
        assert isinstance(error, UnsupportedDataError), case
        assert message in str(error), case
        assert "`s/t`" in str(error), case
        assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(1,)], case


def test_a_name_that_differs_by_case_only_from_an_existing_table(
    pipeline_database: sa.Engine,
) -> None:
    run(table_asset("flights", lambda: pd.DataFrame({"a": [1]})))
    error = refusal(table_asset("Flights", lambda: pd.DataFrame({"a": [2]})))
    assert isinstance(error, ConfigurationError)
    assert "`s/Flights` differs only by upper and lower case from `full_s.flights`" in str(error)
    assert rows(pipeline_database, "SELECT a FROM full_s.flights") == [(1,)]


@pytest.mark.usefixtures("pipeline_database")
def test_two_assets_whose_names_differ_by_case_only() -> None:
    from data_pipeline.assembly import instance_definitions

    assets = [
        table_asset(name, lambda: pd.DataFrame({"a": [1]})) for name in ("flights", "Flights")
    ]
    with pytest.raises(ConfigurationError, match="differ only by upper and lower case"):
        instance_definitions(assets)
