"""Fan-outs: for each relationship a parent with no, one and the most children is in the sample."""

from collections import Counter

import pytest
import sqlalchemy as sa

from data_pipeline_tests.sampling.schemas import Schema, schema, to


@pytest.fixture
def source(engine: sa.Engine) -> Schema:
    """All 1000 parents have 5 children, but for three: 1 has none, 2 has one, 3 has twenty."""
    return schema(
        engine,
        [
            "CREATE TABLE parents AS SELECT g AS id FROM generate_series(1, 1000) g",
            "CREATE TABLE others AS SELECT g AS id FROM generate_series(1, 500) g",
            "CREATE TABLE children AS SELECT row_number() OVER ()::int AS id, p AS parent, "
            "1 + (p + n) % 500 AS other FROM generate_series(1, 1000) p, generate_series(1, 20) n "
            "WHERE n <= CASE p WHEN 1 THEN 0 WHEN 2 THEN 1 WHEN 3 THEN 20 ELSE 5 END",
        ],
        parents={"primary_key": "id"},
        others={"primary_key": "id"},
        children={
            "primary_key": "id",
            "foreign_keys": [to("parent", "parents", "id"), to("other", "others", "id")],
        },
    )


@pytest.mark.parametrize("root", ["parents", "others", "children"])
def test_each_has_a_witness_with_its_children(source: Schema, root: str) -> None:
    sample = source.sample(roots={root: {"rows": 5}}, cover={"columns": "off"}, small_table_rows=0)
    children = Counter(sample.values("children", "parent"))
    assert {(1,), (2,), (3,)} <= sample.keys("parents")
    assert (children[1], children[2], children[3]) == (0, 1, 20)
    assert sample.violations() == []


@pytest.mark.parametrize("covered", ["off", {"parents": ["id"]}], ids=["nothing", "a column"])
def test_they_can_be_left_out(source: Schema, covered: object) -> None:
    # Hubs count the children all the same.
    cover = {"columns": covered, "fan_outs": False}
    sample = source.sample(roots={"parents": {"rows": 5}}, cover=cover)
    assert not {(2,), (3,)} <= sample.keys("parents")


def test_too_many_children_are_not_brought(engine: sa.Engine) -> None:
    source = schema(
        engine,
        [
            "CREATE TABLE parents AS SELECT g AS id FROM generate_series(1, 10) g",
            "CREATE TABLE children AS SELECT g AS id, 1 + g % 10 AS parent "
            "FROM generate_series(1, 5000) g",
        ],
        parents={"primary_key": "id"},
        children={"primary_key": "id", "foreign_keys": [to("parent", "parents", "id")]},
    )
    sample = source.sample(roots={"children": {"rate": 0.01}})
    assert len(sample.keys("children")) < 100
