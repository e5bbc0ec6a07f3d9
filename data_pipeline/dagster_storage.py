"""Dagster's own storage on one machine: its SQLite files, with connections that stay open.

`dagster.yaml` names `LocalStorage`. Its files and tables are those of Dagster's default storage, in
the same places below DAGSTER_HOME, so one can follow the other. Dagster opens an engine and a
connection for each event, and looks up the columns of a table anew; here a process keeps a few
connections and remembers what it has found. Each event is still committed by itself before the run
goes on, so the web UI shows it at once and a killed process loses none; as in every database in WAL
mode with `synchronous=NORMAL`, a power failure may take back the last few, and damages nothing.
"""

import atexit
import os
import shutil
import sqlite3
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa
from sqlalchemy.pool import NullPool, StaticPool
from watchdog.events import FileSystemEvent
from watchdog.observers import Observer

from data_pipeline.dagster_internals import (
    INDEX_SHARD_NAME,
    SQLITE_BUSY_TIMEOUT_SECONDS,
    ConfigurableClassData,
    DagsterSqliteStorage,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
    SqliteRunStorage,
    SqliteScheduleStorage,
)

_TEMPORARY = "DATA_PIPELINE_TEMPORARY_STORAGE"
"""The environment variable that tells processes of a run where its storage is."""

_RUNS_KEPT_OPEN = 8
"""Connections to logs of single runs that a process keeps, besides that to the index of all."""


class LocalStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage, whose event log keeps its connections.

    Args:
        base_dir: The directory of the files; DAGSTER_HOME by default, see `storage_home`.
        inst_data: What Dagster read from `dagster.yaml`.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        runs, schedules = Path(base_dir, "history", "runs.db"), Path(base_dir, "schedules")
        if _is_set_up(runs) and _is_set_up(schedules / "schedules.db"):
            self.base_dir = base_dir
            self._inst_data = inst_data
            self._run_storage = SqliteRunStorage(_url(runs))
            self._schedule_storage = SqliteScheduleStorage(_url(schedules / "schedules.db"))
            super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]
        else:
            super().__init__(base_dir, inst_data)
        self._event_log_storage = LocalEventLog(os.path.join(base_dir, "history", "runs", ""))

    @classmethod
    def config_type(cls) -> Any:
        """Return the configuration that `dagster.yaml` may give."""
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "LocalStorage":
        """Make a storage from its configuration."""
        return cls.from_local(config_value.get("base_dir") or storage_home(), inst_data)


def storage_home() -> str:
    """Return DAGSTER_HOME; without it a directory that is gone with the process that first asks.

    `dagster job execute` then keeps all else in such a directory too, but a storage that
    `dagster.yaml` names is not told of it. Processes of the same run find it in their environment.
    """
    if home := os.environ.get("DAGSTER_HOME"):
        return home
    if _TEMPORARY not in os.environ:
        # Not in /tmp, where changes of files may go unnoticed; the name is one that git ignores.
        directory = tempfile.mkdtemp(prefix=".tmp_dagster_home_", dir=Path.cwd())
        os.environ[_TEMPORARY] = directory
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return os.environ[_TEMPORARY]


def _url(path: Path) -> str:
    return f"sqlite:///{path}"


def _is_set_up(path: Path) -> bool:
    """Whether a file has Dagster's tables.

    Dagster looks up the newest revision of them, too, for which it loads all migrations, five times
    a process; it does nothing with that but where there is none in the file.
    """
    if not path.exists():
        return False
    tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('alembic_version', 'instance_info')"
    with closing(sqlite3.connect(path, timeout=SQLITE_BUSY_TIMEOUT_SECONDS)) as connection:
        expected = 2 if path.name == "runs.db" else 1
        if connection.execute(tables).fetchone() != (expected,):
            return False
        return connection.execute("SELECT 1 FROM alembic_version").fetchone() is not None


