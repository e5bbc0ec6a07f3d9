"""Tables of PostgreSQL arrive with their keys and types, and with exactly their values."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import copy_filtered_inputs, instance_resources
from data_pipeline.errors import ConfigurationError
from data_pipeline.sources.source_catalog import read_catalog_file
from data_pipeline.store.table_properties import ForeignKey, declared_properties
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.sources.shops import known, read, text

EVERYTHING = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE DOMAIN cents AS numeric(12,2)",
    "CREATE DOMAIN percent AS cents",
    """CREATE TABLE "Every Type" (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(40) NOT NULL,
        "select" char(5), mood mood, moods mood[], price cents, percents percent[], pair pair,
        doc jsonb, raw json, tags text[], at timestamptz(3), day date, clock time(3), zoned timetz,
        span interval, any_number numeric, huge numeric(60,10), wide numeric(80,2), money money,
        bytes bytea, code uuid, address inet, range int4range, matrix int[][], class regclass,
        reals real[], bits bit(3), yes boolean, tiny smallint, single real, double float8, key oid,
        upper text GENERATED ALWAYS AS (upper(name)) STORED)""",
    """INSERT INTO "Every Type" (name, "select", mood, moods, price, percents, pair, doc, raw, tags,
        at, day, clock, zoned, span, any_number, huge, wide, money, bytes, code, address, range,
        matrix, class, reals, bits, yes, tiny, single, double, key)
    SELECT 'n' || i, 'ab', 'sad', '{ok,sad}', i, array[1.25]::percent[], row(1,'z')::pair,
        '{"a": 1}', '{"a":  1}', array['x,y', '"q"', NULL], '2024-02-29 10:11:12.345+02',
        '2024-02-29', '10:11:12.345', '10:00+02', '1 mon 2 days 3 s', i + 0.123456789012345678901,
        12345678901234567890.5, 1e70, 12.5, '\\x0102', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
        '10.0.0.1/8', '[1,5)', '{{1,2},{3,4}}', 'pg_class', '{0.1,1e10}', B'101', true, 7, 0.1,
        1e300, 12 FROM generate_series(1, 3) i""",
    """INSERT INTO "Every Type" (name) VALUES ('all else is NULL')""",
)
TYPES = {
    "id": "bigint", "name": "character varying(40)", "select": "character(5)", "mood": "text",
    "moods": "text[]", "price": "numeric(12,2)", "percents": "numeric(12,2)[]", "pair": "text",
    "doc": "jsonb", "raw": "json", "tags": "text[]", "at": "timestamp(3) with time zone",
    "day": "date", "clock": "time(3) without time zone", "zoned": "time with time zone",
    "span": "interval", "any_number": "numeric", "huge": "numeric(60,10)",
    "wide": "numeric(80,2)", "money": "numeric", "bytes": "bytea", "code": "uuid",
    "address": "inet", "range": "int4range", "matrix": "integer[]", "class": "text",
    "reals": "real[]", "bits": "bit(3)", "yes": "boolean", "tiny": "smallint", "single": "real",
    "double": "double precision", "key": "oid", "upper": "text",
}  # fmt: skip


def metadata(assets: list[dg.AssetsDefinition], name: str) -> Any:
    [spec] = [s for asset in assets for s in asset.specs if s.key == dg.AssetKey(["raw", name])]
    return spec


def load(assets: list[dg.AssetsDefinition]) -> dg.ExecuteInProcessResult:
    return dg.materialize(assets, partition_key="full", resources=instance_resources("full"))


def values(engine: sa.Engine, relation: str) -> list[tuple[Any, ...]]:
    columns = ", ".join(
        f'CAST("{name}"{"::numeric" if name == "money" else ""} AS text)' for name in TYPES
    )
    return rows(engine, f"SELECT {columns} FROM {relation} ORDER BY id")


def assert_all_arrived(configured: sa.Engine, source: sa.Engine) -> None:
    found = values(configured, 'full_raw."Every_Type"')
    assert found == values(source, '"Every Type"')
    types = rows(
        configured,
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'full_raw.\"Every_Type\"'::regclass AND attnum > 0",
    )
    assert dict(types) == TYPES


def test_every_type_arrives_with_exactly_its_values(
    configured: sa.Engine, source: sa.Engine, tmp_path: Path
) -> None:
    execute(source, *EVERYTHING)
    assets = read(text(source), tmp_path)
    assert declared_properties(metadata(assets, "Every_Type").metadata).types == TYPES
    load(assets)
    assert_all_arrived(configured, source)


def test_in_the_same_database_rows_do_not_leave_it(configured: sa.Engine, tmp_path: Path) -> None:
    execute(configured, "CREATE SCHEMA shop; SET search_path = shop", *EVERYTHING)
    result = load(read(text(configured), tmp_path, schema="shop"))
    assert values(configured, 'full_raw."Every_Type"') == values(configured, 'shop."Every Type"')
    [event] = result.get_asset_materialization_events()
    assert 'FROM "shop"."Every Type"' in event.materialization.metadata["sql"].value
    with configured.begin() as connection:  # nothing of the stage stands on types of the source
        connection.exec_driver_sql("DROP SCHEMA shop CASCADE")
    assert len(values(configured, 'full_raw."Every_Type"')) == 4


def test_keys_nullability_and_comments_are_those_of_the_source(
    configured: sa.Engine, source: sa.Engine, tmp_path: Path
) -> None:
    execute(
        source,
        "CREATE TABLE towns (code text PRIMARY KEY, number int UNIQUE)",
        'CREATE TABLE "Parts" (b int, a int, parent_a int, parent_b int, town int REFERENCES towns '
        '(number), PRIMARY KEY (a, b), FOREIGN KEY (parent_a, parent_b) REFERENCES "Parts")',
        "CREATE SCHEMA other",
        "CREATE TABLE other.far (id int PRIMARY KEY)",
        "CREATE TABLE plain (far int REFERENCES other.far, town text NOT NULL REFERENCES towns)",
        "COMMENT ON TABLE towns IS 'Where ''they'' live'",
        "COMMENT ON COLUMN towns.number IS 'by the state'",
        "INSERT INTO towns VALUES ('a', 1)",
    )
    assets = read(text(source), tmp_path)
    parts = declared_properties(metadata(assets, "Parts").metadata)
    assert parts.primary_key == ("a", "b")
    assert set(parts.foreign_keys) == {
        ForeignKey("town", "towns", "number"),
        ForeignKey(["parent_a", "parent_b"], "Parts", ["a", "b"]),
    }
    plain = declared_properties(metadata(assets, "plain").metadata)
    assert plain.primary_key == ()
    assert plain.foreign_keys == (ForeignKey("town", "towns", "code"),)
    assert plain.nullable == {"town": False}
    assert metadata(assets, "towns").description == "Where 'they' live"
    event = load(assets).asset_materializations_for_node("raw__towns")[0]
    columns = event.metadata["dagster/column_schema"].value.columns
    assert [column.description for column in columns] == [None, "by the state"]
    some = known(text(source), tmp_path, tables=["Parts"])
    assert len(declared_properties(metadata(some, "Parts").metadata).foreign_keys) == 1


@pytest.mark.parametrize("place", ["elsewhere", "in the same database"])
def test_what_the_source_says_of_columns_is_said_of_raw_tables_and_copies(
    configured: sa.Engine, source: sa.Engine, tmp_path: Path, place: str
) -> None:
    engine = source if place == "elsewhere" else configured
    execute(
        engine,
        "CREATE SCHEMA shop",
        'CREATE TABLE shop.orders (id int PRIMARY KEY, "Net ""price""" numeric)',
        'COMMENT ON COLUMN shop.orders."Net ""price""" IS \'In EUR, it\'\'s 50 % off\'',
        "INSERT INTO shop.orders SELECT i, i FROM generate_series(1, 100) i",
    )
    assets = read(text(engine), tmp_path, schema="shop")
    assets.append(copy_filtered_inputs(stage="inputs", raw=assets))
    said = [None, "In EUR, it's 50 % off"]
    for name, stages in (("full", ["raw", "inputs"]), ("midi", ["inputs"])):
        resources = instance_resources(name)
        result = dg.materialize(
            assets, selection=dg.AssetSelection.groups(*stages), partition_key=name,
            resources=resources,
        )  # fmt: skip
        for stage in stages:
            [event] = [
                e for e in result.get_asset_materialization_events() if e.asset_key.path[0] == stage
            ]
            shown = event.materialization.metadata["dagster/column_schema"].value.columns
            assert [column.description for column in shown] == said
            relation = f"'{name}_{stage}.orders'::regclass"
            comments = f"SELECT col_description({relation}, n) FROM (VALUES (1), (2)) AS v (n)"
            assert [comment for (comment,) in rows(configured, comments)] == said


