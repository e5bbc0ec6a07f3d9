"""Makes the storages of `DagsterInstance.ephemeral` cheap, of which tests use thousands.

Each takes 3 ms of a processor instead of 16. Dagster has no public form of it.
"""

from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from dagster._core.storage.event_log import in_memory as event_logs
from dagster._core.storage.runs import in_memory as run_storages


class _MadeOnce:
    """Tables as Dagster has made and stamped them for the first storage, as statements."""

    def __init__(self, create_all: Any, stamp: Any) -> None:
        self._create_all = create_all
        self._stamp = stamp
        self._statements = ""

    def create_all(self, connection: sa.Connection) -> None:
        if self._statements:
            _driver(connection).executescript(self._statements)
        else:
            self._create_all(connection)

    def stamp(self, config: Any, connection: sa.Connection) -> None:
        if not self._statements:
            self._stamp(config, connection)
            self._statements = "\n".join(_driver(connection).iterdump())


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection


def make_cheap(patch: pytest.MonkeyPatch) -> None:
    """Make them cheap until a patch is undone."""
    _make_tables_once(patch, event_logs, "SqlEventLogStorageMetadata")
    _make_tables_once(patch, run_storages, "RunStorageSqlMetadata")


def _make_tables_once(patch: pytest.MonkeyPatch, module: ModuleType, metadata: str) -> None:
    made = _MadeOnce(getattr(module, metadata).create_all, module.stamp_alembic_rev)
    patch.setattr(module, metadata, made)
    patch.setattr(module, "stamp_alembic_rev", made.stamp)
