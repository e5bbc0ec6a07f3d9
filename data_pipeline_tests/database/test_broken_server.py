"""A server that breaks during a load: what was committed stays, and the next run goes on."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pyarrow as pa
import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.embedded import EmbeddedServer
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import load_configuration
from data_pipeline_tests.io_manager.runs import execute, refusal, rows, run, table_asset

EARLIER = table_asset("t", lambda: pd.DataFrame({"a": [1]}))
LATER = table_asset("t", lambda: pd.DataFrame({"a": [2]}))


def breaking(action: Callable[[], None]) -> pa.RecordBatchReader:
    """Gives a stream of many batches; the server breaks once some of them have been sent."""
    batch = pa.RecordBatch.from_pydict({"a": list(range(50_000))})

    def batches() -> Iterator[pa.RecordBatch]:
        yield batch
        yield batch
        action()
        for _ in range(100):
            yield batch

    return pa.RecordBatchReader.from_batches(batch.schema, batches())


def check_unharmed(engine: sa.Engine) -> None:
    assert rows(engine, "SELECT a FROM full_s.t") == [(1,)]
    assert rows(engine, "SELECT row_count FROM full_catalog.tables") == [(1,)]
    assert rows(engine, "SELECT to_regclass('full_s__staging.t')") == [(None,)]
    run(LATER)
    assert rows(engine, "SELECT a FROM full_s.t") == [(2,)]


def test_a_terminated_backend(pipeline_database: sa.Engine) -> None:
    def terminate() -> None:
        found = rows(
            pipeline_database,
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'COPY %'",
        )
        assert found == [(True,)]

    run(EARLIER)
    error = refusal(table_asset("t", lambda: breaking(terminate)))
    assert isinstance(error, DatabaseError)
    assert "`full_s__staging.t` failed, and nothing of it was kept" in str(error)
    assert "The connection broke: look into the server's log, then run again." in str(error)
    check_unharmed(pipeline_database)


def test_all_connections_terminated(pipeline_database: sa.Engine) -> None:
    def terminate() -> None:
        rows(
            pipeline_database,
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )

    run(EARLIER)
    error = refusal(table_asset("t", lambda: breaking(terminate)))
    assert "`full_s__staging.t` failed, and nothing of it was kept" in str(error)
    check_unharmed(pipeline_database)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Home of an embedded server of this module's own."""
    home = tmp_path_factory.mktemp("home")
    yield home
    EmbeddedServer(home).stop()


@pytest.fixture
def own_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedServer:
    """The embedded server, used by all instances, without tables."""
    monkeypatch.delenv("DATA_PIPELINE_DATABASE_URL", raising=False)
    monkeypatch.setenv("DATA_PIPELINE_HOME", str(home))
    server = EmbeddedServer(home)
    engine = engine_of(server)
    for schema in ("full_s", "full_s__staging", "full_catalog"):
        execute(engine, f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    return server


def engine_of(server: EmbeddedServer) -> sa.Engine:
    url = server.start().set(drivername="postgresql+psycopg2")
    return sa.create_engine(url, poolclass=sa.NullPool)


def test_a_killed_server(own_server: EmbeddedServer) -> None:
    def kill() -> None:
        pid = int((own_server.data / "postmaster.pid").read_text().split()[0])
        postmaster = psutil.Process(pid)
        killed = [postmaster, *postmaster.children()]
        for process in killed:
            process.kill()
        psutil.wait_procs(killed)

    run(EARLIER)
    error = refusal(table_asset("t", lambda: breaking(kill)))
    assert isinstance(error, DatabaseError)
    assert "`full_s__staging.t` failed, and nothing of it was kept" in str(error)
    assert "The connection broke" in str(error)
    check_unharmed(engine_of(own_server))


@pytest.fixture
def small_disk(own_server: EmbeddedServer) -> Iterator[Path]:
    """A file system of 8 MB that belongs to the user of the server.

    Not below pytest's own folder, which each session of pytest closes to other users.
    """
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    directory = Path(tempfile.mkdtemp(prefix="small_disk"))
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        directory.rmdir()
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    owner = own_server.data.stat()
    os.chown(directory, owner.st_uid, owner.st_gid)
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)
    directory.rmdir()


def test_a_full_disk(own_server: EmbeddedServer, small_disk: Path) -> None:
    engine = engine_of(own_server)
    role = f'CURRENT_USER IN DATABASE "{engine.url.database}"'
    admin = sa.create_engine(engine.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        connection.exec_driver_sql(f"ALTER ROLE {role} SET default_tablespace = small")
    database(load_configuration().instance("full")).close()  # sessions know the space from then on
    try:
        run(EARLIER)
        error = refusal(table_asset("t", lambda: breaking(lambda: None)))
        assert isinstance(error, DatabaseError)
        assert "No space left on device" in str(error)
        assert "The server's disk is full. Free space there" in str(error)
        query = sa.text("SELECT repeat('x', 100) AS x FROM generate_series(1, 200000)")
        error = refusal(table_asset("t", lambda: query))
        assert "The server's disk is full. Free space there" in str(error)
        check_unharmed(engine)
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"ALTER ROLE {role} RESET ALL")
            connection.exec_driver_sql("DROP SCHEMA full_s, full_s__staging, full_catalog CASCADE")
            connection.exec_driver_sql("DROP TABLESPACE small")
