"""A table that goes to a real server and comes back."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import adbc_driver_postgresql.dbapi
import pyarrow as pa
import pytest
import sqlalchemy as sa

from data_pipeline.transfer.copy_in import LoadResult, load
from data_pipeline.transfer.copy_out import read
from data_pipeline.transfer.frames import from_reader, to_reader
from data_pipeline_tests.plain_roles import drop_database


class Transfer:
    """Writes and reads the table `public.t` over one ADBC connection."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def write(self, frame: Any, **options: Any) -> LoadResult:
        return load(self.connection, "public", "t", to_reader(frame), **options)

    def read(self, kind: type = pa.Table) -> Any:
        return from_reader(read(self.connection, "public", "t"), kind)

    def round_trip(self, frame: Any, kind: type = pa.Table, **options: Any) -> Any:
        self.write(frame, **options)
        return self.read(kind)

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def types(self) -> dict[str, str]:
        rows = self.execute(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'public.t'::regclass AND attnum > 0 ORDER BY attnum"
        )
        return dict(rows)

    def exists(self) -> bool:
        return self.execute("SELECT to_regclass('public.t') IS NOT NULL") == [(True,)]

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Takes back what happens inside, so that the next example starts from nothing."""
        try:
            yield
        finally:
            self.connection.rollback()


@pytest.fixture(scope="package")
def transfer_dsn(server_url: sa.URL, superuser_url: sa.URL) -> Iterator[str]:
    """One database for all tests here: none of them commits."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    url = server_url.set(database=name, drivername="postgresql")
    yield url.render_as_string(hide_password=False)
    drop_database(superuser_url, name)


@pytest.fixture
def transfer(transfer_dsn: str) -> Iterator[Transfer]:
    with adbc_driver_postgresql.dbapi.connect(transfer_dsn) as connection:
        yield Transfer(connection)
