"""Roles as hosted databases have them: a plain owner of the database, and others beside it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import execute

PASSWORD = "plain_password"


@cache
def maintenance(url: sa.URL) -> sa.Engine:
    """Return connections to a maintenance database, kept from test to test."""
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)


def drop_database(superuser_url: sa.URL, name: str) -> None:
    """Drop a database, whoever is at work in it: its owner may not end an autovacuum there."""
    admin = maintenance(superuser_url)
    quoted = admin.dialect.identifier_preparer.quote_identifier(name)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")


@dataclass
class PlainRoles:
    """Roles without any attribute but LOGIN, made for one test.

    Attributes:
        admin: Connections of the superuser.
        owner: The role that owns the database; the pipeline connects as it.
    """

    admin: sa.Engine
    owner: str = ""
    _names: list[str] = field(default_factory=list)
    _engines: list[sa.Engine] = field(default_factory=list)

    def new(self, kind: str) -> str:
        """Create a role; return its name."""
        name = f"{kind}_{uuid.uuid4().hex[:8]}"
        execute(self.admin, f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
        self._names.append(name)
        return name

    def url(self, role: str) -> str:
        """Return the URL of the database for a role, as a configuration has it."""
        url = self.admin.url.set(drivername="postgresql", username=role, password=PASSWORD)
        return url.render_as_string(hide_password=False)

    def engine(self, role: str) -> sa.Engine:
        """Return connections as a role."""
        url = self.admin.url.set(username=role, password=PASSWORD)
        name = f"report of {role}"
        options = {"application_name": name}
        self._engines.append(sa.create_engine(url, poolclass=sa.NullPool, connect_args=options))
        return self._engines[-1]

    def drop(self) -> None:
        """Drop the roles, and all that they own."""
        for engine in self._engines:
            engine.dispose()
        database = self.admin.url.database
        execute(self.admin, f'ALTER DATABASE "{database}" OWNER TO CURRENT_USER')
        for name in self._names:
            execute(self.admin, f"DROP OWNED BY {name} CASCADE")
        for name in self._names:
            execute(self.admin, f"DROP ROLE {name}")


@contextmanager
def plain_roles(admin: sa.Engine) -> Iterator[PlainRoles]:
    """Make roles for a database, which the first of them owns, until the block ends."""
    roles = PlainRoles(admin)
    try:
        roles.owner = roles.new("owner")
        execute(admin, f'ALTER DATABASE "{admin.url.database}" OWNER TO {roles.owner}')
        yield roles
    finally:
        roles.drop()
