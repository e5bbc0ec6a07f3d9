"""Pinned rows: always in the sample, with all that they refer to."""

from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.sampling.schemas import Schema, schema, to

ROOTS = {"days": {"rate": 0.01}}


@pytest.fixture
def source(engine: sa.Engine) -> Schema:
    return schema(
        engine,
        [
            "CREATE TABLE places AS SELECT 'p' || g AS name FROM generate_series(1, 100) g",
            "CREATE TABLE days AS SELECT date '2020-01-01' + g AS day, g % 3 AS shift, "
            "'p' || 1 + g % 100 AS place FROM generate_series(1, 500) g",
            "CREATE TABLE notes AS SELECT g AS text FROM generate_series(1, 3) g",
        ],
        places={"primary_key": "name"},
        days={"primary_key": ["day", "shift"], "foreign_keys": [to("place", "places", "name")]},
        notes={},
    )


def test_a_pinned_row_comes_with_what_it_refers_to(source: Schema) -> None:
    pins = {"days": [{"day": "2020-06-01", "shift": 2}]}
    sample = source.sample(roots=ROOTS, pins=pins, small_table_rows=0, whole=["notes"], cover=False)
    [pinned] = [row for row in sample.tables["days"] if row.role == "pinned"]
    assert (str(pinned.values["day"]), pinned.values["shift"]) == ("2020-06-01", 2)
    assert pinned.probability is None
    assert (pinned.values["place"],) in sample.keys("places")


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
        [row] = source.sample(**options).tables["t"]
        assert row.role == "pinned"
        return
    message = "no row with this key" if found is False else "values of the columns' types: `k`"
    with pytest.raises(ConfigurationError, match=message):
        source.sample(**options)


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        ({"days": [{"day": "2020-06-01", "shift": 1}]}, "the source has no row with this key"),
        ({"days": [{"day": "2020-06-01"}]}, "the primary key, which are `day`, `shift`"),
        ({"days": [{"date": "2020-06-01", "shift": 2}]}, "which are `day`, `shift`"),
        ({"days": [{"day": "June", "shift": 2}]}, "`day` DATE, `shift` INTEGER"),
        ({"inputs/dais": [{"day": "2020-06-01"}]}, "no table `dais`. Did you mean `days`"),
        ({"notes": [{"text": 1}]}, "`inputs/notes` cannot be pinned: its raw table has no primary"),
    ],
)
def test_pins_that_cannot_be_are_refused(
    source: Schema, pins: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        source.sample(roots=ROOTS, pins=pins)
