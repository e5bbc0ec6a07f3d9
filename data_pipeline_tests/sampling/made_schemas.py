"""Random schemas: tables with keys and relationships of every shape, filled by a seed."""

import random
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st

from data_pipeline.database.identifiers import quoted
from data_pipeline_tests.sampling.schemas import Schema, schema, to

RATES = st.sampled_from([0.01, 0.1, 0.3, 0.7, 1.0])
"""Rates of roots."""


@st.composite
def made_schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Draws the description of a schema; `build` makes it."""
    count = draw(st.integers(1, 4))
    ends = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    return {
        "rows": draw(st.lists(st.sampled_from([0, 1, 7, 60]), min_size=count, max_size=count)),
        "references": draw(st.lists(ends, max_size=5)),
        "keyless": draw(st.booleans()),
        "seed": draw(st.integers(0, 1000)),
    }


def build(engine: sa.Engine, made: dict[str, Any]) -> Schema:
    """Makes the tables `t0`, `t1`, ... of a description."""
    chance = random.Random(made["seed"])
    statements, declared = [], {}
    for number, rows in enumerate(made["rows"]):
        own = [(i, p) for i, (c, p) in enumerate(made["references"]) if c == number]
        columns = ["id int", "word text", "amount float8", *(f"r{i} int" for i, _ in own)]
        statements.append(f"CREATE TABLE t{number} ({', '.join(columns)})")
        referred = {p for c, p in made["references"]}
        key: dict[str, Any] = {"primary_key": "id"}
        if made["keyless"] and number not in {0, *referred}:
            key = {}
        if rows:
            values = ", ".join(
                _row(chance, row, [made["rows"][parent] for _, parent in own])
                for row in range(rows)
            )
            statements.append(f"INSERT INTO t{number} VALUES {values}")
        declared[f"t{number}"] = {
            **key,
            "foreign_keys": [to(f"r{i}", f"t{parent}", "id") for i, parent in own],
        }
    return schema(engine, statements, **declared)


def _row(chance: random.Random, row: int, parents: list[int]) -> str:
    word = chance.choice(["'a'", "'b'", "''", "NULL", "'c'"])
    amount = chance.choice(["NULL", "1.5", str(chance.random())])
    # Some references are NULL, some dangle, and low keys have most of the children.
    references = [
        chance.choice(["NULL", "9999", *(str(int(n * chance.random() ** 3)) for _ in range(4))])
        for n in parents
    ]
    return f"({', '.join([str(row), word, amount, *references])})"


def all_rows(engine: sa.Engine, table: str) -> list[dict[str, Any]]:
    """Gives the rows of a source table."""
    with engine.connect() as connection:
        found = connection.execute(sa.text(f"SELECT * FROM raw.{quoted(table)}"))
        return [dict(row) for row in found.mappings()]
