"""Parquet, CSV, SQLite and DuckDB files are sources like databases."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from data_pipeline import ForeignKey, file_tables, instance_resources
from data_pipeline.errors import ConfigurationError, DataPipelineError
from data_pipeline.memo.deciding.source_fingerprints import (
    fingerprint_function,
)
from data_pipeline.sources.declared_sources import refreshing
from data_pipeline.store.table_properties import declared_properties
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.sources.shops import read


def load(assets: list[dg.AssetsDefinition]) -> None:
    assert dg.materialize(
        assets, partition_key="full", resources=instance_resources("full")
    ).success


def properties(assets: list[dg.AssetsDefinition]) -> dict[str, Any]:
    specs = [spec for asset in assets for spec in asset.specs]
    return {spec.key.path[-1]: declared_properties(spec.metadata) for spec in specs}


def fingerprints(assets: list[dg.AssetsDefinition]) -> dict[str, Any]:
    found = {}
    for spec in (spec for asset in assets for spec in asset.specs):
        function = fingerprint_function(spec.metadata)
        assert function is not None
        found[spec.key.path[-1]] = function(None)  # type: ignore[arg-type]
    return found


def of_folder(folder: Path, **options: Any) -> list[dg.AssetsDefinition]:
    catalog = folder.parent / "raw.source.json"
    with refreshing():
        return file_tables(folder, catalog=catalog, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    (made / "events" / "year=2024").mkdir(parents=True)
    (made / "events" / "year=2025").mkdir()
    pq.write_table(
        pa.table({"id": [1, 2], "list": [[1], None]}), made / "events/year=2024/a.parquet"
    )
    more = pa.table({"id": [3], "list": [[2, 3]], "new": ["x"]})
    pq.write_table(more, made / "events/year=2025/b.parquet")
    (made / "people.csv").write_text(
        "id,zip,name,born,seen,rate,ok,none,big\n"
        '1,01234,"",2000-02-29,2024-01-01 10:00:00,1,true,,1\n'
        "2,99999,NA,,2024-01-01T11:00:00,2.5,false,,123456789012345678901\n"
    )
    (made / ".hidden.csv").write_text("a\n1\n")
    (made / "notes.txt").write_text("no table")
    return made


def test_parquet_and_csv_files_of_a_folder(configured: sa.Engine, folder: Path) -> None:
    said = {"people": {"primary_key": "id", "types": {"big": "numeric(30,0)"}}}
    assets = of_folder(folder, properties=said)
    found = properties(assets)
    assert found["people"].types == {
        "id": "bigint", "zip": "text", "name": "text", "born": "date",
        "seen": "timestamp without time zone", "rate": "double precision", "ok": "boolean",
        "none": "text", "big": "numeric(30,0)",
    }  # fmt: skip
    assert found["events"].types == {
        "id": "bigint", "list": "bigint[]", "new": "text", "year": "integer",
    }  # fmt: skip
    load(assets)
    people = rows(
        configured, "SELECT id, zip, name, born::text, rate, big::text FROM full_raw.people"
    )
    assert people == [
        (1, "01234", "", "2000-02-29", 1.0, "1"),
        (2, "99999", "NA", None, 2.5, "123456789012345678901"),
    ]
    assert rows(configured, "SELECT id, list, new, year FROM full_raw.events ORDER BY id") == [
        (1, [1], None, 2024), (2, None, None, 2024), (3, [2, 3], "x", 2025),
    ]  # fmt: skip


def test_files_are_told_by_size_and_time_or_by_content(configured: sa.Engine, folder: Path) -> None:
    assets = of_folder(folder)
    by_content = of_folder(folder, by_content=True)
    first, content = fingerprints(assets), fingerprints(by_content)
    os.utime(folder / "people.csv", (1, 1))
    second = fingerprints(assets)
    assert first["people"] != second["people"]
    assert first["events"] == second["events"]
    assert fingerprints(by_content) == content
    with (folder / "people.csv").open("a") as file:
        file.write("3,0,x,,,1,true,,1\n")
    assert fingerprints(by_content)["people"] != content["people"]


def test_csv_files_keep_the_types_that_were_stated(configured: sa.Engine, folder: Path) -> None:
    assets = of_folder(folder, tables="people")
    file = folder / "people.csv"
    text = file.read_text()
    file.write_text(text.replace("2,99999", "two,99999"))
    with pytest.raises(Exception, match=r"people\.csv does not have the types") as refused:
        load(assets)
    assert "source refresh" in str(refused.getrepr())
    file.write_text(text.replace("id,zip", "number,zip"))
    with pytest.raises(Exception, match="column `id` is gone"):
        load(assets)
    file.unlink()
    with pytest.raises(Exception, match="no such csv any more"):
        load(assets)


def test_a_folder_or_file_that_is_not_there(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        of_folder(tmp_path / "no")
    for scheme in ("sqlite", "duckdb"):
        with pytest.raises(ConfigurationError, match="there is no file"):
            read(f"{scheme}:///{tmp_path}/no", tmp_path / scheme)
    (folder / "people.parquet").write_text("x")
    with pytest.raises(DataPipelineError, match="several files for the table `people`"):
        of_folder(folder)


def test_a_sqlite_file(configured: sa.Engine, tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    with sqlite3.connect(file) as connection:
        connection.executescript("""
            CREATE TABLE "Every Type" (id INTEGER PRIMARY KEY, name VARCHAR(9) NOT NULL, x REAL,
                b BLOB, at DATETIME, day DATE, price DECIMAL(10,2), ok BOOLEAN, any_thing);
            CREATE TABLE "lines" (a INT, b INT, ref INT REFERENCES "every type",
                PRIMARY KEY (a, b));
            CREATE VIEW v AS SELECT id FROM "Every Type";
        """)
        many = [(number, f"n{number}") for number in range(3, 2000)]
        connection.executemany('INSERT INTO "Every Type" (id, name) VALUES (?, ?)', many)
        row = (2000, "", 0.1 + 0.2, b"\x00\x01", "2024-02-29 10:00:00", "2024-02-29", 0.99, 1, "x")
        connection.execute('INSERT INTO "Every Type" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)', row)
        connection.execute('INSERT INTO "lines" VALUES (1, 2, 2000)')
    assets = read(f"sqlite:///{file}", tmp_path)
    found = properties(assets)
    assert found["Every_Type"].types == {
        "id": "bigint", "name": "text", "x": "double precision", "b": "bytea",
        "at": "timestamp without time zone", "day": "date", "price": "numeric", "ok": "boolean",
        "any_thing": "text",
    }  # fmt: skip
    assert found["lines"].primary_key == ("a", "b")
    assert found["lines"].foreign_keys == (ForeignKey("ref", "Every_Type", "id"),)
    load(assets)
    query = """SELECT name, x, b, at::text, day::text, price::text, ok, any_thing
        FROM full_raw."Every_Type" WHERE id > 1998 ORDER BY id"""
    first, last = rows(configured, query)
    assert first == ("n1999", *[None] * 7)
    assert (last[0], last[1], bytes(last[2]), *last[3:]) == (
        "", 0.1 + 0.2, b"\x00\x01", "2024-02-29 10:00:00", "2024-02-29", "0.99", True, "x",
    )  # fmt: skip
    before = fingerprints(assets)
    assert before == fingerprints(assets)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE \"Every Type\" SET x = 'no number' WHERE id = 3")
    assert before != fingerprints(assets)
    with pytest.raises(Exception, match="column `x` of `Every Type` has a value that is no double"):
        load(assets)


def test_a_duckdb_file(configured: sa.Engine, tmp_path: Path) -> None:
    file = tmp_path / "shop.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("""
            CREATE TYPE mood AS ENUM ('sad', 'ok');
            CREATE TABLE people (id INTEGER PRIMARY KEY, mood mood, price DECIMAL(10,2),
                l INTEGER[], s STRUCT(a INTEGER), u UUID, h HUGEINT, ub UBIGINT, seen TIMESTAMPTZ,
                span INTERVAL, doc JSON, bl BLOB, bits BIT, zoned TIMETZ);
            CREATE TABLE "Order Lines" (id BIGINT PRIMARY KEY, who INTEGER REFERENCES people (id),
                name VARCHAR NOT NULL);
            COMMENT ON TABLE people IS 'who buys';
            INSERT INTO people VALUES (1, 'ok', 1.5, [1, 2], {'a': 1},
                'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 170141183460469231731687303715884105727,
                18446744073709551615, '2024-02-29 10:00:00+00', INTERVAL 1 MONTH, '{"b": 1}',
                'ab', '101', '10:00:00+02');
            INSERT INTO people (id) VALUES (2);
            INSERT INTO "Order Lines" VALUES (1, 1, 'x');
        """)
    assets = read(f"duckdb:///{file}", tmp_path)
    found = properties(assets)
    assert found["people"].primary_key == ("id",)
    assert found["Order_Lines"].foreign_keys == (ForeignKey("who", "people", "id"),)
    assert found["Order_Lines"].nullable == {"id": False, "name": False}
    load(assets)
    query = "SELECT mood, price, l, s, u, h, ub, seen, span, doc, bits, zoned"
    texts = ", ".join(f"{name}::text" for name in query.removeprefix("SELECT ").split(", "))
    assert rows(configured, f"SET timezone = 'UTC'; SELECT {texts} FROM full_raw.people") == [
        (
            "ok", "1.50", "{1,2}", '{"a": 1}', "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "170141183460469231731687303715884105727", "18446744073709551615",
            "2024-02-29 10:00:00+00", "1 mon", '{"b": 1}', "101", "10:00:00+02",
        ),
        (None,) * 12,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,id,name\n1,2,a\n", "its header has the column 'id' twice"),
        (b"id,name", "of no rows, its header is needed, with a line break"),
        (b"", "of no rows, its header is needed"),
        ("id,name\n1,ü\n".encode("latin-1"), "it is not in UTF-8"),
        (b"id,name\n1," + b"x" * 2_500_000 + b"\n", "a row takes more than 1 MB"),
        (b"id,name\n1\n", "Expected 2 columns, got 1"),
        (b'id,name\n1,"a\n2,b\n3,c\n', "'name' begins with 'a' and takes in 2 lines behind it"),
        (b'id,name\n1,"a ""b""\r\n2,\xc3\xbc', "a quote is not closed"),
    ],
)
def test_the_csv_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "data" / "people").mkdir(parents=True)
    (tmp_path / "data" / "people" / "a.csv").write_text("id,name\n1,a\n")
    bad = tmp_path / "data" / "people" / "b.csv"
    bad.write_bytes(content)
    with pytest.raises(DataPipelineError, match=f"{bad} cannot be read: .*{message}"):
        of_folder(tmp_path / "data")


def test_values_of_several_lines_may_end_a_file(tmp_path: Path) -> None:
    (tmp_path / "data" / "people").mkdir(parents=True)
    lines = ('1,"a\nb"', '1,"a\n""b"""\n', "1,\"a\n2,'b'\"\r\n", '"1\n2",2', '"a\n2",2\n\n')
    for number, line in enumerate(lines):
        (tmp_path / "data" / "people" / f"{number}.csv").write_text(f"id,name\n{line}")
    of_folder(tmp_path / "data")


