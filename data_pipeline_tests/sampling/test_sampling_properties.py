"""What holds for samples of all schemas: references, nesting and coverage."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipeline_tests.sampling.made_schemas import RATES, all_rows, build, made_schemas
from data_pipeline_tests.sampling.schemas import Sample

# One database serves all examples of a test: each makes its schema anew.
on_one_database = settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SALTS = st.integers(-5, 5)
HUBS = st.sampled_from(["auto", "off", 3])


@on_one_database
@given(made_schemas(), RATES, SALTS, HUBS)
def test_every_reference_that_holds_in_the_source_holds_in_the_sample(
    engine: sa.Engine, made: dict[str, Any], rate: float, salt: int, hubs: object
) -> None:
    source = build(engine, made)
    sample = source.sample(
        roots={"t0": {"rate": rate}},
        salt=salt,
        hubs=hubs,
        small_table_rows=5,
        whole=source.unreached("t0"),
    )
    assert sample.violations() == []


@on_one_database
@given(made_schemas(), RATES, RATES, SALTS, HUBS)
def test_samples_of_the_same_salt_are_nested(
    engine: sa.Engine, made: dict[str, Any], one: float, other: float, salt: int, hubs: object
) -> None:
    source = build(engine, made)
    low, high = sorted([one, other])
    drawn: dict[str, Any] = {"hubs": hubs, "small_table_rows": 5, "whole": source.unreached("t0")}
    small = source.sample(roots={"t0": {"rate": low}}, salt=salt, **drawn)
    large = source.sample(roots={"t0": {"rate": high}}, salt=salt, **drawn)
    least = source.sample(roots={"t0": {}}, size="minimal", salt=salt)
    assert small.is_within(large)
    assert least.is_within(small)


@on_one_database
@given(made_schemas(), RATES, SALTS, HUBS)
def test_every_value_and_fan_out_has_a_witness(
    engine: sa.Engine, made: dict[str, Any], rate: float, salt: int, hubs: object
) -> None:
    source = build(engine, made)
    sample = source.sample(
        roots={"t0": {"rate": rate}},
        salt=salt,
        hubs=hubs,
        small_table_rows=5,
        whole=source.unreached("t0"),
    )
    assert list(uncovered(engine, sample)) == []


@on_one_database
@given(made_schemas(), SALTS)
def test_a_minimal_sample_has_a_row_of_each_table_and_a_pair_for_each_relationship(
    engine: sa.Engine, made: dict[str, Any], salt: int
) -> None:
    source = build(engine, made)
    least = source.sample(roots={"t0": {}}, size="minimal", salt=salt)
    assert least.violations() == []
    for table, rows in least.tables.items():
        assert bool(rows) == bool(all_rows(engine, table)), table
    for item in source.graph.relationships:
        [own], [other] = item.columns, item.referenced_columns
        in_source = {row[other] for row in all_rows(engine, item.parent)}
        holds = any(row[own] in in_source for row in all_rows(engine, item.child))
        in_sample = set(least.values(item.parent, other))
        assert holds == any(value in in_sample for value in least.values(item.child, own)), item


def uncovered(engine: sa.Engine, sample: Sample) -> Iterator[str]:
    """Names what the source shows and the sample does not."""
    source = {name: all_rows(engine, name) for name in sample.tables}
    for table, rows in source.items():
        for column in rows[0] if rows else ():
            there = [row[column] for row in rows]
            shown = set(sample.values(table, column))
            values = {value for value in there if value is not None}
            wanted = values if len(values) <= 100 else {min(values), max(values)}
            if None in there:
                wanted = wanted | {None}
            yield from (f"{table}.{column}: {value!r}" for value in wanted - shown)
    for item in sample.schema.graph.relationships:
        [own], [other] = item.columns, item.referenced_columns
        children = Counter(row[own] for row in source[item.child])
        chosen = Counter(sample.values(item.child, own))
        fan_outs = {row[other]: children[row[other]] for row in source[item.parent]}
        parents = set(sample.values(item.parent, other))
        for wanted in {0, 1, max(fan_outs.values(), default=0)} & set(fan_outs.values()):
            found = [key for key in parents if fan_outs[key] == wanted]
            if not found:
                yield f"{item}: no parent with {wanted} children"
            elif wanted == 1 and all(chosen[key] != 1 for key in found):
                yield f"{item}: no parent with one child and that child"
