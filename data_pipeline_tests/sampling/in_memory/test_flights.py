"""In memory and in the database the same rows are chosen of tables like those of flights."""

from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline_tests.sampling.in_memory.compared import chosen_in_database, chosen_in_memory
from data_pipeline_tests.sampling.schemas import Schema, schema, to

PINS = {
    "planes": [{"tailnum": f"N{number}"} for number in (77, 1234, 2100, 3333, 3500)],
    "flights": [{"at": 1, "flight": 7}],
}


def flights(engine: sa.Engine) -> Schema:
    """Large tables that are only referred to, composite keys, NULL and dangling references."""
    return schema(
        engine,
        [
            "CREATE TABLE airlines AS SELECT 'C' || g AS carrier FROM generate_series(1, 16) g",
            "CREATE TABLE airports AS SELECT 'A' || g AS faa, g % 7 AS zone "
            "FROM generate_series(1, 300) g",
            "CREATE TABLE planes AS SELECT 'N' || g AS tailnum, 1950 + g % 70 AS year, "
            "nullif(g % 500, 3) AS seats, 'type ' || g / 3990 AS type, g / 7.0::float8 AS weight "
            "FROM generate_series(1, 4000) g",
            "CREATE TABLE weather AS SELECT g AS at, 'A' || o AS origin, "
            "g % 40 / 8.0::real AS wind FROM generate_series(1, 1500) g, generate_series(1, 3) o",
            "CREATE TABLE gates AS SELECT 1 AS gate",
            # All that one flight refers to is there.
            "CREATE TABLE flights AS SELECT g / 4 AS at, g AS flight, abs(g - 5999) + 1 AS gate, "
            "'C' || 1 + g % 16 AS carrier, 'A' || 1 + g % 3 AS origin, 'A' || 1 + g % 310 AS dest, "
            "CASE WHEN g % 30 = 0 THEN NULL ELSE 'N' || (g::bigint * g) % 4400 END AS tailnum "
            "FROM generate_series(1, 7000) g",
        ],
        airlines={"primary_key": "carrier"},
        airports={"primary_key": "faa"},
        planes={"primary_key": "tailnum"},
        weather={
            "primary_key": ["at", "origin"],
            "foreign_keys": [to("origin", "airports", "faa")],
        },
        gates={"primary_key": "gate"},
        flights={
            "primary_key": ["at", "flight"],
            "foreign_keys": [
                to("gate", "gates", "gate"),
                to("carrier", "airlines", "carrier"),
                to("origin", "airports", "faa"),
                to("dest", "airports", "faa"),
                to("tailnum", "planes", "tailnum"),
                to("at origin", "weather", "at origin"),
            ],
        },
    )


@pytest.mark.parametrize(
    "specification",
    [
        {"roots": {"flights": {"rate": 0.05}}, "pins": PINS},
        {"roots": {"flights": {"rows": 40}}, "pins": PINS, "small_table_rows": 0},
        {"roots": {"airports": {"rows": 30}}, "small_table_rows": 20},
        {"roots": {"planes": {"rate": 0.02}, "airports": {"rate": 0.2}}, "small_table_rows": 0},
        {"roots": {"flights": {}}, "size": "minimal", "pins": PINS},
    ],
    ids=lambda specification: "-".join(specification["roots"]),
)
def test_the_same_rows_are_chosen(engine: sa.Engine, specification: dict[str, Any]) -> None:
    source = flights(engine)
    in_memory = chosen_in_memory(source, **specification)
    assert in_memory == chosen_in_database(source, **specification)


def test_a_pinned_parent_does_not_stand_for_parents_with_their_child(engine: sa.Engine) -> None:
    source = schema(
        engine,
        [
            "CREATE TABLE a AS SELECT g AS id FROM generate_series(1, 300) g",
            "CREATE TABLE b AS SELECT g AS id, g AS a FROM generate_series(1, 200) g",
        ],
        a={"primary_key": "id"},
        b={"primary_key": "id", "foreign_keys": [to("a", "a", "id")]},
    )
    options: dict[str, Any] = {"roots": {"a": {"rate": 0.0001}}, "pins": {"a": [{"id": 5}]}}
    assert chosen_in_memory(source, **options) == chosen_in_database(source, **options)
