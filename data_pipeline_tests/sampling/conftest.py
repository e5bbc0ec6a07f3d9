"""The database of a test, as an engine."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa


@pytest.fixture
def engine(database_url: sa.URL) -> Iterator[sa.Engine]:
    """An engine of a database that this test alone uses; few statements are worth no pool."""
    engine = sa.create_engine(database_url)
    yield engine
    engine.dispose()
