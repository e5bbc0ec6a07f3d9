"""SQL that PostgreSQL refuses: the message shows the query and the place."""

from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.errors import DatabaseError
from data_pipeline.results.table_query import sql_query
from data_pipeline.store.table_properties import Table
from data_pipeline_tests.io_manager.runs import refusal, rows, run, table_asset

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


@pytest.mark.parametrize("types", [None, {"a": "bigint"}], ids=["plain", "with types"])
@pytest.mark.parametrize("query", MARKED)
def test_the_place_of_an_error_is_marked(
    pipeline_database: sa.Engine, query: str, types: dict[str, str] | None
) -> None:
    run(table_asset("t", lambda: pd.DataFrame({"a": [1]})))
    error = refusal(table_asset("t", lambda: Table(sql_query(query), types=types)))
    assert isinstance(error, DatabaseError)
    assert str(error).startswith("Table `s/t` could not be built: ")
    assert MARKED[query] in str(error)
    assert "What was committed before is unchanged." in str(error)
    assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(1,)]


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        ("SELECT 1 / (n - 2) AS a FROM generate_series(1, 3) n", {}, "division by zero"),
        (
            "SELECT 'x' AS a",
            {"types": {"a": "int"}},
            'invalid input syntax for type integer: "x"',
        ),
        ("SELECT true AS a", {"types": {"a": "date"}}, "cannot cast type boolean to date"),
        ("SELECT 1 AS a, 2 AS a", {}, 'column "a" specified more than once'),
        (
            "SELECT NULL AS a",
            {"primary_key": "a"},
            'column "a" of relation "t" contains null values',
        ),
        ("SELECT 1 AS a UNION ALL SELECT 1", {"primary_key": "a"}, "Key (a)=(1) is duplicated"),
    ],
)
def test_an_error_without_a_place_is_still_explained(
    pipeline_database: sa.Engine, query: str, options: dict[str, Any], message: str
) -> None:
    run(table_asset("t", lambda: pd.DataFrame({"a": [1]})))
    error = refusal(table_asset("t", lambda: Table(sql_query(query), **options)))
    assert isinstance(error, DatabaseError)
    assert message in str(error)
    assert "^" not in str(error)
    assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(1,)]
