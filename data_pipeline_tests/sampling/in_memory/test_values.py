"""Values of every type are told apart, ordered and written in memory as PostgreSQL does."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.tables.pandas_frames import to_pandas
from data_pipeline_tests.sampling.in_memory.compared import (
    as_frames,
    chosen_in_database,
    chosen_in_memory,
)
from data_pipeline_tests.sampling.schemas import Schema, schema

VALUES = {
    "small smallint": "g - 50",
    "big bigint": "g * 10000000000",
    "word text": "chr(40 + g % 90) || chr(200 + g % 7)",
    "short varchar(9)": "nullif('w' || g % 5, 'w1')",
    "empty text": "NULL",
    "price numeric(12,3)": "g % 8 - 3.125",
    "wide numeric(38,20)": "g / 7.0",
    "half real": "g / 3.0",
    "double float8": "CASE WHEN g % 40 = 7 THEN 'NaN' WHEN g % 40 = 8 THEN '-Infinity' "
    "WHEN g % 40 = 9 THEN '-0' WHEN g % 40 = 10 THEN '0' "
    "ELSE 10.0 ^ (g % 40 - 20) * (g % 40) / 3 END::float8",
    "flag boolean": "nullif(g % 3, 0) = 1",
    "day date": "date '1950-01-01' + g * 400",
    "at_time time": "time '00:00' + g * interval '7 minutes 0.5 seconds'",
    "at timestamp": "timestamp '1999-12-31 23:00' + g * interval '1 hour 0.00025 seconds'",
    "instant timestamptz": "timestamptz '1999-12-31 23:00+00' + g * interval '1 hour'",
    "lasts interval": "g * interval '1 hour 0.5 seconds' - interval '2 days'",
    "id uuid": "md5((g % 60)::text)::uuid",
    "bytes bytea": "decode(lpad(to_hex(g % 50), 4, '0'), 'hex')",
    "document jsonb": "CASE g % 9 WHEN 0 THEN NULL ELSE to_jsonb(g) END",
    "list int[]": "ARRAY[g, 1]",
}


def values(engine: sa.Engine) -> Schema:
    columns = ", ".join(f"{name} " for name in VALUES)
    shown = ", ".join(VALUES.values())
    return schema(
        engine,
        [
            # Intervals of days are no lengths of time in PostgreSQL: those of frames have none.
            f"CREATE TABLE t (number int, {columns})",
            f"INSERT INTO t SELECT g, {shown} FROM generate_series(1, 200) g",
            "UPDATE t SET lasts = make_interval(secs => extract(epoch FROM lasts))",
        ],
        t={"primary_key": "number"},
    )


@pytest.mark.parametrize("limit", [0, 10, 70])
@pytest.mark.parametrize("frame", [pa.table, to_pandas, pl.from_arrow], ids=["arrow", "pd", "pl"])
def test_the_same_witnesses_are_found_for_the_same_reasons(
    engine: sa.Engine, frame: Callable[[pa.Table], Any], limit: int
) -> None:
    source = values(engine)
    options: dict[str, Any] = {"roots": {"t": {"rate": 0.03}}, "cover": {"category_limit": limit}}
    frames = {name: frame(table) for name, table in as_frames(source).items()}
    assert chosen_in_memory(source, frames, **options) == chosen_in_database(source, **options)


@pytest.mark.parametrize("type_", ["inet", "numeric", "timestamp(0)"])
def test_values_that_only_postgresql_understands_are_refused(engine: sa.Engine, type_: str) -> None:
    source = schema(engine, [f"CREATE TABLE t (k text, v {type_})"], t={"primary_key": "k"})
    frames = {"t": pa.table({"k": ["a"], "v": ["1"]})}
    with pytest.raises(ConfigurationError, match=r"`v` of `t` is stored as .* only PostgreSQL"):
        chosen_in_memory(source, frames, roots={"t": {"rate": 0.5}})


@pytest.mark.parametrize(
    ("type_", "pin", "found"),
    [
        ("int", "7", True),
        ("int", "seven", None),
        ("date", "2020-01-02", True),
        ("date", "2020-13-02", None),
        ("numeric(9,2)", 7.5, True),
        ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", True),
        ("text", "ü", True),
        ("text", "u", False),
        ("boolean", True, True),
        ("timestamptz", "2020-01-02 03:04:05+00", True),
        ("float8", 0.1, True),
    ],
)
def test_pins_are_values_of_the_columns_types(
    engine: sa.Engine, type_: str, pin: Any, found: bool | None
) -> None:
    value = "1" if found is None and type_ == "int" else str(pin) if found else "2020-01-02"
    value = "x" if found is False else value
    source = schema(
        engine,
        [f"CREATE TABLE t (k {type_})", f"INSERT INTO t VALUES ('{value}')"],
        t={"primary_key": "k"},
    )
    options: dict[str, Any] = {"roots": {"t": {}}, "size": "minimal", "pins": {"t": [{"k": pin}]}}
    if found:
        assert chosen_in_memory(source, **options) == chosen_in_database(source, **options)
        return
    for choose in (chosen_in_memory, chosen_in_database):
        message = "no row with this key" if found is False else "values of the columns' types: `k`"
        with pytest.raises(ConfigurationError, match=message):
            choose(source, **options)
