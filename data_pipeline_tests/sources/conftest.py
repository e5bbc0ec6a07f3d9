"""A source database beside the pipeline's own, with all that a catalog can hold."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml

from data_pipeline_tests.io_manager.runs import execute
from data_pipeline_tests.plain_roles import drop_database


@pytest.fixture
def source(server_url: sa.URL, superuser_url: sa.URL) -> Iterator[sa.Engine]:
    """An empty database that is the source of this test alone."""
    from data_pipeline.database.connection import close_databases

    name = f"source_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    yield sa.create_engine(server_url.set(database=name), poolclass=sa.NullPool)
    close_databases(name)
    drop_database(superuser_url, name)


@pytest.fixture
def shop(source: sa.Engine) -> sa.Engine:
    """The source with customers, their orders and lines of these."""
    execute(
        source,
        "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL)",
        "CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL REFERENCES customers)",
        'CREATE TABLE "Order Lines" ("order" int REFERENCES orders, "no" smallint, '
        'price numeric(8,2), PRIMARY KEY ("order", "no"))',
        "INSERT INTO customers SELECT i, 'n' || i FROM generate_series(1, 100) i",
        "INSERT INTO orders SELECT i, 1 + i % 100 FROM generate_series(1, 1000) i",
        'INSERT INTO "Order Lines" SELECT i, 1, i / 4.0 FROM generate_series(1, 1000) i',
    )
    return source


@pytest.fixture
def configured(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> sa.Engine:
    """Two instances in the database of the test: full, and midi with a tenth of the orders."""
    sample = {"roots": {"orders": {"rate": 0.1}}, "cover": "off"}
    copying = {"copy_filtered_input": True, "copy_source": "full", "sample": sample}
    instances = {"full": {}, "midi": {"attrs": copying}}
    file = tmp_path / "instances.yaml"
    file.write_text(yaml.safe_dump({"instances": instances}))
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return pipeline_database