def test_tables_that_cannot_be_described_are_no_hindrance_to_others(
    configured: sa.Engine, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "people.csv").write_text("id,name\n1,a\n")
    (tmp_path / "data" / "broken.csv").write_text("")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("""
            CREATE TABLE people (id INTEGER);
            CREATE TABLE broken (u UNION(n INTEGER, v VARCHAR))
        """)
    alone = r"To load other tables alone, name these: tables=\[...\]"
    with pytest.raises(DataPipelineError, match=alone):
        of_folder(tmp_path / "data")
    assert list(properties(of_folder(tmp_path / "data", tables=["people"]))) == ["people"]
    with pytest.raises(DataPipelineError, match=rf"table `broken`: Column `u`: .*{alone}"):
        read(f"duckdb:///{tmp_path}/shop.duckdb", tmp_path / "data")
    load(read(f"duckdb:///{tmp_path}/shop.duckdb", tmp_path / "data", tables=["people"]))


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (
            "CREATE TABLE t (a TEXT); INSERT INTO t VALUES (x'ff')",
            "column `a` of `t` has a value that is no string: .* Correct it there",
        ),
        (
            "CREATE TABLE t (a INT, b INT, PRIMARY KEY (a, b)); INSERT INTO t VALUES (1, NULL)",
            "NULL is not allowed in this column.* declare another primary key.* `properties` of",
        ),
        (
            "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('a' || char(0) || 'b')",
            r"NUL character.* types=\{'a': ...\} in `Table\(...\)`, of a source in `properties` of",
        ),
    ],
)
def test_values_of_sqlite_that_do_not_fit_are_named_with_a_remedy(
    configured: sa.Engine, tmp_path: Path, statements: str, message: str
) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.executescript(statements)
    with pytest.raises(Exception, match=message):
        load(read(f"sqlite:///{tmp_path}/shop.db", tmp_path))
