"""Properties of a table: declared by `Table(...)` or by `table_properties(...)`."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.errors import DatabaseError, DataPipelineError, UnsupportedDataError
from data_pipeline.store.table_properties import ForeignKey, Table, table_properties
from data_pipeline_tests.io_manager.runs import (
    execute,
    from_inputs,
    metadata,
    refusal,
    rows,
    run,
    table_asset,
    write,
    write_refusal,
)

DECLARED: dict[str, Any] = {
    "primary_key": ["b", "a"],
    "indexes": ["c", ("c", "a"), "c"],
    "types": {"a": "smallint", "c": sa.String(5)},
    "nullable": ["c"],
    "unlogged": True,
    "foreign_keys": [ForeignKey("c", "airports", ["faa"])],
}

SHAPE = """
SELECT (SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) ||
                          CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END, ', ' ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = t.oid AND attnum > 0),
       (SELECT string_agg(regexp_replace(pg_get_indexdef(indexrelid), '.* USING ', ''), ', '
                          ORDER BY indisprimary DESC, indexrelid)
        FROM pg_index WHERE indrelid = t.oid),
       t.relpersistence::text
FROM pg_class t WHERE oid = 'full_s.{}'::regclass
"""
EXPECTED = (
    "a smallint NOT NULL, b bigint NOT NULL, c character varying(5), d bigint NOT NULL",
    "btree (b, a), btree (c), btree (c, a)",
    "u",
)

RESULTS: dict[str, Callable[[], Any]] = {
    "frame": lambda: pd.DataFrame({"a": [1, 2], "b": [3, 3], "c": ["x", None], "d": [1, 1]}),
    "query": lambda: sa.text(
        "SELECT * FROM (VALUES (1, 3::bigint, 'x', 1::bigint), (2, 3, NULL, 1)) AS v (a, b, c, d)"
    ),
}


def test_a_table_is_made_with_its_properties_again_and_again(
    pipeline_database: sa.Engine,
) -> None:
    assets = []
    for kind, make in RESULTS.items():
        said = lambda make=make: Table(make(), **DECLARED)  # noqa: E731 - as short as it can be
        assets.append(table_asset(f"{kind}_in_table", said))
        assets.append(table_asset(f"{kind}_alone", make, metadata=table_properties(**DECLARED)))
    names = [asset.key.path[-1] for asset in assets]
    for _ in range(2):
        result = run(*assets)
        for name in names:
            assert rows(pipeline_database, SHAPE.format(name)) == [EXPECTED], name
    for name in names:
        columns = metadata(result, name)["dagster/column_schema"].columns
        found = [column.constraints.nullable for column in columns]
        assert found == [False, False, True, False], name
        query = f"SELECT properties FROM full_catalog.tables WHERE name = '{name}'"
        [[kept]] = rows(pipeline_database, query)
        key = {"columns": ["c"], "references": "airports", "referenced_columns": ["faa"]}
        assert kept["foreign_keys"] == [key], name
        assert kept["primary_key"] == ["b", "a"], name


def test_what_the_result_says_goes_before_what_the_asset_declares(
    pipeline_database: sa.Engine,
) -> None:
    declared = table_properties(primary_key="a", indexes=["c"], unlogged=True)
    run(
        table_asset(
            "t",
            lambda: Table(RESULTS["frame"](), primary_key=["a", "b"], unlogged=False),
            metadata=declared,
        )
    )
    [(_, indexes, persistence)] = rows(pipeline_database, SHAPE.format("t"))
    assert (indexes, persistence) == ("btree (a, b), btree (c)", "p")


@pytest.mark.usefixtures("pipeline_database")
def test_a_reference_knows_key_and_properties() -> None:
    keys = []

    def read(t: sa.Table) -> Any:
        keys.append(t.primary_key.columns.keys())
        return sa.select(t)

    run(
        table_asset("t", lambda: Table(RESULTS["frame"](), **DECLARED)), from_inputs("r", read, "t")
    )
    assert keys == [["b", "a"]]


@pytest.fixture
def committed(pipeline_database: sa.Engine) -> Callable[[], bool]:
    """Whether the table is still the one that has been committed before."""
    write("t", RESULTS["frame"]())
    return lambda: rows(pipeline_database, "SELECT count(*) FROM full_s.t") == [(2,)]


def test_a_null_where_there_must_be_none_names_the_column(committed: Callable[[], bool]) -> None:
    for kind, nullable in product(RESULTS, ({"c": False, "a": True}, ["a", "b", "d"])):
        error = str(write_refusal("t", Table(RESULTS[kind](), nullable=nullable)))
        assert "Table `s/t`" in error, kind
        assert error.replace('"', "`").find("olumn `c`") > 0, f"{kind}, {nullable}"
        assert committed(), kind


OF_AN_UNKNOWN_COLUMN: list[dict[str, Any]] = [
    {"primary_key": ["a", "nope"]},
    {"indexes": [("nope",)]},
    {"types": {"nope": "text"}},
    {"nullable": {"nope": True}},
    {"foreign_keys": [ForeignKey("nope", "u")]},
    {"columns": {"a": "The first.", "nope": "There is none."}},
]


def test_a_property_of_an_unknown_column_is_named(committed: Callable[[], bool]) -> None:
    said = "Table `s/t`: its properties name `nope`, but it has the columns a, b, c, d"
    for kind, declared in product(RESULTS, OF_AN_UNKNOWN_COLUMN):
        error = write_refusal("t", Table(RESULTS[kind](), **declared))
        assert said in str(error), f"{kind}, {declared}"
        assert committed(), f"{kind}, {declared}"


@pytest.mark.usefixtures("pipeline_database")
def test_an_unknown_type_is_named() -> None:
    for kind, declared in product(RESULTS, ("nope(3)", 'int) AS "x", (SELECT 1')):
        error = write_refusal("t", Table(RESULTS[kind](), types={"a": declared}))
        assert f"PostgreSQL has no type `{declared}`" in str(error), kind


def test_a_duplicate_key_names_table_and_value(committed: Callable[[], bool]) -> None:
    for kind, make in RESULTS.items():
        error = write_refusal("t", Table(make(), primary_key="b"))
        assert isinstance(error, DatabaseError), kind
        assert "Table `s/t` could not be built" in str(error), kind
        assert "Key (b)=(3) is duplicated." in str(error), kind
        assert "Correct the key or remove the duplicates" in str(error), kind
        assert committed(), kind


@pytest.mark.usefixtures("pipeline_database")
def test_a_null_in_a_key_names_table_and_column() -> None:
    for kind, make in RESULTS.items():
        error = str(write_refusal("t", Table(make(), primary_key="c")))
        assert "Table `s/t` could not be built" in error, kind
        assert 'column "c" of relation "t" contains null values' in error, kind


@pytest.mark.usefixtures("pipeline_database")
@pytest.mark.parametrize(
    "asset",
    [
        table_asset("t", lambda: Table({"weight": 1}, primary_key="a")),
        table_asset("t", lambda: {"weight": 1}, metadata=table_properties(primary_key="a")),
    ],
    ids=["Table", "table_properties"],
)
def test_a_blob_has_no_table_properties(asset: Any) -> None:
    error = refusal(asset)
    assert isinstance(error, UnsupportedDataError)
    assert "Asset `s/t` has properties of a table, but what it returned is a builtins.dict" in str(
        error
    )


def test_long_and_similar_names_do_not_meet_in_names_of_keys_and_indexes(
    pipeline_database: sa.Engine,
) -> None:
    long = "t" * 62
    made = lambda: Table(  # noqa: E731 - as short as it can be
        pd.DataFrame({"a": [1], "b": [1], "a_b": [1]}),
        primary_key="a",
        indexes=["a_b", "b", ("a", "b")],
    )
    names = [f"{long}a", f"{long}b", "x", "x_a", "_x", "__x"]
    for _ in range(2):
        run(*(table_asset(name, made) for name in names))
    assert rows(pipeline_database, f'SELECT count(*) FROM full_s."{long}a"') == [(1,)]


def test_properties_of_an_unchanged_query_may_change(pipeline_database: sa.Engine) -> None:
    run(table_asset("t", RESULTS["query"]))
    execute(pipeline_database, "COMMENT ON TABLE full_s.t IS 'kept'")
    run(table_asset("t", lambda: Table(RESULTS["query"](), primary_key="a")))
    [(columns, indexes, _)] = rows(pipeline_database, SHAPE.format("t"))
    assert indexes == "btree (a)"
    assert columns.startswith("a integer NOT NULL")
    assert rows(pipeline_database, "SELECT obj_description('full_s.t'::regclass)") == [("kept",)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Table(1, primary_key=[1]), "Table(primary_key=...): 1 is not a column name"),
        (lambda: Table(1, indexes=[["a", "a"]]), "a column is named twice in ('a', 'a')"),
        (lambda: Table(1, types={"a": 3}), "column `a` has 3, which is neither a PostgreSQL type"),
        (lambda: Table(1, types=["a"]), "Table(types=...): ['a'] is no mapping"),
        (lambda: Table(1, primary_key=5), "Table(primary_key=...): 5 is no list"),
        (lambda: Table(1, indexes=[5]), "Table(indexes=...): 5 is no list"),
        (lambda: Table(1, nullable=5), "Table(nullable=...): 5 is no list"),
        (lambda: Table(1, nullable={"a": "no"}), "column `a` has 'no'. Write True or False"),
        (lambda: Table(1, foreign_keys=[("a", "t")]), "('a', 't') is no ForeignKey"),
        (lambda: ForeignKey("a", "t", ["b", "c"]), "1 column(s) cannot refer to 2"),
        (lambda: ForeignKey("a", ""), "references=''): name at least one column, and the table"),
        (lambda: ForeignKey([], "t"), "columns=[], references='t'): name at least one column"),
    ],
)
def test_a_malformed_declaration_is_named(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataPipelineError) as caught:
        wrong()
    assert message in str(caught.value)


def test_one_column_or_relationship_needs_no_list() -> None:
    key = ForeignKey("faa", "airports")
    table = Table(1, indexes="faa", foreign_keys=key, nullable="faa")
    listed = Table(1, indexes=["faa"], foreign_keys=[key], nullable=["faa"])
    assert table.properties == listed.properties
