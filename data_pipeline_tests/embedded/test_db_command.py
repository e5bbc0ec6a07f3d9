import os
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from urllib.parse import quote

import psycopg2.extensions
import pytest
import sqlalchemy as sa

from data_pipeline.embedded import EmbeddedServer
from data_pipeline_tests.embedded.processes import LIBRARIES
from data_pipeline_tests.embedded.queries import ask
from data_pipeline_tests.launch import forked

Command = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module", autouse=True)
def _own_forkserver() -> Iterator[None]:
    with forked.ready(LIBRARIES):
        yield


@pytest.fixture
def db(home: Path) -> Command:
    """Runs `data-pipeline db ...` in the test's home, by default without any psql on the PATH."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("DATA_PIPELINE", "PG"))}
        env = {**kept, "DATA_PIPELINE_HOME": str(home), "PATH": "/nowhere", **environment}
        command = ("data-pipeline", "db", *arguments)
        return forked.execute(*command, env=env, cwd=Path.cwd(), errors_apart=True)

    return run


def test_url_starts_the_server_and_says_so_beside_the_url(
    db: Command, server: EmbeddedServer
) -> None:
    result = db("url")
    assert ask(result.stdout.strip(), "SELECT 1") == 1
    assert "Starting the embedded PostgreSQL in" in result.stderr
    again = db("url")
    assert (again.stdout, again.stderr) == (result.stdout, "")


def test_start_and_stop_say_what_happened_without_the_password(
    db: Command, server: EmbeddedServer
) -> None:
    first, second = db("start"), db("start")
    password = server.start().password
    assert "is running: postgresql://data_pipeline:***@127.0.0.1:" in first.stdout
    assert "was running already" in second.stdout
    assert password not in first.stdout + first.stderr + second.stdout + second.stderr
    assert "is stopped" in db("stop").stdout
    assert "was not running" in db("stop").stdout


def test_psql_needs_no_psql_of_the_system(db: Command, server: EmbeddedServer) -> None:
    server.start()
    result = db("psql", "-At", "-c", "SELECT current_user, 6 * 7")
    assert result.stdout == "data_pipeline|42\n", result.stderr


def test_psql_has_no_password_among_its_arguments(db: Command, server: EmbeddedServer) -> None:
    server.start()
    result = db("psql", "-At", "-c", "\\! tr '\\0' '\\n' < /proc/$PPID/cmdline", PATH=os.defpath)
    assert "postgresql://data_pipeline@127.0.0.1" in result.stdout
    assert server.start().password not in result.stdout


ARGUMENTS = "\\! tr '\\0' '\\n' < /proc/$PPID/cmdline"


SECRET = [
    "password={password}",
    "connect_timeout=20&password={password}&target_session_attrs=any",
    "password=other_secret&password={password}",
    "password={password}&sslpassword=other_secret",
    "sslpassword=other_secret&sslmode=prefer&password={password}",
]


def test_what_is_secret_in_the_query_is_not_among_the_arguments(
    db: Command, server: EmbeddedServer
) -> None:
    url = server.start()
    password = quote(str(url.password), safe="")
    address = f"{url.host}:{url.port}/{url.database}"
    for query, login in product(SECRET, (url.username, f"{url.username}:wrong_secret")):
        text = f"postgresql://{login}@{address}?{query.format(password=password)}"
        named = {"DATA_PIPELINE_DATABASE_URL": text, "PATH": os.defpath}
        result = db("psql", "-At", "-c", "SELECT 6 * 7", "-c", ARGUMENTS, **named)
        case = f"{login}, {query}"
        assert result.stderr == "", case
        assert result.stdout.startswith("42\n"), case
        assert f"postgresql://{url.username}@127.0.0.1" in result.stdout, case
        assert url.password not in result.stdout, case
        assert "secret" not in result.stdout, case


def test_a_secret_reaches_psql_also_when_it_connects_again(
    db: Command, server: EmbeddedServer
) -> None:
    url = server.start()
    text = url.render_as_string(hide_password=False) + "?sslpassword=other_secret"
    shown = db(
        "psql",
        "-At",
        "-c",
        "\\! cat $PGSERVICEFILE",
        DATA_PIPELINE_DATABASE_URL=text,
        PATH=os.defpath,
    )
    assert shown.stdout == "[data_pipeline]\nsslpassword=other_secret\n"
    again = f"\\c {url.database}"
    result = db("psql", "-At", "-c", again, "-c", "SELECT 6 * 7", DATA_PIPELINE_DATABASE_URL=text)
    assert result.stdout.endswith("42\n")


def test_a_secret_beside_a_service_is_refused(db: Command) -> None:
    text = "postgresql://u@127.0.0.1/db?service=mine&sslpassword=other_secret"
    result = db("psql", DATA_PIPELINE_DATABASE_URL=text)
    assert result.returncode == 1
    assert "Write `sslpassword` into that service's section" in result.stderr
    assert "other_secret" not in result.stderr


def test_another_server_has_url_and_psql_but_no_start_and_stop(
    db: Command, database_url: sa.URL
) -> None:
    text = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    named = {"DATA_PIPELINE_DATABASE_URL": text}
    assert db("url", **named).stdout.strip() == text
    assert db("psql", "-At", "-c", "SELECT 6 * 7", **named).stdout == "42\n"
    for command in ("start", "stop"):
        result = db(command, **named)
        assert result.returncode == 1
        assert "not the embedded PostgreSQL" in result.stderr
        assert "unset DATA_PIPELINE_DATABASE_URL" in result.stderr


def test_a_url_with_spaces_is_shown_as_every_program_reads_it(
    db: Command, database_url: sa.URL, superuser: sa.Engine
) -> None:
    name, password = f"a b@/:% {database_url.database}", "p w@/:%+?#"
    options = "-c my.note=a+b -c statement_timeout=5s"
    user = f"{quote(name, safe='')}:{quote(password, safe='')}"
    address = f"{database_url.host}:{database_url.port}/{database_url.database}"
    text = f"postgresql://{user}@{address}?options={quote(options)}"
    engine = superuser.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        role = psycopg2.extensions.quote_ident(name, driver).replace(":", "\\:")
        connection.execute(sa.text(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'"))
    try:
        shown = db("url", DATA_PIPELINE_DATABASE_URL=text).stdout.strip()
        connection = psycopg2.connect(shown)
        assert connection.info.user == name
        assert connection.info.password == password
        assert connection.info.options == options
        connection.close()
        sql = "SELECT current_user, current_setting('my.note')"
        asked = db("psql", "-AtF,", "-c", sql, DATA_PIPELINE_DATABASE_URL=text)
        assert asked.stdout == f"{name},a+b\n"
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP ROLE {role}"))


def test_errors_are_shown_without_a_traceback(db: Command, home: Path) -> None:
    result = db("url", DATA_PIPELINE_PG_BINDIR=str(home / "nowhere"))
    assert result.returncode == 1
    assert "Error: No binaries of PostgreSQL" in result.stderr
    assert "Traceback" not in result.stderr


def test_instances_with_different_databases_must_be_named(db: Command, tmp_path: Path) -> None:
    configuration = tmp_path / "instances.yaml"
    other = 'table_store_connections: {other: {url: "postgresql://u:secret@host/db"}}\n'
    configuration.write_text(
        f"{other}instances:\n"
        "  full: {instance_id: full, table_store: {table_store_connection: other}}\n"
        "  mini: {instance_id: mini}\n"
    )
    result = db("url", DATA_PIPELINE_CONFIG=str(configuration))
    assert result.returncode == 1
    assert "do not share one database" in result.stderr
    assert "secret" not in result.stderr
    named = db("url", "--instance", "full", DATA_PIPELINE_CONFIG=str(configuration))
    assert named.stdout.strip() == "postgresql://u:secret@host/db"
