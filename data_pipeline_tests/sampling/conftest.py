"""The database of a test, as an engine, and one in which `full` of a shop has been run."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from data_pipeline_tests.beginnings import BeginWith
from data_pipeline_tests.sampling.shop import RunFull, Shop, run


@pytest.fixture
def engine(database_url: sa.URL) -> Iterator[sa.Engine]:
    """An engine of a database that this test alone uses; few statements are worth no pool."""
    engine = sa.create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def run_full(begin_with: BeginWith) -> RunFull:
    """Runs all tables of `full` as the first thing, once for all tests with the same rows."""

    def run_full(shop: Shop, config: str, *, weights: bool = False) -> None:
        key = ("full", weights, shop.content())
        begin_with(key, lambda: run(shop.assets(weights=weights), "full", config))

    return run_full
