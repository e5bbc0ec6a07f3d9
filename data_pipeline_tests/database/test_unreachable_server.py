"""No server, no database, or the wrong password: said clearly, and never with the password."""

import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.database.connection import Database, database
from data_pipeline.embedded import EmbeddedServer
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import load_configuration
from data_pipeline_tests.io_manager.runs import execute, from_inputs, refusal, run, table_asset

PASSWORD = "pass word/ü%@"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The URL of a server that wants a password."""
    server = EmbeddedServer(tmp_path_factory.mktemp("home"))
    yield server.start()
    server.stop()


def _nowhere(server: sa.URL) -> tuple[sa.URL, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = server.set(port=free.getsockname()[1], password=PASSWORD)
    return url, "Connection refused"


def _wrong_password(server: sa.URL) -> tuple[sa.URL, str]:
    return server.set(password=PASSWORD), "password authentication failed for user"


def _no_such_database(server: sa.URL) -> tuple[sa.URL, str]:
    return server.set(database="nowhere"), 'database "nowhere" does not exist'


def _use(monkeypatch: pytest.MonkeyPatch, url: sa.URL, home: Path) -> None:
    text = f"postgresql://{url.username}:{quote(str(url.password), safe='')}@{url.host}:{url.port}"
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", f"{text}/{url.database}")
    monkeypatch.setenv("DATA_PIPELINE_HOME", str(home))


@pytest.fixture(params=[_nowhere, _wrong_password, _no_such_database])
def unreachable(
    request: pytest.FixtureRequest, server: sa.URL, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[sa.URL, str]:
    """A URL at which there is no database for us, and what the driver says of it."""
    url, reason = request.param(server)
    _use(monkeypatch, url, tmp_path)
    return url, reason


def test_the_error_says_where_and_what_to_do_but_not_the_password(
    unreachable: tuple[sa.URL, str], capfd: pytest.CaptureFixture[str]
) -> None:
    url, reason = unreachable
    source = table_asset("t", lambda: pd.DataFrame({"a": [1]}))
    assets = [source, from_inputs("reader", lambda t: t, "t")]
    errors = [refusal(*assets, selection=name) for name in ("t", "reader")]
    file = load_configuration().file
    for error in errors:  # of writing, and of reading
        assert isinstance(error, DatabaseError)
        assert f"Cannot connect to PostgreSQL at 127.0.0.1:{url.port}, database" in str(error)
        assert reason in str(error)
        assert f"`table_store_connections` in {file}, or DATA_PIPELINE_DATABASE_URL" in str(error)
    result = run(source, raise_on_error=False)
    written = "".join(capfd.readouterr())
    shown = [written, repr(instance_resources("full")), repr(result.all_events)]
    shown += [text for error in errors for text in (str(error), repr(error.__traceback__))]
    shown += [repr(database(load_configuration().instance("full")))]
    assert [text for text in shown if str(url.password) in text] == []
    assert "Cannot connect to PostgreSQL" in written


def test_a_bulk_connection_that_is_refused_says_the_same(unreachable: tuple[sa.URL, str]) -> None:
    url, reason = unreachable
    with (
        pytest.raises(DatabaseError) as caught,
        database(load_configuration().instance("full")).adbc(),
    ):
        pass
    assert f"Cannot connect to PostgreSQL at 127.0.0.1:{url.port}, database" in str(caught.value)
    assert reason in str(caught.value)
    assert str(url.password) not in str(caught.value)


def test_of_several_hosts_the_one_that_answers_is_used(server: sa.URL) -> None:
    nowhere, _ = _nowhere(server)
    hosts = (f"{nowhere.host}:{nowhere.port}", f"{server.host}:{server.port}")
    used = Database(server.update_query_dict({"host": hosts}))
    port = sa.text("SELECT current_setting('port')")
    with used.begin() as connection:
        assert connection.scalar(port) == str(server.port)
    with used.adbc() as bulk, bulk.cursor() as cursor:
        cursor.execute(str(port))
        assert cursor.fetchall() == [(str(server.port),)]
    used.close()
    refused = Database(server.update_query_dict({"host": hosts[:1] * 2}))
    with (
        pytest.raises(DatabaseError, match=f"at {hosts[0]}, {hosts[0]}, database"),
        refused.begin(),
    ):
        pass


def test_a_parameter_that_libpq_does_not_know_is_named(server: sa.URL) -> None:
    mistaken = Database(server.update_query_dict({"ssl_mode": "require"}))
    with pytest.raises(DatabaseError, match=r"\"ssl_mode\"\n.*DATA_PIPELINE_DATABASE_URL"):
        mistaken.private_connection()


def test_who_may_have_fewer_sessions_than_a_run_needs_is_told(
    server: sa.URL, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = sa.create_engine(server.set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
    name = server.database
    execute(engine, f"CREATE ROLE few LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 3")
    execute(engine, f'GRANT CREATE ON DATABASE "{name}" TO few')
    _use(monkeypatch, server.set(username="few", password=PASSWORD), tmp_path)
    error = refusal(table_asset("t", lambda: pd.DataFrame({"a": [1]})))
    assert re.search(r'too many connections for role "few"\n.* needs 8 sessions', str(error))


def test_the_password_is_nowhere_in_what_a_run_writes(
    server: sa.URL,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    engine = sa.create_engine(server.set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
    execute(engine, f"CREATE ROLE odd SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
    _use(monkeypatch, server.set(username="odd", password=PASSWORD), tmp_path)
    good = run(table_asset("t", lambda: pd.DataFrame({"a": [1]})))
    bad = run(table_asset("u", lambda: sa.text("SELECT 1 FRM a")), raise_on_error=False)
    events = repr([good.all_events, bad.all_events])
    assert "dagster/table_name" in events
    assert "syntax error" in events
    written = events + "".join(capfd.readouterr())
    assert PASSWORD not in written
    assert quote(PASSWORD, safe="") not in written
