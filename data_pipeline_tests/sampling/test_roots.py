"""Roots: chosen by the hash of their key, by a rate or by a number of rows."""

import pytest
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.key_hash import permanent_random, sampled_mask
from data_pipeline_tests.sampling.schemas import Schema, schema, to

N = 2_000


@pytest.fixture
def source(engine: sa.Engine) -> Schema:
    return made(engine, N, "id")


def made(engine: sa.Engine, rows: int, order: str) -> Schema:
    return schema(
        engine,
        [
            f"CREATE TABLE a AS SELECT g::bigint AS id FROM generate_series(1, {rows}) g "
            f"ORDER BY {order.replace('id', 'g')}",
            f"CREATE TABLE b AS SELECT g AS id, (1 + (g * 7919) % {rows})::bigint AS a "
            f"FROM generate_series(1, {4 * rows}) g ORDER BY {order.replace('id', 'g')}",
        ],
        a={"primary_key": "id"},
        b={"primary_key": "id", "foreign_keys": [to("a", "a", "id")]},
    )


def arrow_ids() -> list[object]:
    import pyarrow as pa

    return [pa.array(range(1, N + 1), pa.int64())]


def test_a_rate_chooses_the_rows_with_a_low_hash_of_their_key(source: Schema) -> None:
    sample = source.sample(roots={"a": {"rate": 0.1}}, salt=5, hubs="off", cover=False)
    mask = sampled_mask(arrow_ids(), 0.1, salt=5)  # type: ignore[arg-type] # arrays of Arrow
    assert sample.keys("a", "sampled") == {(number + 1,) for number in mask.nonzero()[0]}


def test_a_number_of_rows_takes_the_lowest_hashes(source: Schema) -> None:
    sample = source.sample(roots={"a": {"rows": 137}}, salt=5, hubs="off", cover=False)
    numbers = permanent_random(arrow_ids(), salt=5)  # type: ignore[arg-type] # arrays of Arrow
    first = {(int(number) + 1,) for number in numbers.argsort()[:137]}
    assert sample.keys("a", "sampled") == first
    assert sample.weighted_count("a") == pytest.approx(N)


def test_children_come_with_their_root_and_no_others(source: Schema) -> None:
    for size in ({"rate": 0.1}, {"rows": 150}):
        sample = source.sample(roots={"a": size}, hubs="off", cover=False)
        chosen = {key for (key,) in sample.keys("a", "sampled")}
        children = [row for row in sample.tables["b"] if row.role == "sampled"]
        assert {row.values["a"] for row in children} == chosen
        assert len(children) == 4 * len(chosen)


def test_more_rows_of_a_root_keep_all_earlier_ones(source: Schema) -> None:
    few, many = (source.sample(roots={"a": {"rows": rows}}, hubs="off") for rows in (100, 300))
    assert few.is_within(many)


def test_as_many_rows_as_there_are_is_the_whole_table(source: Schema) -> None:
    sample = source.sample(roots={"a": {"rows": N}})
    assert sample.keys("a", "certain") == source.keys("a")
    assert sample.keys("b", "certain") == source.keys("b")


def test_the_rows_stay_when_the_source_grows_and_is_written_anew(engine: sa.Engine) -> None:
    roots = {"a": {"rate": 0.1}}
    before = made(engine, N, "id").sample(roots=roots)
    after = made(engine, N + N // 100, "hashint8(id)").sample(roots=roots)
    kept = before.keys("a") & after.keys("a")
    assert len(kept) >= 0.985 * len(before.keys("a"))


def test_samples_of_different_salts_are_independent(source: Schema) -> None:
    one, other = (
        source.sample(roots={"a": {"rate": 0.2}}, salt=salt, cover=False).keys("a", "sampled")
        for salt in (1, 2)
    )
    assert len(one & other) < 0.4 * len(one)


def test_fewer_rows_than_hubs_are_refused(engine: sa.Engine) -> None:
    source = schema(
        engine,
        [
            "CREATE TABLE a AS SELECT g AS id FROM generate_series(1, 20) g",
            "CREATE TABLE b AS SELECT g AS id, 1 + g % 10 AS a FROM generate_series(1, 500) g",
        ],
        a={"primary_key": "id"},
        b={"primary_key": "id", "foreign_keys": [to("a", "a", "id")]},
    )
    with pytest.raises(ConfigurationError, match="10 of its rows are hubs"):
        source.sample(roots={"a": {"rows": 5}}, hubs=20)


def test_a_number_of_rows_that_cannot_be_told_apart_is_refused(engine: sa.Engine) -> None:
    source = schema(
        engine, ["CREATE TABLE a AS SELECT g % 10 AS v FROM generate_series(1, 1000) g"], a={}
    )
    message = "50 rows of `inputs/a` cannot be drawn: its raw table has no primary key"
    with pytest.raises(ConfigurationError, match=message) as refused:
        source.sample(roots={"a": {"rows": 50}})
    assert "table_properties(primary_key=...)" in str(refused.value)
    assert "`properties={...: {'primary_key': ...}}` of `database_tables`" in str(refused.value)
    by_rate = source.sample(roots={"a": {"rate": 0.5}}, cover="off")
    assert by_rate.weighted_count("a") == 2 * len(by_rate.tables["a"])
