"""SQL that PostgreSQL refuses: the message shows the query and the place."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.errors import DatabaseError
from data_pipeline.results.sql_query import sql_query
from data_pipeline.store.table_properties import Table, View
from data_pipeline_tests.io_manager.runs import (
    refusal,
    rows,
    run,
    table_asset,
    write,
    write_refusal,
)

# The text of each error: what PostgreSQL says, then the query with the place marked.
MARKED = {
    "SELECT 1 AS a,, 2": """syntax error at or near ","
The query:
SELECT 1 AS a,, 2
              ^ line 1, column 15
""",
    "SELECT 'ä%' AS a,\n\t1 AS b\n\tFRM somewhere\nWHERE true": """
The query:
SELECT 'ä%' AS a,
\t1 AS b
\tFRM somewhere
\t^ line 3, column 2
WHERE true
""",
    "SELECT a\nFROM nowhere -- a comment\n": """relation "nowhere" does not exist
The query:
SELECT a
FROM nowhere -- a comment
     ^ line 2, column 6
""",
    "SELECT a FROM": """
The query:
SELECT a FROM
             ^ line 1, column 14
""",
}


WAYS: list[dict[str, str] | None] = [None, {"a": "bigint"}]
"""How a query's types are declared: with these, they are looked at first."""


@pytest.fixture
def committed(pipeline_database: sa.Engine) -> Callable[[], bool]:
    """Whether the table is still the one that has been committed before."""
    write("t", pd.DataFrame({"a": [1]}))
    return lambda: rows(pipeline_database, "SELECT a FROM full_s.t") == [(1,)]


def test_the_place_of_an_error_is_marked(committed: Callable[[], bool]) -> None:
    for query, types in product(MARKED, WAYS):
        error = write_refusal("t", Table(sql_query(query), types=types))
        assert isinstance(error, DatabaseError), query
        assert str(error).startswith("Table `s/t` could not be built: "), query
        assert MARKED[query] in str(error), f"{query}, types {types}"
        assert "What was committed before is unchanged." in str(error), query
        assert committed(), query


UNMARKED: list[tuple[str, dict[str, Any], str]] = [
    ("SELECT 1 / (n - 2) AS a FROM generate_series(1, 3) n", {}, "division by zero"),
    ("SELECT 'x' AS a", {"types": {"a": "int"}}, 'invalid input syntax for type integer: "x"'),
    ("SELECT true AS a", {"types": {"a": "date"}}, "cannot cast type boolean to date"),
    ("SELECT 1 AS a, 2 AS a", {}, 'column "a" specified more than once'),
    (
        "SELECT NULL AS a",
        {"primary_key": "a"},
        'column "a" of relation "t" contains null values',
    ),
    ("SELECT 1 AS a UNION ALL SELECT 1", {"primary_key": "a"}, "Key (a)=(1) is duplicated"),
]


def test_an_error_without_a_place_is_still_explained(committed: Callable[[], bool]) -> None:
    for query, options, message in UNMARKED:
        error = write_refusal("t", Table(sql_query(query), **options))
        assert isinstance(error, DatabaseError), query
        assert message in str(error), query
        assert "^" not in str(error), query
        assert committed(), query


LONG, WIDE = "x" * 70, "ä" * 40
SHOWN = sa.select(sa.literal(1).label(LONG))


LONGER: list[tuple[Any, str, int]] = [
    (SHOWN, LONG, 70),
    (sa.text(f"SELECT 1 AS {LONG}"), LONG, 70),
    (sa.text(f"SELECT 1 AS {LONG.upper()}"), LONG.upper(), 70),
    (sa.text(f'SELECT 1 AS "{LONG} and more"'), f"{LONG} and more", 79),
    (sa.text(f"SELECT 1 AS {WIDE}"), WIDE, 80),
    (View(SHOWN), LONG, 70),
    (Table(SHOWN, types={LONG[:63]: "text"}), LONG, 70),
]


@pytest.mark.usefixtures("pipeline_database")
def test_an_alias_that_would_be_cut_is_refused() -> None:
    for query, alias, size in LONGER:
        error = str(write_refusal("t", query))
        said = f"Table `s/t`: the query names a column `{alias}`, which has {size} bytes"
        assert said in error, query


@pytest.mark.usefixtures("pipeline_database")
def test_an_alias_of_just_that_length_is_not() -> None:
    exact, other = "x" * 63, "y" * 70
    text = f'WITH {other} AS (SELECT 1 AS {exact}, 2 AS "{"z" * 62}") SELECT * FROM {other}'
    run(table_asset("t", lambda: sa.text(text)))


SEVERAL = [
    "SELECT 1 AS a) AS q; DROP TABLE full_s.t; SELECT * FROM (SELECT 2 AS a",
    "SELECT 1 AS a) AS q; CREATE TABLE public.other (a int); SELECT * FROM (SELECT 2 AS a",
]


def test_a_query_is_one_statement(
    pipeline_database: sa.Engine, committed: Callable[[], bool]
) -> None:
    for query, types in product(SEVERAL, WAYS):
        error = write_refusal("r", Table(sql_query(query), types=types))
        reason = "syntax error" if types else "the query is more than one statement"
        assert str(error).startswith(f"Table `s/r` could not be built: {reason}"), query
        assert committed(), query
        assert rows(pipeline_database, "SELECT to_regclass('public.other')") == [(None,)], query


def test_a_view_is_one_statement(pipeline_database: sa.Engine) -> None:
    query = "SELECT 1 AS a; CREATE TABLE public.other (a int)"
    error = refusal(table_asset("v", lambda: View(sql_query(query))))
    assert "View `s/v` could not be built: " in str(error)
    assert rows(pipeline_database, "SELECT to_regclass('public.other')") == [(None,)]


def test_a_semicolon_in_a_text_is_none_of_the_query(pipeline_database: sa.Engine) -> None:
    queries = {
        "SELECT ';' AS a": ";",
        "SELECT 'x' AS a -- one; two": "x",
        "SELECT $$a;'b$$ || E'\\';' AS a": "a;'b';",
    }
    for query, value in queries.items():
        write("t", sql_query(query))
        assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(value,)]


@pytest.mark.usefixtures("pipeline_database")
def test_a_connection_that_breaks_is_said() -> None:
    query = "SELECT pg_terminate_backend(pg_backend_pid())::int AS a"
    for types in WAYS:
        error = refusal(table_asset("t", lambda types=types: Table(sql_query(query), types=types)))
        assert isinstance(error, DatabaseError)
        assert "Lost the connection to PostgreSQL" in str(error)
