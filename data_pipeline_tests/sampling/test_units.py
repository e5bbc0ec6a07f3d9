"""All rows of a sampling unit have one probability, else estimates would refuse the sample."""

from collections import defaultdict

import pytest
import sqlalchemy as sa

from data_pipeline_tests.sampling.schemas import Sample, Schema, schema, to


@pytest.fixture
def hubs_of_two(engine: sa.Engine) -> Schema:
    """Customer 1 is a hub of orders, others are hubs of returns; all keys overlap."""
    return schema(
        engine,
        [
            "CREATE TABLE customers AS SELECT g AS id FROM generate_series(1, 1000) g",
            "CREATE TABLE orders AS SELECT g AS id, CASE WHEN g <= 500 THEN 1 "
            "ELSE 1 + g % 1000 END AS customer FROM generate_series(1, 3000) g",
            "CREATE TABLE returns AS SELECT g AS id, 2 + g % 20 AS customer "
            "FROM generate_series(1, 6000) g",
            'CREATE TABLE lines AS SELECT g AS id, g AS "order" FROM generate_series(1, 3000) g',
        ],
        customers={"primary_key": "id"},
        orders={"primary_key": "id", "foreign_keys": [to("customer", "customers", "id")]},
        returns={"primary_key": "id", "foreign_keys": [to("customer", "customers", "id")]},
        lines={"primary_key": "id", "foreign_keys": [to("order", "orders", "id")]},
    )


def of_several_probabilities(sample: Sample) -> dict[str, int]:
    """Counts by table the units with more than one probability."""
    found = {}
    for table, rows in sample.tables.items():
        units: dict[int | None, set[float]] = defaultdict(set)
        for row in rows:
            if row.probability is not None:
                units[row.unit].add(row.probability)
        found[table] = sum(len(probabilities) > 1 for probabilities in units.values())
    return found


@pytest.mark.parametrize("root", [{"rate": 0.1}, {"rows": 120}])
@pytest.mark.parametrize("salt", range(3))
def test_hubs_of_two_relationships_are_other_units_than_what_is_thinned(
    hubs_of_two: Schema, root: dict[str, float], salt: int
) -> None:
    sample = hubs_of_two.sample(roots={"customers": root}, salt=salt, hubs=100)
    assert len(sample.keys("customers", "certain")) > 1
    assert not any(of_several_probabilities(sample).values())


def test_the_children_of_a_certain_root_are_of_its_unit(hubs_of_two: Schema) -> None:
    sample = hubs_of_two.sample(roots={"customers": {"rate": 0.1}}, hubs=100, cover=False)
    units = {row.values["id"]: row.unit for row in sample.tables["customers"]}
    orders = [row for row in sample.tables["orders"] if row.role == "certain"]
    assert orders
    assert all(row.unit == units[row.values["customer"]] for row in orders)
