"""A right that the role lacks: the error names role, object, and the statement that grants it."""

import re
from collections.abc import Callable

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import Database, database
from data_pipeline.database.error_messages import Lacking
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import DatabaseError, MissingRightError
from data_pipeline.instances import load_configuration
from data_pipeline.runs.step_reads import StepReads
from data_pipeline_tests.io_manager.runs import execute, rows, write
from data_pipeline_tests.plain_roles import PlainRoles

STATEMENT = re.compile(
    r"(?:on the database|on the tablespace|write there|let it write|right away): (.+)",
    re.IGNORECASE,
)


def replace(value: int) -> None:
    write("t", pd.DataFrame({"a": [value]}), run_id=f"run {value}")


def granted(roles: PlainRoles, act: Callable[[], None]) -> list[str]:
    """Does something, and what its refusals say, until it succeeds; gives these statements."""
    issued: list[str] = []
    while True:
        try:
            act()
        except DatabaseError as error:
            issued += STATEMENT.findall(str(error))
            if len(issued) > len(set(issued)):
                raise
            # The superuser, too, may be read-only by default.
            execute(roles.admin, "SET TRANSACTION READ WRITE", issued[-1])
        else:
            return issued


@pytest.fixture
def other(roles: PlainRoles, monkeypatch: pytest.MonkeyPatch) -> str:
    """A role without any right, as which the pipeline connects once the owner has built `s/t`."""
    replace(1)
    name = roles.new("other")
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", roles.url(name))
    return name


def test_of_another_roles_instance_one_becomes_a_member(roles: PlainRoles, other: str) -> None:
    assert granted(roles, lambda: replace(2)) == [f'GRANT "{roles.owner}" TO "{other}"']
    assert rows(roles.admin, "SELECT a FROM full_s.t") == [(2,)]


def test_the_refusal_names_role_place_and_object_and_how_to_read_only(
    roles: PlainRoles, other: str
) -> None:
    with pytest.raises(MissingRightError) as caught:
        replace(2)
    url = roles.admin.url
    assert str(caught.value) == (
        f"Role `{other}` lacks a right in the database at {url.host}:{url.port}, database "
        f"`{url.database}`, user `{other}`. PostgreSQL says: permission denied for schema "
        f'full_catalog\nThe schema "full_catalog" belongs to role "{roles.owner}". To let role '
        f'"{other}" write there: GRANT "{roles.owner}" TO "{other}"\nTo let it only read: GRANT '
        f'USAGE ON SCHEMA "full_catalog" TO "{other}"; GRANT SELECT ON ALL TABLES IN SCHEMA '
        f'"full_catalog" TO "{other}"\nWhat was committed before is unchanged.'
    )


def test_a_right_on_the_database_alone_does_not_open_schemas(roles: PlainRoles, other: str) -> None:
    execute(roles.admin, f'GRANT CREATE ON DATABASE "{roles.admin.url.database}" TO {other}')
    assert granted(roles, lambda: replace(2)) == [f'GRANT "{roles.owner}" TO "{other}"']


