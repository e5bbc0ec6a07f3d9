"""Makes the storages of `DagsterInstance.ephemeral` cheap, of which tests use thousands.

Each takes 3 ms of a processor instead of 16, and an event a fifth of the time. Dagster has no
public form of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.storage.event_log import in_memory as event_logs
from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs import in_memory as run_storages
from sqlalchemy.dialects.sqlite import insert


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
    _keep_connections(patch)
    _store_events_at_once(patch)


def _make_tables_once(patch: pytest.MonkeyPatch, module: ModuleType, metadata: str) -> None:
    made = _MadeOnce(getattr(module, metadata).create_all, module.stamp_alembic_rev)
    patch.setattr(module, metadata, made)
    patch.setattr(module, "stamp_alembic_rev", made.stamp)


def _keep_connections(patch: pytest.MonkeyPatch) -> None:
    """Let a storage use its connections again: it opens two for an event."""
    for module in (event_logs, run_storages):
        patch.setattr(module, "create_engine", _engine)
    patch.setattr(event_logs.InMemoryEventLogStorage, "_connect", _locked_transaction)
    patch.setattr(run_storages.InMemoryRunStorage, "connect", _transaction)


def _engine(url: str, **_: Any) -> sa.Engine:
    return sa.create_engine(url, poolclass=sa.QueuePool, connect_args={"check_same_thread": False})


@contextmanager
def _transaction(storage: Any) -> Iterator[sa.Connection]:
    with storage._engine.begin() as connection:
        yield connection


@contextmanager
def _locked_transaction(storage: Any) -> Iterator[sa.Connection]:
    with storage._db_lock, _transaction(storage) as connection:
        yield connection


def _store_events_at_once(patch: pytest.MonkeyPatch) -> None:
    """Store an event in one transaction, without looking for tables that are always there."""
    storage = event_logs.InMemoryEventLogStorage
    patch.setattr(storage, "has_table", lambda *_: True)
    patch.setattr(storage, "_has_asset_key_col_on_connection", lambda *_: True)
    patch.setattr(storage, "_store_asset_event", _store_asset)
    stored = SqlEventLogStorage.store_event

    def store(self: SqlEventLogStorage, event: dg.EventLogEntry) -> None:
        (_store_event if isinstance(self, storage) else stored)(self, event)

    patch.setattr(SqlEventLogStorage, "store_event", store)


_INSERT = SqlEventLogStorageTable.insert()


def _store_event(storage: Any, event: dg.EventLogEntry) -> None:
    with storage.run_connection(event.run_id) as connection:
        inserted = connection.execute(_INSERT, storage._event_to_row(event))
        [number] = inserted.inserted_primary_key
        if event.dagster_event_type in ASSET_EVENTS and event.get_dagster_event().asset_key:
            storage._store_asset_event_tags(connection, [event], [number])
            storage._store_asset_event(connection, event, number)
    if event.dagster_event_type in ASSET_CHECK_EVENTS:
        storage.store_asset_check_event(event, number)


def _store_asset(
    storage: Any, connection: sa.Connection, event: dg.EventLogEntry, number: int
) -> None:
    values = storage._get_asset_entry_values(event, number, True)
    if values:
        statement = insert(AssetKeyTable).on_conflict_do_update(["asset_key"], set_=values)
        key = event.get_dagster_event().asset_key
        connection.execute(statement.values(asset_key=key.to_string(), **values))
