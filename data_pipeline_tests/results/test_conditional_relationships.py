"""Only rows that the condition of a relationship is true of refer to something."""

import pytest
import sqlalchemy as sa

from data_pipeline import ForeignKey
from data_pipeline.database.identifiers import RelationName
from data_pipeline.results.data_checks import references, relationship_name

KEY = ForeignKey(["target"], "people", ["id"], where="kind LIKE 'per%'")


@pytest.fixture
def connection(database_url: sa.URL) -> sa.Connection:
    with sa.create_engine(database_url, poolclass=sa.NullPool).connect() as connection:
        run = connection.execution_options(no_parameters=True).exec_driver_sql
        run("CREATE TABLE people AS SELECT 1 AS id")
        run(
            "CREATE TABLE notes AS SELECT * FROM (VALUES ('person', 1), ('person', 2), "
            "('place', 3), (NULL, 4)) AS v (kind, target)"
        )
        yield connection


def test_other_rows_are_no_references(connection: sa.Connection) -> None:
    found = references(
        connection, KEY, RelationName("public", "notes"), RelationName("public", "people")
    )
    assert (found.total, found.dangling, found.examples) == (2, 1, ("2",))


def test_the_name_tells_the_condition() -> None:
    assert relationship_name(KEY) == "target -> people (id) where kind LIKE 'per%'"
