"""In memory and in the database the same rows are chosen of schemas of every shape."""

from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.sampling.in_memory.compared import chosen_in_database, chosen_in_memory
from data_pipeline_tests.sampling.test_shapes_of_schemas import (
    SHAPES,
    Made,
    keyed_by,
    polymorphic,
)

# Conditions in SQL, and values of numeric without precision, are left to PostgreSQL.
ALIKE = [
    *((made, roots) for made, roots in SHAPES if made.__name__ not in ("polymorphic", "numeric")),
    (keyed_by("numeric(12, 3)", "g / 8.0"), ["a"]),
]


@pytest.mark.parametrize(
    ("made", "roots"), ALIKE, ids=[f"{made.__name__}-{'-'.join(roots)}" for made, roots in ALIKE]
)
def test_the_same_rows_are_chosen(engine: sa.Engine, made: Made, roots: list[str]) -> None:
    source = made(engine)
    specifications: list[dict[str, Any]] = [
        {"roots": {name: {"rate": 0.2} for name in roots}, "cover": {"category_limit": 9}},
        {"roots": {name: {"rate": 0.3} for name in roots}, "hubs": 4, "cover": "off"},
        {"roots": {name: {"rows": 25} for name in roots}, "cover": "off"},
        {"roots": {name: {} for name in roots}, "size": "minimal"},
    ]
    for specification in specifications:
        options = {"small_table_rows": 0, "salt": 5, **specification}
        assert chosen_in_memory(source, **options) == chosen_in_database(source, **options)


def test_conditions_are_left_to_the_database(engine: sa.Engine) -> None:
    source = polymorphic(engine)
    with pytest.raises(ConfigurationError, match="condition in SQL, which cannot be evaluated"):
        chosen_in_memory(source, roots={"posts": {"rate": 0.2}})


def test_predicates_are_left_to_the_database(engine: sa.Engine) -> None:
    cover = {"predicates": {"a": {"odd": "k = 'x'"}}}
    source = keyed_by("text", "'x' || g")(engine)
    with pytest.raises(ConfigurationError, match="predicate `odd` of `inputs/a` is SQL"):
        chosen_in_memory(source, roots={"a": {"rate": 0.2}}, cover=cover)
