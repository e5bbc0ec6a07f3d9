"""A table has the rows that were committed, some at least, and a sample no more than its source."""

import dagster as dg

from data_pipeline_tests.results.conftest import Execute
from data_pipeline_tests.results.shop import CUSTOMERS, check, raw_tables, run, sampled

WARN = dg.AssetCheckSeverity.WARN
ERROR = dg.AssetCheckSeverity.ERROR
RAW = "shop_raw/customers.row_count"
SAMPLED = "shop/customers.row_count"


def counts(found: dg.AssetCheckEvaluation) -> dict[str, object]:
    return {name: value.value for name, value in found.metadata.items()}


def test_the_rows_that_were_committed_pass(execute: Execute) -> None:
    found = run("full", raw_tables())[RAW]
    assert found.passed
    assert counts(found) == {"row_count": 4, "catalog_row_count": 4}


def test_rows_deleted_by_hand_are_an_error(execute: Execute) -> None:
    raw = raw_tables()
    run("full", raw)
    execute("DELETE FROM full_shop_raw.customers WHERE id > 1")
    found = check("full", raw)[RAW]
    assert (found.passed, found.severity) == (False, ERROR)
    assert found.description == (
        "full_shop_raw.customers has 1 row(s), but 4 were committed: somebody changed it since. "
        "Drop it and run the pipeline, which builds it anew."
    )


def test_an_empty_table_is_a_warning(execute: Execute) -> None:
    found = run("full", raw_tables(customers=CUSTOMERS[:0]))[RAW]
    assert (found.passed, found.severity) == (False, WARN)
    assert "full_shop_raw.customers is empty" in str(found.description)


def test_a_table_that_the_pipeline_did_not_make_is_an_error(execute: Execute) -> None:
    execute("CREATE SCHEMA full_shop_raw; CREATE TABLE full_shop_raw.customers AS SELECT 1 AS id")
    found = check("full", raw_tables())[RAW]
    assert not found.passed
    assert "the catalog does not know it" in str(found.description)


def test_a_table_that_does_not_exist_is_an_error_that_gives_the_command(execute: Execute) -> None:
    found = check("full", raw_tables())
    assert [item.passed for item in found.values()] == [False] * 5
    assert found[RAW].description == (
        "full_shop_raw.customers does not exist. Build it: "
        "dagster job execute -m data_pipeline.definitions -j full"
    )


def test_a_sample_has_the_count_of_its_source_beside_its_own(execute: Execute) -> None:
    raw = raw_tables()
    run("full", raw)
    found = run("midi", [sampled(raw)], raw)[SAMPLED]
    assert found.passed
    assert counts(found) == {"row_count": 2, "catalog_row_count": 2, "source_row_count": 4}


def test_a_sample_with_more_rows_than_its_source_is_an_error(execute: Execute) -> None:
    raw = raw_tables()
    run("full", raw)
    inputs = sampled(raw)
    run("midi", [inputs], raw)
    execute(
        "INSERT INTO midi_shop.customers SELECT id, 'Eve' FROM generate_series(11, 15) id;"
        "UPDATE midi_catalog.tables SET row_count = 7 WHERE name = 'customers'"
    )
    found = check("midi", [inputs])[SAMPLED]
    assert (found.passed, found.severity) == (False, ERROR)
    assert "has 7 row(s), more than its source full_shop_raw.customers with 4" in str(
        found.description
    )


def test_a_sample_of_a_source_that_has_shrunk_since_is_a_warning(execute: Execute) -> None:
    raw = raw_tables()
    run("full", raw)
    inputs = sampled(raw)
    run("midi", [inputs], raw)
    run("full", raw_tables(customers=CUSTOMERS[:1]))
    found = check("midi", [inputs])[SAMPLED]
    assert (found.passed, found.severity) == (False, WARN)
    assert "The source changed since it was copied: run `midi` again" in str(found.description)