def test_a_role_that_may_not_create_schemas(
    roles: PlainRoles, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = roles.new("poor")
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", roles.url(name))
    database_ = roles.admin.url.database
    assert granted(roles, lambda: replace(1)) == [
        f'GRANT CREATE ON DATABASE "{database_}" TO "{name}"'
    ]


def test_a_schema_that_went_to_a_superuser(roles: PlainRoles) -> None:
    replace(1)
    for value, schema in enumerate(("full_s", "full_s__staging"), start=2):
        execute(roles.admin, f"ALTER SCHEMA {schema} OWNER TO CURRENT_USER")
        statements = granted(roles, lambda value=value: replace(value))
        wanted = [f'GRANT USAGE, CREATE ON SCHEMA "{schema}" TO "{roles.owner}"']
        assert statements == wanted
        assert rows(roles.admin, "SELECT a FROM full_s.t") == [(value,)], schema


def test_a_table_of_the_catalog_that_went_to_another_role(roles: PlainRoles) -> None:
    replace(1)
    thief = roles.new("thief")
    execute(roles.admin, f"ALTER TABLE full_catalog.runs OWNER TO {thief}")
    assert granted(roles, lambda: replace(2)) == [f'GRANT "{thief}" TO "{roles.owner}"']


@pytest.mark.parametrize(
    ("place", "grant"),
    [
        ("SCHEMA full_s", 'GRANT USAGE, CREATE ON SCHEMA "full_s"'),
        ("SCHEMA full_catalog", 'GRANT USAGE, CREATE ON SCHEMA "full_catalog"'),
        ("full_catalog.runs", 'GRANT SELECT, INSERT, UPDATE, DELETE ON "full_catalog"."runs"'),
    ],
)
def test_a_right_that_the_owner_has_given_away(roles: PlainRoles, place: str, grant: str) -> None:
    replace(1)
    execute(roles.admin, f"REVOKE ALL ON {place} FROM {roles.owner}")
    assert granted(roles, lambda: replace(2)) == [f'{grant} TO "{roles.owner}"']
    assert rows(roles.admin, "SELECT a FROM full_s.t") == [(2,)]


def test_tables_lie_in_the_tablespace_that_the_role_defaults_to(roles: PlainRoles) -> None:
    space = f"space_{roles.owner}"
    with roles.admin.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        admin.exec_driver_sql("SET allow_in_place_tablespaces = on")
        admin.exec_driver_sql(f"CREATE TABLESPACE {space} LOCATION ''")
        admin.exec_driver_sql(f"ALTER ROLE {roles.owner} SET default_tablespace = {space}")
        grant = f'GRANT CREATE ON TABLESPACE "{space}" TO "{roles.owner}"'
        try:
            assert granted(roles, lambda: replace(1)) == [grant]
            found = "SELECT spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = reltablespace "
            where = "WHERE c.oid = 'full_s.t'::regclass"
            assert rows(roles.admin, found + where) == [(space,)]
        finally:
            admin.exec_driver_sql(f"DROP OWNED BY {roles.owner} CASCADE")
            admin.exec_driver_sql(f"DROP TABLESPACE {space}")


def test_a_role_whose_transactions_are_read_only(roles: PlainRoles) -> None:
    name = f'"{roles.admin.url.database}"'
    role = f'ROLE "{roles.owner}"'

    def anew() -> None:
        database_of().engine.dispose()  # sessions that are there keep what they began with
        replace(1)

    for where in (role, f"DATABASE {name}", f"{role} IN DATABASE {name}"):
        execute(roles.admin, f"ALTER {where} SET default_transaction_read_only = on")
        wanted = [f"ALTER {where} SET default_transaction_read_only = off"]
        assert granted(roles, anew) == wanted
        execute(roles.admin, "SET TRANSACTION READ WRITE", f"ALTER {where} RESET ALL")


def database_of() -> Database:
    return database(load_configuration().instance("full"))


def test_a_url_whose_sessions_are_read_only(
    roles: PlainRoles, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{roles.url(roles.owner)}?options=-c%20default_transaction_read_only%3Don"
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", url)
    with pytest.raises(MissingRightError, match=r"read-only transaction") as caught:
        replace(1)
    assert "(`default_transaction_read_only`, set by: client)" in str(caught.value)


def test_a_query_that_reads_what_the_role_may_not(roles: PlainRoles) -> None:
    execute(roles.admin, "CREATE SCHEMA private; CREATE TABLE private.secrets AS SELECT 1 AS a")
    with pytest.raises(DatabaseError) as caught:
        write("t", sa.text("SELECT a FROM private.secrets"))
    text = str(caught.value)
    assert "permission denied for schema private" in text
    assert f'GRANT USAGE ON SCHEMA "private" TO "{roles.owner}"' in text
    execute(roles.admin, f"GRANT USAGE ON SCHEMA private TO {roles.owner}")
    with pytest.raises(DatabaseError) as caught:
        write("t", sa.text("SELECT a FROM private.secrets"))
    assert f'GRANT SELECT ON "private"."secrets" TO "{roles.owner}"' in str(caught.value)
    execute(roles.admin, f"GRANT SELECT ON private.secrets TO {roles.owner}")
    write("t", sa.text("SELECT a FROM private.secrets"))


def test_an_input_that_the_role_may_not_read(roles: PlainRoles, other: str) -> None:
    instance = load_configuration().instance("full")
    with pytest.raises(MissingRightError, match=f"To let role .{other}. write there: GRANT"):
        StepReads("a run", [(instance, StageTable("s", "t"))])


def test_a_database_that_the_role_may_not_create(roles: PlainRoles) -> None:
    url = sa.make_url(roles.url(roles.owner)).set(database="not there")
    with pytest.raises(MissingRightError) as caught, Database(url, create=True).begin():
        pass
    assert "The database `not there` at" in str(caught.value)
    assert "permission denied to create database" in str(caught.value)
    assert f'CREATE DATABASE "not there" OWNER "{roles.owner}"' in str(caught.value)


@pytest.mark.usefixtures("other")
def test_the_object_is_found_in_any_language() -> None:
    schema, of_it = 'schema "full_catalog"', 'table "full_catalog"."tables"'
    messages = {
        "permission denied for schema full_catalog": schema,
        "keine Berechtigung für Schema full_catalog": schema,
        "スキーマfull_catalogへのアクセスが拒否されました": schema,
        "keine Berechtigung für Tabelle tables": of_it,
        "must be owner of table tables": of_it,
    }
    for message, kind in messages.items():
        lacking = Lacking("42501", message, "SELECT * FROM full_catalog.tables")
        with database_of().begin() as connection:
            said = lacking.remedy(connection)
        assert said.startswith(f"The {kind} belongs to role"), message


def test_what_is_not_found_is_left_to_the_message(roles: PlainRoles) -> None:
    with (
        pytest.raises(MissingRightError, match="permission denied to create role") as caught,
        database_of().begin() as connection,
    ):
        connection.exec_driver_sql("CREATE ROLE somebody_new")
    assert f'Grant role "{roles.owner}" what is missing' in str(caught.value)