def test_in_memory_frames_have_the_types_of_stored_tables(
    configured: sa.Engine, source: sa.Engine, tmp_path: Path
) -> None:
    execute(
        source,
        "CREATE TABLE t (id int, n numeric, d numeric(8,2), l int[])",
        "INSERT INTO t VALUES (1, 1.5, 2.25, '{1,2}'), (NULL, NULL, NULL, NULL)",
    )
    raw = read(text(source), tmp_path)

    @dg.asset(key=["clean", "t"], ins={"t": dg.AssetIn(["raw", "t"])}, partitions_def=_partitions())
    def clean(t: pd.DataFrame) -> pd.DataFrame:
        return t

    stored = dg.materialize([*raw, clean], partition_key="full", resources=instance_resources())
    assert stored.success
    resources = instance_resources("full", io_manager=False)
    found = dg.materialize_to_memory([*raw, clean], partition_key="full", resources=resources)
    frame = found.output_for_node("clean__t")
    assert [str(kind) for kind in frame.dtypes] == _dtypes_from_database("full_raw", "t")
    assert frame["l"][0] == [1, 2]


def _partitions() -> Any:
    from data_pipeline import INSTANCE_PARTITIONS

    return INSTANCE_PARTITIONS


def _dtypes_from_database(_schema: str, name: str) -> list[str]:
    import logging

    from data_pipeline import load_configuration
    from data_pipeline.database.identifiers import StageTable
    from data_pipeline.store.reading import fetch

    instance = load_configuration().instance("full")
    frame, _ = fetch(instance, StageTable("raw", name), pd.DataFrame, logging.getLogger())
    return [str(kind) for kind in frame.dtypes]


