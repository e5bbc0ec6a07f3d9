"""Hubs: roots with very many children come for certain, and some of their children with them."""

from collections import Counter

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.sampling.plan.hubs_and_thresholds import design_effect, hub_limit
from data_pipeline_tests.sampling.schemas import Schema, schema, to

HEAVY_TAIL = {int(10_000 / rank**1.2) + 1: 1 for rank in range(1, 500)} | {1: 2_000, 2: 700}


@pytest.fixture
def airports(engine: sa.Engine) -> Schema:
    """One airport has most of the departures, and departures have bags."""
    return schema(
        engine,
        [
            "CREATE TABLE airports AS SELECT g AS id FROM generate_series(1, 500) g",
            "CREATE TABLE departures AS SELECT g AS id, CASE WHEN g % 2 = 0 THEN 3 "
            "ELSE 1 + (g / 2) % 500 END AS airport FROM generate_series(1, 8000) g",
            "CREATE TABLE bags AS SELECT g AS id, 1 + g % 8000 AS departure "
            "FROM generate_series(1, 16000) g",
        ],
        airports={"primary_key": "id"},
        departures={"primary_key": "id", "foreign_keys": [to("airport", "airports", "id")]},
        bags={"primary_key": "id", "foreign_keys": [to("departure", "departures", "id")]},
    )


def test_a_hub_is_certain_and_its_children_are_thinned(airports: Schema) -> None:
    sample = airports.sample(roots={"airports": {"rate": 0.1}}, cover=False)
    assert sample.keys("airports", "certain") == {(3,)}
    of_hub = [row for row in sample.tables["departures"] if row.values["airport"] == 3]
    assert len(of_hub) == pytest.approx(400, rel=0.2)
    assert {row.probability for row in of_hub if row.role == "sampled"} == {0.1}
    assert len({row.unit for row in of_hub}) == len(of_hub)


def test_what_is_below_a_thinned_child_follows_it(airports: Schema) -> None:
    sample = airports.sample(roots={"airports": {"rate": 0.1}}, cover=False)
    departures = {row.values["id"]: row for row in sample.tables["departures"]}
    bags = [row for row in sample.tables["bags"] if row.role == "sampled"]
    assert bags
    for bag in bags:
        assert bag.unit == departures[bag.values["departure"]].unit
        assert bag.probability == departures[bag.values["departure"]].probability
    per_departure = Counter(bag.values["departure"] for bag in bags)
    assert set(per_departure.values()) == {2}


def test_estimates_are_unbiased_over_salts(airports: Schema) -> None:
    counts = [
        airports.sample(
            roots={"airports": {"rate": 0.1}}, salt=salt, cover=False, small_table_rows=0
        ).weighted_count("departures")
        for salt in range(12)
    ]
    assert sum(counts) / len(counts) == pytest.approx(8000, rel=0.1)


@pytest.mark.parametrize(("hubs", "found"), [("off", 0), (10_000, 0), (2, 500)])
def test_the_limit_can_be_set(airports: Schema, hubs: object, found: int) -> None:
    sample = airports.sample(roots={"airports": {"rate": 0.1}}, hubs=hubs, cover=False)
    assert len(sample.keys("airports", "certain")) == found


def test_the_design_effect_of_a_heavy_tail_is_bounded() -> None:
    limit = hub_limit(HEAVY_TAIL)
    assert limit is not None
    assert design_effect(HEAVY_TAIL) > 100
    assert design_effect(HEAVY_TAIL, limit) <= 25


@given(st.integers(1, 10_000), st.integers(1, 1000))
def test_parents_with_equally_many_children_are_no_hubs(children: int, parents: int) -> None:
    assert hub_limit({children: parents}) is None


@given(st.dictionaries(st.integers(0, 5000), st.integers(1, 1000), max_size=30))
def test_the_design_effect_is_as_small_as_the_mean_allows(parents: dict[int, int]) -> None:
    with_children = {n: count for n, count in parents.items() if n}
    mean = (
        sum(n * count for n, count in with_children.items()) / sum(with_children.values())
        if with_children
        else 0
    )
    assert design_effect(parents, hub_limit(parents)) <= max(20, 4 * mean)
