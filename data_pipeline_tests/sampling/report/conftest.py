"""A database that the tests of reports share, since none of them leaves anything in it."""

import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from data_pipeline_tests.plain_roles import drop_database


@pytest.fixture(scope="session")
def engine(server_url: sa.URL, superuser_url: sa.URL) -> Iterator[sa.Engine]:
    """An engine of a database of its own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    engine = sa.create_engine(server_url.set(database=name))
    yield engine
    engine.dispose()
    drop_database(superuser_url, name)
