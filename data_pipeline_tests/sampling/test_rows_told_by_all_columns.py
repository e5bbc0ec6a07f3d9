"""Rows without a primary key are told by the hash of all columns, also of unusual types."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import INT4MULTIRANGE, INT4RANGE

from data_pipeline import table_properties
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sampling.key_hash import key_hash_sql
from data_pipeline_tests.sampling.schemas import Schema, schema, to
from data_pipeline_tests.sampling.shop import configured, rows, run

ODD = (
    "to_jsonb(g) AS j, to_json(g) AS k, g * interval '1 hour' AS i, ARRAY[g, 1] AS a, "
    "'10.0.0.0'::inet + g AS n, g::bit(20) AS b, int4range(g, g + 5) AS r, "
    "int4multirange(int4range(g, g + 1)) AS m, current_time + g * interval '1 s' AS t, "
    "ARRAY[now()] AS aa, '08:00:2b:01:02:03'::macaddr AS h, "
    "'08:00:2b:01:02:03:04:05'::macaddr8 AS h8"
)


def assets(columns: str) -> list[dg.AssetsDefinition]:
    """Gives customers and a table without a key beside them, with weights."""

    @dg.asset(
        key=["raw", "customers"],
        partitions_def=INSTANCE_PARTITIONS,
        metadata=table_properties(primary_key="id"),
    )
    def customers() -> Any:
        return sa.text("SELECT g AS id FROM generate_series(1, 300) g")

    @dg.asset(key=["raw", "things"], partitions_def=INSTANCE_PARTITIONS)
    def things() -> Any:
        return sa.text(f"SELECT {columns} FROM generate_series(1, 50) g")

    raw = [customers, things]
    return [*raw, copy_filtered_inputs(stage="inputs", raw=raw, weights=True)]


@pytest.fixture
def visits(engine: sa.Engine) -> Schema:
    return schema(
        engine,
        [
            "CREATE TABLE customers AS SELECT g AS id FROM generate_series(1, 300) g",
            f"CREATE TABLE visits AS SELECT nullif(g % 300, 0) AS customer, {ODD} "
            "FROM generate_series(1, 900) g",
        ],
        customers={"primary_key": "id"},
        visits={"foreign_keys": [to("customer", "customers", "id")]},
    )


def test_weights_stand_beside_rows_without_a_key(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    config = configured(tmp_path, midi={"roots": {"customers": {"rate": 0.2}}})
    for name in ("full", "midi"):
        run(assets(ODD), name, config)
        weighted = f"SELECT count(*), sum(weight) FROM {name}_sample.inputs__things_weighted"
        assert rows(pipeline_database, weighted) == [(50, 50)]


def test_what_cannot_be_hashed_is_refused_by_table_and_column(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    config = configured(tmp_path, midi={"roots": {"customers": {"rate": 0.2}}})
    with pytest.raises(ConfigurationError) as refused:
        run(assets("to_tsvector(g::text) AS words"), "full", config)
    message = str(refused.value)
    assert message.startswith('Table `inputs/things`: Column "words" of type TSVECTOR')
    assert "The table has no primary key, so its rows are told by all columns" in message


def test_rows_without_a_key_are_sampled_with_their_root(visits: Schema) -> None:
    sample = visits.sample(roots={"customers": {"rate": 0.2}}, small_table_rows=0, hubs="off")
    chosen = sample.keys("customers", "sampled")
    referring = [row for row in sample.tables["visits"] if row.values["customer"] is not None]
    assert {(row.values["customer"],) for row in referring if row.role == "sampled"} == chosen


def test_ranges_and_arrays_may_be_keys_that_others_refer_to(engine: sa.Engine) -> None:
    source = schema(
        engine,
        [
            "CREATE TABLE slots AS SELECT int4range(g, g + 9) AS during, ARRAY[g / 2.0] AS room "
            "FROM generate_series(1, 500) g",
            "CREATE TABLE bookings AS SELECT g AS id, int4range(g, g + 9) AS during, "
            "ARRAY[g / 2.0] AS room FROM generate_series(1, 500) g",
        ],
        slots={"primary_key": ["during", "room"]},
        bookings={
            "primary_key": "id",
            "foreign_keys": [to("during room", "slots", "during room")],
        },
    )
    for root in ("slots", "bookings"):
        sample = source.sample(roots={root: {"rate": 0.2}}, small_table_rows=0, cover="off")
        chosen, referring = (
            {(str(row.values["during"]), str(row.values["room"])) for row in sample.tables[table]}
            for table in ("slots", "bookings")
        )
        assert chosen == referring
        assert 50 < len(chosen) < 150


def test_rows_of_equal_odd_values_differ_by_their_other_columns(engine: sa.Engine) -> None:
    odd = {
        "'{}'": sa.ARRAY(sa.Float),
        "NULL": sa.ARRAY(sa.Float),
        "'empty'": INT4RANGE(),
        "'{[1,2)}'": INT4MULTIRANGE(),
        "'00:00+00'": sa.Time(timezone=True),
    }
    with engine.connect() as connection:
        for value, type_ in odd.items():
            numbers = sa.func.generate_series(1, 100).column_valued("n")
            column = sa.cast(sa.literal_column(value), type_)
            hashed = key_hash_sql([sa.cast(numbers, sa.Integer), column], 7)
            assert len(set(connection.execute(sa.select(hashed)).scalars())) == 100, value


def test_an_interval_may_be_a_key(engine: sa.Engine) -> None:
    source = schema(
        engine,
        ["CREATE TABLE a AS SELECT g * interval '1 hour' AS i FROM generate_series(1, 500) g"],
        a={"primary_key": "i"},
    )
    sample = source.sample(roots={"a": {"rate": 0.2}}, salt=3, cover="off")
    assert 60 < len(sample.tables["a"]) < 140
