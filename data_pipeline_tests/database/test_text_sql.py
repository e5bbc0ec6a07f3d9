"""Text SQL: placeholders for tables, and everything else taken literally."""

import datetime as dt
import math
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.results.sql_query import compiled, sql_file, sql_query
from data_pipeline_tests.io_manager.runs import from_inputs, metadata, rows, run, table_asset

TABLE = sa.Table("Up%per", sa.MetaData(), schema="full_s")
ODD = sa.Table('we"ird {x} :y', sa.MetaData(), schema="full_s")

# Each text is one SELECT of one value, with the value that it gives.
LITERALLY = {
    "a time": ("SELECT '12:30' AS v", "12:30"),
    "a colon before a word": ("SELECT 'a :b c:d' AS v", "a :b c:d"),
    "casts": ("SELECT ':a'::text::varchar AS v", ":a"),
    "a slice of an array": ("SELECT ((ARRAY['p','q'])[2:2::int])[1] AS v", "q"),
    "a backslash before a colon": (r"SELECT '\: \:x' AS v", r"\: \:x"),
    "percent signs": ("SELECT '50 %' || to_char(7 % 4, 'FM9') || '%s%%' AS v", "50 %3%s%%"),
    "JSON": ("""SELECT '{"a": {"b": 1}}'::jsonb #>> '{a,b}' AS v""", "1"),
    "an array literal that looks like a placeholder": ("SELECT ('{red}'::text[])[1] AS v", "red"),
    "a dollar-quoted text": ("SELECT $q$it's {red} -- ;$q$ AS v", "it's {red} -- ;"),
    "an escape text": (r"SELECT E'a\'{red};' AS v", "a'{red};"),
    "a quoted name": ('SELECT "{v}" AS v FROM (SELECT \'x\'::text AS "{v}") AS q', "x"),
    "comments": ("SELECT /* {red} /* nested */ ; */ 'x' AS v -- it's {red}\n", "x"),
    "a semicolon at the end": ("SELECT 'x' AS v ; \n", "x"),
    "several semicolons": ("SELECT 'x' AS v;;", "x"),
    "a comment at the end": ("SELECT 'x' AS v -- done", "x"),
    "a semicolon before a comment": ("SELECT 'x' AS v; -- done; {red}", "x"),
    "a semicolon before a block comment": ("SELECT 'x' AS v; /* done */\n", "x"),
    "a semicolon in a text at the end": ("SELECT ';' AS v", ";"),
    "a CTE": ("WITH q AS (SELECT 'x'::text AS v) SELECT * FROM q", "x"),
    "a list of values": ("VALUES ('x')", "x"),
}


def test_whatever_is_no_placeholder_is_taken_literally(pipeline_database: sa.Engine) -> None:
    assets = [
        table_asset(f"t{number}", lambda text=text: sql_query(text))
        for number, (text, _) in enumerate(LITERALLY.values())
    ]
    run(*assets)
    for number, (label, (_, value)) in enumerate(LITERALLY.items()):
        assert rows(pipeline_database, f"SELECT * FROM full_s.t{number}") == [(value,)], label


@pytest.mark.parametrize("table", [TABLE, ODD])
def test_a_placeholder_becomes_the_quoted_name_of_its_table(table: sa.Table) -> None:
    quoted = table.name.replace('"', '""')
    query = sql_query("SELECT * FROM {source} AS a JOIN {source} AS b USING (x)", source=table)
    text = compiled(query)
    assert text == f'SELECT * FROM "full_s"."{quoted}" AS a JOIN "full_s"."{quoted}" AS b USING (x)'


def test_a_query_from_a_file_beside_the_module(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    file = tmp_path / "doubled.sql"
    file.write_text("-- Twice.\nSELECT \"A b\" * 2 AS a -- ä\nFROM {source}\nWHERE '%' <> '';\n")

    def read(source: sa.Table) -> Any:
        return sql_file(file, source=source)

    source = table_asset("Source", lambda: pd.DataFrame({"A b": [1, 2]}))
    doubled = from_inputs("doubled", read, source="Source")
    result = run(source, doubled)
    assert rows(pipeline_database, "SELECT a FROM full_s.doubled ORDER BY a") == [(2,), (4,)]
    assert "-- ä" in metadata(result, "doubled")["sql"]


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("SELECT * FROM {a}", {}, "no table given for `a`; given are none"),
        ("SELECT * FROM {a}", {"a": TABLE, "b": TABLE}, "`b` given but not used"),
        ("SELECT * FROM {a}", {"a": "full_s.a"}, "'full_s.a' is not a table but str"),
    ],
)
def test_a_placeholder_that_does_not_fit_is_named(
    text: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match="SQL query") as caught:
        sql_query(text, **given)
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"SQL file `.*none\.sql` cannot be read: No such"):
        sql_file(tmp_path / "none.sql")


@pytest.mark.parametrize("text", ["SELECT :month", "SELECT ' :month'"])
def test_a_bind_parameter_without_a_value_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match="the bind parameter `month` has no value"):
        compiled(sa.select(sa.text(text).columns(sa.column("a")).subquery()))


def test_a_bind_parameter_with_a_value_is_written_out() -> None:
    assert compiled(sa.text("SELECT :name").bindparams(name="it's \\ %")) == "SELECT 'it''s \\ %'"


OF_TYPES = [
    (dt.date(1, 1, 1), "date"),
    (dt.datetime(9999, 12, 31, 23, 59, 59, 999999), "timestamp without time zone"),
    (dt.datetime(2013, 1, 1, tzinfo=dt.UTC), "timestamp with time zone"),
    (dt.time(23, 59), "time without time zone"),
    (dt.timedelta(days=1, microseconds=1), "interval"),
    (b"\0'\\", "bytea"),
    (uuid.UUID(int=7), "uuid"),
    (math.inf, "double precision"),
    (Decimal("1.50"), "numeric"),
    (True, "boolean"),
    ("it's", "text"),
]


def test_a_value_in_a_query_keeps_its_type(pipeline_database: sa.Engine) -> None:
    def queried(value: Any) -> Any:
        return lambda: sa.select(sa.literal(value).label("v"))

    run(*(table_asset(f"t{n}", queried(value)) for n, (value, _) in enumerate(OF_TYPES)))
    for number, (value, kind) in enumerate(OF_TYPES):
        query = f"SELECT v, pg_typeof(v)::text FROM full_s.t{number}"
        [(found, name)] = rows(pipeline_database, query)
        assert name == kind
        assert (bytes(found) if isinstance(found, memoryview) else found) == value, kind


@pytest.mark.parametrize("length", [57, 58, 63])
def test_columns_of_subqueries_keep_their_names(database_url: sa.URL, length: int) -> None:
    long = "c" * length
    table = sa.table("t", sa.column(long), sa.column("d"))
    inner = sa.select(table).subquery("inner_rows")
    other = sa.select(table).subquery("other_rows")
    query = sa.select(inner.c[long], other.c[long]).join(other, inner.c.d == other.c.d)
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE t ({long} int, d int)")
        found = [*connection.exec_driver_sql(compiled(query)).keys()]
        alone = [*connection.exec_driver_sql(compiled(sa.select(inner))).keys()]
    engine.dispose()
    assert alone == [long, "d"]
    assert found[0] == long
    assert len({*found}) == 2
