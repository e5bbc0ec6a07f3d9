"""Databases in which something has run, made once for all tests that begin there."""

import shutil
import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import sqlalchemy as sa

from data_pipeline_tests.plain_roles import drop_database, maintenance

BeginWith: TypeAlias = Callable[[Hashable, Callable[[], Any]], Any]
"""Lets the database of a test be as a function leaves it, and gives what that returns.

The function is called once for each key.
"""


@dataclass
class Beginnings:
    """Patterns of databases and homes, each copied for every test that begins with it.

    The statistics of a copy begin anew, as after a crash of the server.

    Attributes:
        url: The maintenance database, for the role of the pipelines.
        superuser_url: The same for the superuser.
        folder: Where the patterns of homes lie.
        cheaply: How databases are made, as an option of the statement.
        made: By what they are for, the name of each pattern and what its function has returned.
    """

    url: sa.URL
    superuser_url: sa.URL
    folder: Path
    cheaply: str
    made: dict[Hashable, tuple[str, Any]] = field(default_factory=dict)

    def copy(self, key: Hashable, build: Callable[[], Any], database: str, home: Path) -> Any:
        """Let an empty database and home be as `build` leaves those that the environment names."""
        if key not in self.made:
            self.made[key] = self._built(build)
        pattern, returned = self.made[key]
        drop_database(self.superuser_url, database)
        self._execute(f"CREATE DATABASE {database} TEMPLATE {pattern} {self.cheaply}")
        if (self.folder / pattern).exists():
            shutil.copytree(self.folder / pattern, home, dirs_exist_ok=True)
        return returned

    def _built(self, build: Callable[[], Any]) -> tuple[str, Any]:
        name = f"begun_{uuid.uuid4().hex[:12]}"
        self._execute(f"CREATE DATABASE {name} {self.cheaply}")
        url = self.url.set(drivername="postgresql", database=name)
        with pytest.MonkeyPatch.context() as patch:
            text = url.render_as_string(hide_password=False)
            patch.setenv("DATA_PIPELINE_DATABASE_URL", text)
            patch.setenv("DATA_PIPELINE_HOME", str(self.folder / name))
            returned = build()
        # The sessions that this process keeps: nobody can copy the database beside them.
        ended = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
        self._execute(f"{ended} WHERE datname = '{name}' AND usename = CURRENT_USER")
        return name, returned

    def drop(self) -> None:
        """Drop the databases."""
        for name, _ in self.made.values():
            drop_database(self.superuser_url, name)

    def _execute(self, *statements: str) -> None:
        with maintenance(self.url).connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
