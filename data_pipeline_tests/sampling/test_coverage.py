"""Coverage: what the source shows has a witness in the sample, with few rows."""

from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline_tests.sampling.schemas import Sample, Schema, schema, to

ROOTS = {"items": {"rate": 0.02}}


@pytest.fixture
def source(engine: sa.Engine) -> Schema:
    """Rows of which few are special: each special value stands in one or two of 3000."""
    return schema(
        engine,
        [
            """
            CREATE TABLE items AS SELECT
                g AS id,
                CASE WHEN g = 1234 THEN 'rare' WHEN g = 99 THEN '' WHEN g = 500 THEN NULL
                    ELSE 'c' || g % 4 END AS category,
                CASE g WHEN 777 THEN 1e9 WHEN 778 THEN 'NaN'::float8 ELSE g / 7.0 END AS amount,
                date '2020-01-01' + g AS day,
                CASE WHEN g = 2222 THEN g END AS hardly,
                g % 2 = 0 AS even,
                jsonb_build_object('g', g) AS data,
                md5(g::text)::uuid AS code
            FROM generate_series(1, 3000) g
            """,
            "CREATE TABLE parts AS SELECT g AS id, 1 + g % 2000 AS item "
            "FROM generate_series(1, 3000) g",
        ],
        items={"primary_key": "id"},
        parts={"primary_key": "id", "foreign_keys": [to("item", "items", "id")]},
    )


def reasons(sample: Sample, table: str = "items") -> dict[Any, str | None]:
    return {row.key[0]: row.reason for row in sample.tables[table] if row.role == "witness"}


def test_rare_values_have_witnesses(source: Schema) -> None:
    sample = source.sample(roots=ROOTS)
    assert {"rare", "", None, "c0", "c1", "c2", "c3"} <= set(sample.values("items", "category"))
    assert 2222 in sample.values("items", "hardly")
    assert {min(sample.values("items", "id")), max(sample.values("items", "id"))} == {1, 3000}
    assert (777,) in sample.keys("items") or (778,) in sample.keys("items")


def test_few_rows_cover_much(source: Schema) -> None:
    sample = source.sample(roots=ROOTS)
    assert 0 < len(sample.keys("items", "witness")) < 15


def test_witnesses_carry_no_weight(source: Schema) -> None:
    sample = source.sample(roots=ROOTS)
    for row in sample.tables["items"]:
        assert (row.probability is None) == (row.role in ("witness", "reference", "pinned"))


def test_a_witness_says_of_what(source: Schema) -> None:
    sample = source.sample(roots=ROOTS, cover={"columns": {"items": ["category"]}})
    assert reasons(sample)[1234] == "category: category 'rare'"
    assert reasons(sample)[500] == "null: category"


def test_nothing_is_covered_when_it_is_off(source: Schema) -> None:
    sample = source.sample(roots=ROOTS, cover="off")
    assert len(sample.keys("items", "witness")) <= 1
    assert (1234,) not in sample.keys("items")


def test_only_named_columns_are_covered(source: Schema) -> None:
    sample = source.sample(roots=ROOTS, cover={"columns": {"items": ["hardly"]}, "fan_outs": False})
    assert 2222 in sample.values("items", "hardly")
    assert "rare" not in sample.values("items", "category")


def test_a_row_of_which_a_predicate_holds_is_there(source: Schema) -> None:
    predicates = {"items": {"late": "amount < 100 AND id > 690", "none": "id < 0"}}
    sample = source.sample(
        roots={"items": {"rows": 5}}, cover={"columns": "off", "predicates": predicates}
    )
    assert "predicate: late" in reasons(sample).values()
    assert "predicate: none" not in reasons(sample).values()


def test_a_column_with_too_many_categories_is_reported(source: Schema) -> None:
    sample = source.sample(roots=ROOTS, cover={"category_limit": 3})
    assert sample.selection.left_out["items", "category"] >= 4
    assert ("items", "even") not in sample.selection.left_out


def test_a_table_that_is_only_referenced_is_covered_too(source: Schema) -> None:
    sample = source.sample(roots={"parts": {"rate": 0.01}}, small_table_rows=0)
    assert {"rare", "", None} <= set(sample.values("items", "category"))
    assert sample.violations() == []
