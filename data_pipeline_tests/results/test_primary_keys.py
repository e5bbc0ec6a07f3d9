"""A declared primary key is unique and never NULL, also in a view or a table altered by hand."""

import dagster as dg
import pandas as pd

from data_pipeline import Table, table_properties
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.results.conftest import Execute
from data_pipeline_tests.results.shop import check, raw_tables, run, sampled


@dg.asset(
    key=["shop_raw", "prices"],
    partitions_def=INSTANCE_PARTITIONS,
    metadata=table_properties(primary_key=["id", "year"]),
)
def prices() -> pd.DataFrame:
    return pd.DataFrame({"id": [1, 1], "year": [2020, 2021], "Preis 100%": [5, 6]})


CHECK = "shop_raw/prices.primary_key"


def facts(found: dg.AssetCheckEvaluation) -> dict[str, object]:
    return {name: value.value for name, value in found.metadata.items()}


def test_the_constraint_of_a_table_that_the_pipeline_built_is_enough(execute: Execute) -> None:
    found = run("full", [prices])[CHECK]
    assert found.passed
    assert facts(found) == {"primary_key": "id, year", "guaranteed_by_constraint": True}


def test_duplicates_in_a_table_without_its_constraint_are_an_error(execute: Execute) -> None:
    run("full", [prices])
    execute(
        "ALTER TABLE full_shop_raw.prices DROP CONSTRAINT prices_pkey;"
        "INSERT INTO full_shop_raw.prices VALUES (1, 2020, 7), (1, 2020, 8), (2, 2020, 8)"
    )
    found = check("full", [prices])[CHECK]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert (facts(found)["null_rows"], facts(found)["duplicate_rows"]) == (0, 2)
    assert found.description == (
        "The primary key (id, year) of full_shop_raw.prices does not hold: 2 row(s) too many with "
        "a value that occurs before, for example `1, 2020`. Correct the query or the data, or "
        "declare other columns as `primary_key`."
    )


def test_null_in_one_column_of_the_key_is_an_error(execute: Execute) -> None:
    run("full", [prices])
    execute(
        "ALTER TABLE full_shop_raw.prices DROP CONSTRAINT prices_pkey;"
        "ALTER TABLE full_shop_raw.prices ALTER year DROP NOT NULL;"
        "INSERT INTO full_shop_raw.prices VALUES (3, NULL, 7), (4, NULL, 8)"
    )
    found = check("full", [prices])[CHECK]
    assert not found.passed
    assert (facts(found)["null_rows"], facts(found)["duplicate_rows"]) == (2, 0)
    assert "2 row(s) with NULL in it, for example `3, NULL`, `4, NULL`" in str(found.description)


def test_the_rows_of_a_view_are_counted(execute: Execute) -> None:
    raw = raw_tables()
    inputs = sampled(raw)
    found = run("full", [*raw, inputs])["shop/customers.primary_key"]
    assert found.passed
    assert facts(found)["guaranteed_by_constraint"] is False
    execute(
        "CREATE OR REPLACE VIEW full_shop.customers AS SELECT * FROM full_shop_raw.customers "
        "UNION ALL SELECT * FROM full_shop_raw.customers"
    )
    found = check("full", [inputs])["shop/customers.primary_key"]
    assert not found.passed
    assert facts(found)["duplicate_rows"] == 4


def test_a_key_column_that_is_gone_is_an_error(execute: Execute) -> None:
    run("full", [prices])
    execute("ALTER TABLE full_shop_raw.prices DROP COLUMN year")
    found = check("full", [prices])[CHECK]
    assert not found.passed
    assert "full_shop_raw.prices does not fit what its asset declares" in str(found.description)
    assert "PostgreSQL says: column prices.year does not exist. Correct" in str(found.description)


def test_a_key_given_with_the_data_goes_before_the_declared_one(execute: Execute) -> None:
    @dg.asset(
        key=["shop_raw", "prices"],
        partitions_def=INSTANCE_PARTITIONS,
        metadata=table_properties(primary_key="id"),
    )
    def other() -> Table:
        return Table(prices(), primary_key="year")

    found = run("full", [other])[CHECK]
    assert found.passed
    assert facts(found)["primary_key"] == "year"
