"""A database that does not exist yet is created where the configuration says so."""

import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import Database
from data_pipeline.errors import DatabaseError
from data_pipeline_tests.plain_roles import drop_database


@pytest.fixture
def missing(server_url: sa.URL, superuser_url: sa.URL) -> Iterator[sa.URL]:
    """The URL of a database with a name to quote that does not exist."""
    name = f'new "{uuid.uuid4().hex[:8]}"'
    yield server_url.set(database=name)
    drop_database(superuser_url, name)


def test_it_is_created_when_it_is_first_used(missing: sa.URL) -> None:
    for _ in range(2):
        with Database(missing, create=True).begin() as connection:
            assert connection.scalar(sa.text("SELECT current_database()")) == missing.database


def test_otherwise_it_is_an_error_that_names_it(missing: sa.URL) -> None:
    with pytest.raises(DatabaseError, match="does not exist") as error, Database(missing).begin():
        pass
    assert f"database `{missing.database}`" in str(error.value)


def test_a_server_that_does_not_answer_is_an_error_of_its_own(missing: sa.URL) -> None:
    nowhere = missing.set(host="127.0.0.1", port=1)
    with (
        pytest.raises(DatabaseError, match=r"Cannot connect to PostgreSQL at 127\.0\.0\.1:1"),
        Database(nowhere, create=True).begin(),
    ):
        pass
