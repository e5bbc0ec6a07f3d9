"""What sessions default to changes neither texts nor how long a run may take."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import close_databases, database
from data_pipeline.instances import load_configuration
from data_pipeline_tests.io_manager.runs import (
    execute,
    from_inputs,
    rows,
    run,
    table_asset,
    write,
    write_refusal,
)
from data_pipeline_tests.plain_roles import drop_database

TIMEOUTS = (
    "statement_timeout",
    "lock_timeout",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
)
TEXT = "é 'q' \\ \\\\ \" %"


@pytest.mark.parametrize("timeout", TIMEOUTS)
def test_no_session_has_a_timeout(superuser: sa.Engine, owner: str, timeout: str) -> None:
    execute(superuser, f"ALTER ROLE {owner} SET {timeout} = 3600000")
    shown = f"SELECT current_setting('{timeout}')"
    source = database(load_configuration().instance("full"))
    with source.begin() as connection:
        assert connection.scalar(sa.text(shown)) == "0"
    with source.session() as connection:
        assert connection.scalar(sa.text(shown)) == "0"
    with source.adbc() as bulk, bulk.cursor() as cursor:
        cursor.execute(shown)
        assert cursor.fetchall() == [("0",)]


def by_role(setting: str) -> Callable[[sa.Engine, str, pytest.MonkeyPatch], None]:
    return lambda superuser, owner, _: execute(superuser, f"ALTER ROLE {owner} SET {setting}")


def by_environment(name: str, value: str) -> Callable[[sa.Engine, str, pytest.MonkeyPatch], None]:
    return lambda _, __, monkeypatch: monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(by_role("client_encoding = 'LATIN1'"), id="another encoding"),
        pytest.param(by_role("client_encoding = 'SQL_ASCII'"), id="no encoding"),
        pytest.param(by_environment("PGCLIENTENCODING", "LATIN1"), id="encoding of the client"),
        pytest.param(by_role("standard_conforming_strings = off"), id="backslashes escape"),
    ],
)
def test_texts_arrive_as_they_are(
    pipeline_database: sa.Engine,
    owner: str,
    superuser: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    disturb: Callable[[sa.Engine, str, pytest.MonkeyPatch], None],
) -> None:
    disturb(superuser, owner, monkeypatch)
    seen = []

    def read(texts: pd.DataFrame) -> pd.DataFrame:
        seen.append(texts["t"].to_list())
        return texts

    texts = table_asset("texts", lambda: pd.DataFrame({"t": [TEXT]}))
    assert run(texts, from_inputs("read", read, texts="texts")).success
    assert seen == [[TEXT]]
    monkeypatch.undo()
    assert rows(superuser, "SELECT t FROM full_s.texts") == [(TEXT,)]


@pytest.fixture
def tmp_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home of the test's own."""
    monkeypatch.setenv("DATA_PIPELINE_HOME", str(tmp_path))


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def encoded(
    request: pytest.FixtureRequest,
    server_url: sa.URL,
    superuser_url: sa.URL,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[sa.Engine]:
    """Connections to a database that is not encoded in UTF-8, which the pipeline uses."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        version = connection.dialect.server_version_info or ()
        provider = "LOCALE_PROVIDER libc" if version >= (15,) else ""
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{request.param}' "
            f"LC_COLLATE 'C' LC_CTYPE 'C' {provider}"
        )
    url = server_url.set(database=name)
    text = url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", text)
    yield sa.create_engine(url, poolclass=sa.NullPool, client_encoding="utf8")
    close_databases(name)
    drop_database(superuser_url, name)


@pytest.mark.usefixtures("tmp_home")
def test_a_database_of_another_encoding_holds_texts_as_they_are(encoded: sa.Engine) -> None:
    write("texts", pd.DataFrame({"t": [TEXT]}))
    assert rows(encoded, "SELECT t FROM full_s.texts") == [(TEXT,)]


@pytest.mark.usefixtures("tmp_home")
def test_what_a_database_cannot_hold_is_refused(encoded: sa.Engine) -> None:
    frame = pd.DataFrame({"t": ["€"]})
    if rows(encoded, "SHOW server_encoding") == [("SQL_ASCII",)]:  # holds any bytes
        write("texts", frame)
        assert rows(encoded, "SELECT t FROM full_s.texts") == [("€",)]
    else:
        assert "LATIN1" in str(write_refusal("texts", frame))
