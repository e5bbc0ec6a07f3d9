"""Rows, columns and keys that are awkward to compare."""

import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import database, run
from data_pipeline.database.identifiers import RelationName
from data_pipeline.difference.columns import read_columns
from data_pipeline.difference.rendering import terminal
from data_pipeline.difference.result import Difference, TableDifference
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import load_configuration
from data_pipeline_tests.difference.relations import compared_alone
from data_pipeline_tests.io_manager.runs import execute


def test_keys_that_do_not_tell_rows_apart_never_multiply(pipeline_database: sa.Engine) -> None:
    execute(
        pipeline_database,
        "CREATE TABLE a (k integer, w text)",
        "CREATE TABLE b (k integer, w text)",
        "INSERT INTO a VALUES (1, 'x'), (1, 'y'), (2, 'z'), (NULL, 'n')",
        "INSERT INTO b VALUES (1, 'x'), (1, 'y'), (2, 'Z'), (3, 'q')",
    )
    found = compared_alone("a", "b", ["k"])
    rows = found.rows
    assert rows is not None
    assert rows.faults is not None
    assert (rows.before, rows.after, rows.added, rows.removed, rows.changed) == (4, 4, 1, 1, 1)
    assert (rows.faults.nulls, rows.faults.duplicates) == ((1, 0), (2, 2))
    assert "such as `1`, `NULL`" in list(terminal.details(found))[-1]
    told = list(
        terminal.markdown(Difference("x", "y", (found,)))
    )  # for everybody who sees a request
    assert any("share their key with others; these" in line for line in told)


def test_columns_that_come_go_and_change_their_type(pipeline_database: sa.Engine) -> None:
    execute(
        pipeline_database,
        "CREATE TABLE a (k integer PRIMARY KEY, same integer, gone text, other integer, t text)",
        "INSERT INTO a VALUES (1, 5, 'x', 7, 'u')",
        'CREATE TABLE b (k bigint PRIMARY KEY, same numeric, "new one" text, other text, t text)',
        "INSERT INTO b VALUES (1, 5.00, 'y', '7', 'u')",
    )
    found = compared_alone("a", "b")
    assert found.status == "schema"
    assert found.schema is not None
    assert (found.schema.added, found.schema.removed) == (("new one text",), ("gone text",))
    assert "`same` changed its type from integer to numeric" in found.schema.changed
    assert found.notes == (
        "`other` is not compared: its type changed from integer to text, which PostgreSQL does not "
        "compare with each other",
    )


def test_a_key_whose_types_cannot_be_compared(pipeline_database: sa.Engine) -> None:
    execute(
        pipeline_database,
        "CREATE TABLE a (k integer PRIMARY KEY)",
        "CREATE TABLE b (k text PRIMARY KEY)",
    )
    found = compared_alone("a", "b")
    assert found.status == "not compared"
    assert "its rows cannot be paired: of the key column `k`" in found.notes[0]
    assert Difference("x", "y", (found,)).exit_status == 2


def test_too_many_rows_without_a_key(pipeline_database: sa.Engine) -> None:
    execute(
        pipeline_database,
        "CREATE TABLE a AS SELECT g FROM generate_series(1, 30) g",
        "CREATE TABLE b AS SELECT g FROM generate_series(1, 31) g",
    )
    assert compared_alone("a", "b").status == "changed"
    found = compared_alone("a", "b", most_rows_without_key=50)
    assert found.status == "not compared"
    assert "61 rows are too many" in found.notes[0]
    assert "table_properties(primary_key=...)" in found.notes[0]


def test_ignored_columns_and_tolerance(pipeline_database: sa.Engine) -> None:
    make = (
        "CREATE TABLE {} AS SELECT g AS k, g * {} AS f, {}::text AS made "
        "FROM generate_series(1, 9) g"
    )
    execute(
        pipeline_database,
        make.format("a", "1.0::float8", "'one'"),
        make.format("b", "1.000001::float8", "'two'"),
    )
    assert compared_alone("a", "b", ["k"], ignore=("made",)).status == "changed"
    assert compared_alone("a", "b", ["k"], tolerance=1e-3).status == "changed"
    both = {"ignore": ("s/t.made",), "tolerance": 1e-3}
    assert compared_alone("a", "b", ["k"], **both).status == "equal"
    with pytest.raises(ConfigurationError, match="A tolerance of -1 is impossible"):
        compared_alone("a", "b", ["k"], tolerance=-1)


def test_columns_that_the_same_code_makes_anew(pipeline_database: sa.Engine) -> None:
    execute(
        pipeline_database,
        "CREATE TABLE a AS SELECT g AS k, 1 AS v, 'run 1' AS made FROM generate_series(1, 3) g",
        "CREATE TABLE b AS SELECT g AS k, 1 AS v, 'run 2' AS made FROM generate_series(1, 3) g",
    )
    [column] = compared_alone("a", "b", ["k"]).columns
    assert not column.made_anew
    found = compared_alone("a", "b", ["k"], code="1")
    assert [column.name for column in found.columns if column.made_anew] == ["made"]
    assert any("--ignore s/t.made" in line for line in terminal.details(found))