UNCOUNTED = (
    "CREATE TABLE plain (id int PRIMARY KEY)",
    "CREATE VIEW seen AS SELECT id, now() AS at, now() AS updated_at FROM plain",
    "CREATE MATERIALIZED VIEW kept AS SELECT id FROM plain",
    "CREATE TABLE parent (id int, at date) PARTITION BY RANGE (at)",
    "CREATE TABLE of_2024 PARTITION OF parent FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
    "CREATE TABLE above (id int)",
    "CREATE TABLE below () INHERITS (above)",
)


def test_tables_without_counters_are_refused(source: sa.Engine, tmp_path: Path) -> None:
    execute(source, *UNCOUNTED)
    names = {key.path[-1] for asset in read(text(source), tmp_path) for key in asset.keys}
    assert names == {"above", "below", "parent", "plain"}
    with pytest.raises(ConfigurationError, match=r"every_run=\['seen'\]"):
        known(text(source), tmp_path, tables=["plain", "seen"])
    with pytest.raises(ConfigurationError, match=r"updated_at=\{'seen': 'updated_at'\}"):
        known(text(source), tmp_path, tables=["seen", "kept"])
    assert known(text(source), tmp_path, tables=["seen", "kept"], updated_at="updated_at")


def test_slips_are_named(source: sa.Engine, tmp_path: Path) -> None:
    execute(source, *UNCOUNTED[:2], 'CREATE TABLE "a/b" ()', 'CREATE TABLE "Straße é" ()')
    url = text(source)
    keys = [key.path[-1] for asset in read(url, tmp_path) for key in asset.keys]
    assert keys == ["Strasse_e", "a_b", "plain"]
    for options, told in (
        ({"tables": ["plane"]}, "tables names `plane`, .*Did you mean 'plain'"),
        ({"tables": "plain", "every_run": ["x"]}, "every_run names `x`"),
        ({"tables": "plain", "updated_at": {"plain": "x"}}, "names `x`, which is no column of `pl"),
        ({"tables": "plain", "properties": {"x": {}}}, "properties names `x`"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            known(url, tmp_path, **options)
    assert "a/b" in read_catalog_file(tmp_path / "raw.source.json").tables


def test_infinite_times_travel_as_text(
    configured: sa.Engine, source: sa.Engine, tmp_path: Path
) -> None:
    execute(source, "CREATE TABLE t (at timestamptz)", "INSERT INTO t VALUES ('infinity')")
    with pytest.raises(Exception, match="column `at` of `t` has a value that does not pass"):
        load(read(text(source), tmp_path))
    types = {"t": {"types": {"at": "timestamp with time zone"}}}
    load(known(text(source), tmp_path, properties=types))
    assert rows(configured, "SELECT at::text FROM full_raw.t") == [("infinity",)]