class LocalEventLog(SqliteEventLogStorage):
    """Dagster's event log in SQLite, one file a run and one for all, by connections that stay."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._batched: set[str] = set()
        self._kept: OrderedDict[str, _KeptConnection] = OrderedDict()
        self._found: set[str] = set()
        super().__init__(base_dir, inst_data)
        self._db_lock = threading.RLock()  # type: ignore[assignment] # a batch connects within it
        # Dagster hands over what belongs together at once where this is set: what a run plans.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events that Dagster hands over at once, by one commit to each file."""
        shards = [*dict.fromkeys(event.run_id for event in events), INDEX_SHARD_NAME]
        with self._db_lock, ExitStack() as transactions:
            for shard in shards:
                transactions.enter_context(self._connect(shard))
            self._batched = set(shards)
            try:
                for event in events:
                    self.store_event(event)
            finally:
                self._batched = set()

    def _initdb(self, engine: sa.Engine, for_index_shard: bool = False) -> None:
        """Set up the log of a run, or the index, unless it is set up."""
        path = Path(str(engine.url.database))
        if not for_index_shard and not path.exists():
            self._copy_empty(path)
        if not _is_set_up(path):
            super()._initdb(engine, for_index_shard)

    def _copy_empty(self, path: Path) -> None:
        """Begin a log with a copy of an empty one, which takes Dagster a tenth of a second."""
        folder = path.parent
        empty = folder.parent / f"empty_run_{dg.__version__}.db"
        own = f".{os.getpid()}_{threading.get_ident()}"
        if not empty.exists():
            made = empty.with_name(f"{empty.name}{own}")
            engine = sa.create_engine(_url(made), poolclass=NullPool)
            super()._initdb(engine)
            engine.dispose()
            made.replace(empty)
        copied = folder / f"{path.name}{own}"
        shutil.copyfile(empty, copied)
        with suppress(FileExistsError):  # another process was faster
            os.link(copied, path)
        copied.unlink()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        with self._db_lock:
            kept = self._connection(shard)
            if shard in self._batched:
                yield kept.connection
                return
            try:
                with kept.connection.begin():
                    yield kept.connection
            except sa.exc.DBAPIError as error:
                if not isinstance(error, sa.exc.IntegrityError):
                    self._kept.pop(shard).close()
                raise

    def _connection(self, shard: str) -> "_KeptConnection":
        """Return the connection to the log of a run, or to the index."""
        kept = self._kept.get(shard)
        if kept is None or not kept.is_usable():
            if kept is not None:
                self._initialized_dbs.discard(shard)
                self._kept.pop(shard).close()
            kept = self._kept[shard] = self._opened(shard)
        self._kept.move_to_end(shard)
        for other in [name for name in self._kept if name != INDEX_SHARD_NAME][:-_RUNS_KEPT_OPEN]:
            self._kept.pop(other).close()
        return kept

    def _opened(self, shard: str) -> "_KeptConnection":
        engine = sa.create_engine(
            self.conn_string_for_shard(shard),
            poolclass=StaticPool,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        connection = engine.connect()
        connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
        connection.commit()
        return _KeptConnection(connection, Path(self.path_for_shard(shard)))

    def _get_latest_materialization_records(
        self, raw_asset_rows: Sequence[Any]
    ) -> dict[dg.AssetKey, dg.EventLogRecord | None]:
        """Return the latest materializations of assets, from their rows where these have them.

        Dagster asks for those that are not there in each step, though that is none as a rule.
        """
        found: dict[dg.AssetKey, dg.EventLogRecord | None] = {}
        others = []
        for row in raw_asset_rows:
            key, made = dg.AssetKey.from_db_string(row["asset_key"]), _materialization_in(row)
            if key is None or made is None:
                others.append(row)
            else:
                found[key] = made
        looked_up = super()._get_latest_materialization_records(others) if others else {}
        return {**found, **looked_up}

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; once it has it, it keeps it."""
        look = super().has_table
        return self._is_found(f"table {table_name}", lambda: look(table_name))

    def has_secondary_index(self, name: str) -> bool:
        """Whether a migration of the index has been done; once done, it stays so."""
        look = super().has_secondary_index
        return self._is_found(f"index {name}", lambda: look(name))

    def _has_asset_key_col_on_connection(self, conn: sa.Connection, column_name: str) -> bool:
        look = super()._has_asset_key_col_on_connection
        return self._is_found(f"column {column_name}", lambda: look(conn, column_name))

    def _is_found(self, what: str, look: Callable[[], bool]) -> bool:
        if what not in self._found and look():
            self._found.add(what)
        return what in self._found

    def watch(self, run_id: str, cursor: str | None, callback: Any) -> None:
        """Call a function for the events of a run as they come."""
        observer: Any = self._obs or Observer()
        if self._obs is None:
            self._obs = observer
            observer.start()
        watchdog = _LogWatchdog(self, run_id, callback, cursor)
        watch = observer.schedule(watchdog, self._base_dir, recursive=True)
        self._watchers[run_id][callback] = (watchdog, watch)

    def wipe(self) -> None:
        """Delete all events."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close what is open."""
        self._close()
        super().dispose()

    def _close(self) -> None:
        with self._db_lock:
            while self._kept:
                self._kept.popitem()[1].close()


def _materialization_in(asset_row: Any) -> dg.EventLogRecord | None:
    """Return the materialization in the row of an asset; None where others may count, if any.

    Those of an asset that was wiped may be older than that; earlier versions of Dagster kept less.
    """
    if asset_row["asset_details"] or not asset_row["last_materialization"]:
        return None
    kept: object = dg.deserialize_value(asset_row["last_materialization"])
    return kept if isinstance(kept, dg.EventLogRecord) else None


class _KeptConnection:
    """An open connection to a file of SQLite, of the process that has opened it.

    Args:
        connection: The connection.
        path: Its file.
    """

    def __init__(self, connection: sa.Connection, path: Path) -> None:
        self.connection = connection
        self._path = path
        self._pid = os.getpid()
        self._file = path.stat().st_ino

    def is_usable(self) -> bool:
        """Whether this process has opened it, and its file is still there."""
        try:
            return self._pid == os.getpid() and self._path.stat().st_ino == self._file
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Close it, unless it is another process's."""
        if self._pid == os.getpid():
            self.connection.close()
            self.connection.engine.dispose()
        else:
            _OF_OTHER_PROCESSES.append(self.connection)


_OF_OTHER_PROCESSES: list[sa.Connection] = []
"""What a process has inherited by a fork: SQLite forbids even to close it."""


class _LogWatchdog(SqliteEventLogStorageWatchdog):
    """Calls a function when something is written for a run, which at first is its WAL file."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._patterns = [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: FileSystemEvent) -> None:
        """Call the function for what is new."""
        self._process_log()