def test_sums_that_floats_cannot_hold(pipeline_database: sa.Engine) -> None:
    execute(
        pipeline_database,
        "CREATE TABLE a AS SELECT g AS k, 1.5e308::float8 AS f FROM generate_series(1, 3) g",
        "CREATE TABLE b AS SELECT g AS k, -1.5e308::float8 AS f FROM generate_series(1, 3) g",
    )
    assert compared_alone("a", "b", ["k"]).columns[0].changed == 3


def test_keys_of_two_types_and_of_records(pipeline_database: sa.Engine) -> None:
    execute(
        pipeline_database,
        "CREATE TABLE a (k bigint PRIMARY KEY)",
        "CREATE TABLE b (k double precision PRIMARY KEY)",
        "INSERT INTO a VALUES (9007199254740992), (9007199254740993), (5)",
        "INSERT INTO b VALUES (9007199254740992), (5)",
        "CREATE TYPE couple AS (number integer, word text)",
        "CREATE TABLE c (k couple PRIMARY KEY, v integer)",
        "CREATE TABLE d (k couple PRIMARY KEY, v integer)",
        "INSERT INTO c VALUES (ROW(NULL, NULL), 1), (ROW(1, NULL), 1)",
        "INSERT INTO d VALUES (ROW(NULL, NULL), 2), (ROW(1, NULL), 1)",
    )
    for names, expected in (("ab", (0, 1, 0)), ("cd", (0, 0, 1))):
        rows = compared_alone(*names).rows
        assert rows is not None
        assert (rows.added, rows.removed, rows.changed) == expected


def test_types_of_which_some_only_hash_and_some_only_sort(pipeline_database: sa.Engine) -> None:
    made = "CREATE TABLE {} AS SELECT '{}'::xid AS x, 'a b'::tsvector AS t"
    execute(pipeline_database, made.format("a", 1), made.format("b", 2))
    rows = compared_alone("a", "b").rows
    assert rows is not None
    assert (rows.added, rows.removed) == (1, 1)


def test_a_table_of_very_many_columns(pipeline_database: sa.Engine) -> None:
    columns = ", ".join(f"c{n} integer" for n in range(900))
    execute(
        pipeline_database,
        f"CREATE TABLE a (k integer PRIMARY KEY, {columns})",
        "CREATE TABLE b (LIKE a INCLUDING ALL)",
        "INSERT INTO a (k, c1) SELECT g, g FROM generate_series(1, 20) g",
        "INSERT INTO b (k, c1) SELECT g, g % 9 FROM generate_series(1, 21) g",
        "CREATE VIEW c AS SELECT * FROM a",
        "CREATE VIEW d AS SELECT * FROM b",
    )
    by_key, as_multiset = (compared_alone(*names, rows=1) for names in ("ab", "cd"))
    assert by_key.rows is not None
    assert (by_key.rows.changed, by_key.rows.added) == (12, 1)
    assert by_key.examples[0].values == {"c1": ("10", "1")}
    assert as_multiset.rows is not None
    assert (as_multiset.rows.added, as_multiset.rows.removed) == (13, 12)


def test_numbers_that_floats_cannot_hold(pipeline_database: sa.Engine) -> None:
    values = ("1e400", "-1e400", "NaN", "Infinity", "1e-400", "0", "2.5")
    rows = ", ".join(f"({n}, '{value}'::numeric)" for n, value in enumerate(values))
    execute(pipeline_database, f"CREATE TABLE a AS SELECT * FROM (VALUES {rows}) t(n, v)")
    with database(load_configuration().instance("full")).begin() as connection:
        [_, column] = read_columns(connection, RelationName("public", "a"))
        query = f"SELECT {column.as_float('a.v')} FROM a ORDER BY n"
        assert [value for (value,) in run(connection, query)] == [None] * 4 + [0, 0, 2.5]


def wide(columns: int) -> TableDifference:
    from data_pipeline.difference.result import ColumnDifference, ColumnFigures, RowDifference

    figures = ColumnFigures(0.5, 1.0, float("nan"))
    found = tuple(ColumnDifference(f"c|{n}", 5, figures, figures) for n in range(columns))
    rows = RowDifference(("k",), 10, 10, 0, 0, 5)
    notes = tuple(f"note {n}" for n in range(30))
    return TableDifference("s/t", "changed", 10, 10, rows=rows, columns=found, notes=notes)


def test_markdown_is_short(pipeline_database: sa.Engine) -> None:
    lines = list(terminal.markdown(Difference("a", "b", (wide(40),))))
    assert len(lines) <= terminal.MOST_LINES + 2
    assert "| c&#124;0 |" not in lines  # the notes come first, and are many
    short = list(terminal.markdown(Difference("a", "b", (wide(1),))))
    assert len(short) <= terminal.MOST_LINES + 2


def test_json_has_no_number_that_is_none(pipeline_database: sa.Engine) -> None:
    import json

    content = Difference("a", "b", (wide(1),)).as_json()
    assert json.loads(json.dumps(content, allow_nan=False))["tables"][0]["table"] == "s/t"
