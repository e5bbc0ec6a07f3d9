"""The commit: what users built on a table survives it, and nobody reads anything by half."""

import logging
import re
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.database.identifiers import StageTable
from data_pipeline.store.table_properties import Table
from data_pipeline_tests.io_manager.runs import execute, refusal, rows, run, table_asset, write
from data_pipeline_tests.patience import PATIENCE

TABLE = StageTable("s", "t")


@pytest.fixture
def role(superuser: sa.Engine, pipeline_database: sa.Engine) -> Iterator[str]:
    """Name of a role that holds grants in the database of this test; gone afterwards.

    The pipeline is a member of it, so it may put up again what belongs to it.
    """
    name = f"reader of {superuser.url.database}"
    member = pipeline_database.url.username
    execute(superuser, f'CREATE ROLE "{name}"', f'GRANT "{name}" TO "{member}"')
    yield name
    execute(superuser, f'DROP OWNED BY "{name}" CASCADE', f'DROP ROLE "{name}"')


def made(value: int, **columns: Any) -> Any:
    data = {"a": [value], "b": ["x"], **columns}
    return table_asset("t", lambda: Table(pd.DataFrame(data), primary_key="a"))


def grants(engine: sa.Engine, relation: str, role: str) -> list[tuple[Any, ...]]:
    query = f"""
        SELECT g.column_name, a.grantee::regrole::text, a.privilege_type, a.is_grantable
        FROM pg_class c, LATERAL (
            SELECT c.relacl AS acl, NULL AS column_name
            UNION ALL SELECT attacl, attname FROM pg_attribute WHERE attrelid = c.oid
        ) g, LATERAL aclexplode(g.acl) a
        WHERE c.oid = '{relation}'::regclass AND a.grantee <> c.relowner ORDER BY 1, 2, 3
    """
    return [
        (column, {f'"{role}"': "role", "-": "PUBLIC"}[who], privilege, grantable)
        for column, who, privilege, grantable in rows(engine, query)
    ]


def test_grants_and_comments_survive(pipeline_database: sa.Engine, role: str) -> None:
    run(made(1))
    execute(
        pipeline_database,
        f'GRANT SELECT ON full_s.t TO "{role}" WITH GRANT OPTION',
        "GRANT SELECT ON full_s.t TO PUBLIC",
        f'GRANT UPDATE (b) ON full_s.t TO "{role}"',
        "COMMENT ON TABLE full_s.t IS 'it''s 100 %'",
        "COMMENT ON COLUMN full_s.t.b IS 'a column: %s'",
    )
    before = grants(pipeline_database, "full_s.t", role)
    assert len(before) == 3
    run(made(2))
    assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(2,)]
    assert grants(pipeline_database, "full_s.t", role) == before
    comments = (
        "SELECT obj_description('full_s.t'::regclass), col_description('full_s.t'::regclass, 2)"
    )
    assert rows(pipeline_database, comments) == [("it's 100 %", "a column: %s")]


def test_a_table_that_a_user_has_renamed_keeps_its_indexes(pipeline_database: sa.Engine) -> None:
    indexes = "SELECT indexname FROM pg_indexes WHERE schemaname = 'full_s' AND tablename = '{}'"
    run(made(1))
    execute(pipeline_database, "ALTER TABLE full_s.t RENAME TO old")
    of_old = rows(pipeline_database, indexes.format("old"))
    for value in (2, 3):
        run(made(value))
        assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(value,)]
        assert len(rows(pipeline_database, indexes.format("t"))) == len(of_old) == 1
    assert rows(pipeline_database, indexes.format("old")) == of_old
    assert rows(pipeline_database, "SELECT a FROM full_s.old") == [(1,)]
    execute(pipeline_database, "DROP TABLE full_s.old")
    run(made(4))
    assert rows(pipeline_database, indexes.format("t")) == of_old


def test_what_speaks_of_a_column_that_is_gone_is_left_out(
    pipeline_database: sa.Engine, role: str
) -> None:
    run(made(1, c=[1]))
    execute(
        pipeline_database,
        f'GRANT SELECT (c) ON full_s.t TO "{role}"',
        f'GRANT SELECT (a) ON full_s.t TO "{role}"',
        "COMMENT ON COLUMN full_s.t.c IS 'gone soon'",
    )
    run(made(1))
    assert grants(pipeline_database, "full_s.t", role) == [("a", "role", "SELECT", False)]


def test_a_new_table_has_the_default_privileges_of_its_schema(
    pipeline_database: sa.Engine, role: str
) -> None:
    execute(
        pipeline_database,
        "CREATE SCHEMA full_s",
        f'ALTER DEFAULT PRIVILEGES IN SCHEMA full_s GRANT SELECT ON TABLES TO "{role}"',
    )
    run(made(1))
    assert grants(pipeline_database, "full_s.t", role) == [(None, "role", "SELECT", False)]
    execute(
        pipeline_database,
        "CREATE VIEW full_s.v AS SELECT * FROM full_s.t",
        f'REVOKE ALL ON full_s.t, full_s.v FROM "{role}"',
    )
    run(made(2))
    assert grants(pipeline_database, "full_s.t", role) == []
    assert grants(pipeline_database, "full_s.v", role) == []


def test_views_on_a_table_survive_with_all_that_belongs_to_them(
    pipeline_database: sa.Engine, role: str
) -> None:
    run(made(1))
    execute(
        pipeline_database,
        'CREATE SCHEMA "of users"',
        'CREATE VIEW "of users"."V 1" WITH (security_barrier) AS SELECT a, b || \'%;\' AS p '
        "FROM full_s.t",
        'CREATE VIEW public.nested AS SELECT p, a FROM "of users"."V 1" JOIN full_s.t USING (a)',
        "CREATE VIEW public.top AS SELECT count(*) AS n FROM nested, full_s.t",
        f'GRANT USAGE ON SCHEMA "of users" TO "{role}"',
        f'GRANT SELECT (a) ON full_s.t TO "{role}"',
        f'GRANT SELECT (p, a) ON "of users"."V 1" TO "{role}"',
        "GRANT SELECT ON nested TO PUBLIC",
        "COMMENT ON VIEW nested IS 'of a view'",
        "COMMENT ON COLUMN nested.p IS 'its column'",
        f'GRANT CREATE ON SCHEMA public TO "{role}"',
        f'ALTER VIEW nested OWNER TO "{role}"',
    )
    kept = """
        SELECT n.nspname, c.relname, c.relkind::text, c.relowner::regrole::text, c.reloptions,
               c.relacl::text, pg_get_viewdef(c.oid), obj_description(c.oid),
               (SELECT array_agg(attacl::text ORDER BY attnum) FROM pg_attribute
                WHERE attrelid = c.oid),
               (SELECT array_agg(col_description(c.oid, attnum) ORDER BY attnum) FROM pg_attribute
                WHERE attrelid = c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'v' AND n.nspname IN ('of users', 'public') ORDER BY 1, 2
    """
    before = rows(pipeline_database, kept)
    assert len(before) == 3
    run(made(7))
    assert rows(pipeline_database, kept) == before
    assert rows(pipeline_database, 'SELECT * FROM "of users"."V 1"') == [(7, "x%;")]
    assert rows(pipeline_database, "SELECT a, n FROM public.nested, public.top") == [(7, 1)]


def test_a_view_that_does_not_fit_the_new_columns_is_named(pipeline_database: sa.Engine) -> None:
    run(made(1, c=[5]))
    execute(
        pipeline_database,
        "CREATE VIEW public.inner_view AS SELECT c FROM full_s.t",
        "CREATE VIEW public.outer_view AS SELECT c * 2 AS c2 FROM public.inner_view",
    )
    error = refusal(made(2))
    assert "Stage `s` of instance `full` could not be committed and has its earlier content" in str(
        error
    )
    assert "iew public.inner_view" in str(error)
    # PostgreSQL 18 names the column without its table.
    assert re.search(r"""column (t\.c|"c") does not exist""", str(error))
    assert rows(pipeline_database, "SELECT a, c, c2 FROM full_s.t, public.outer_view") == [
        (1, 5, 10)
    ]
    execute(pipeline_database, "DROP VIEW public.outer_view, public.inner_view")
    run(made(2))
    assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(2,)]


def test_below_what_cannot_be_carried_over_rows_are_replaced_in_place(
    pipeline_database: sa.Engine,
) -> None:
    run(made(1))
    execute(
        pipeline_database,
        "CREATE VIEW public.v AS SELECT a FROM full_s.t",
        "CREATE TABLE public.child () INHERITS (full_s.t)",
    )
    run(made(2))
    assert rows(pipeline_database, "SELECT a FROM public.v") == [(2,)]
    error = refusal(made(3, c=[1]))
    assert "public.child" in str(error)
    assert "column c is new" in str(error)
    assert rows(pipeline_database, "SELECT a FROM public.v") == [(2,)]


def test_a_deep_stack_of_wide_views_is_carried_over(pipeline_database: sa.Engine) -> None:
    # Each view depends on each column of the next; the number of paths is 60 to the power of 8.
    # PostgreSQL ends a statement that follows all of them.
    name = pipeline_database.url.database
    execute(pipeline_database, f"ALTER DATABASE \"{name}\" SET statement_timeout = '2min'")
    columns = {f"c{number}": [number] for number in range(60)}
    run(made(1, **columns))
    stack = ["full_s.t", *(f"public.v{number}" for number in range(8))]
    for below, view in pairwise(stack):
        execute(pipeline_database, f"CREATE VIEW {view} AS SELECT * FROM {below}")
    run(made(2, **columns))
    assert rows(pipeline_database, f"SELECT a FROM {stack[-1]}") == [(2,)]


@pytest.mark.parametrize(
    "commits", [10, pytest.param(300, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])]
)
def test_readers_see_every_table_whole_at_every_moment(
    pipeline_database: sa.Engine, commits: int
) -> None:
    def store(value: int) -> None:
        write("t", pd.DataFrame({"a": [value] * 3}))

    store(0)
    execute(pipeline_database, "CREATE VIEW public.v AS SELECT * FROM full_s.t")
    reads = {
        "table and view": "SELECT t.a, v.a FROM full_s.t JOIN public.v ON true",
        "view and table": "SELECT t.a, v.a FROM public.v JOIN full_s.t ON true",
        "view": "SELECT a, a FROM public.v, pg_sleep(0.001)",
        "table": "SELECT a, a FROM full_s.t, pg_sleep(0.001)",
    }
    done, seen, wrong = threading.Event(), dict.fromkeys(reads, 0), []

    def read(label: str) -> None:
        try:
            with pipeline_database.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                while not done.is_set():
                    found = {tuple(row) for row in connection.execute(sa.text(reads[label]))}
                    if len(found) != 1 or len(set(next(iter(found)))) != 1:
                        wrong.append((label, found))
                    seen[label] += 1
        except sa.exc.DBAPIError as error:
            wrong.append((label, str(error)))

    threads = [threading.Thread(target=read, args=[label]) for label in reads]
    for thread in threads:
        thread.start()
    try:
        for value in range(1, commits + 1):
            store(value)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert min(seen.values()) > 0
    assert rows(pipeline_database, "SELECT DISTINCT a FROM public.v") == [(commits,)]


def test_a_commit_behind_a_long_reader_does_not_hold_up_others(
    pipeline_database: sa.Engine,
) -> None:
    run(made(1))
    waits = threading.Event()
    log = logging.getLogger("commit")
    log.addHandler(_Setting(waits))
    log.setLevel(logging.INFO)
    with pipeline_database.connect() as reader:
        reader.execute(sa.text("SELECT * FROM full_s.t"))  # the transaction stays open
        frame = pd.DataFrame({"a": [2]})
        writer = threading.Thread(target=write, args=["t", frame, log])
        writer.start()
        assert waits.wait(PATIENCE)
        assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(1,)]
        assert writer.is_alive()
    writer.join()
    assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(2,)]


class _Setting(logging.Handler):
    """Sets an event when a commit says that it waits."""

    def __init__(self, event: threading.Event) -> None:
        super().__init__()
        self._event = event

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("Waiting to commit stage `s`: session "):
            self._event.set()


def test_a_staged_table_that_somebody_drops_is_named(pipeline_database: sa.Engine) -> None:
    write("a", pd.DataFrame({"v": [1]}))

    def drops() -> pd.DataFrame:
        execute(pipeline_database, "DROP TABLE full_s__staging.a")
        return pd.DataFrame({"v": [2]})

    first = table_asset("a", lambda: pd.DataFrame({"v": [2]}))
    error = refusal(first, table_asset("b", drops, deps=[first]))
    assert "has dropped what this run had staged: full_s__staging.a." in str(error)
    assert "run again: dagster job execute" in str(error)
    assert rows(pipeline_database, "SELECT v FROM full_s.a") == [(1,)]


def test_functions_that_find_others_by_the_path_of_the_role_do_no_harm(
    pipeline_database: sa.Engine,
) -> None:
    """From PostgreSQL 17 on they are refused when users make such an index."""
    run(made(1))
    execute(
        pipeline_database,
        "CREATE TABLE named (a bigint, name text); INSERT INTO named SELECT i, 'x' || i "
        "FROM generate_series(1, 9) i",
        "CREATE FUNCTION name_of(bigint) RETURNS text LANGUAGE sql STABLE "
        "AS 'SELECT name FROM named WHERE a = $1'",
        "CREATE FUNCTION twice(bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1'",
        "CREATE FUNCTION four(bigint) RETURNS bigint LANGUAGE sql IMMUTABLE "
        "AS 'SELECT twice(twice($1))'",
        "CREATE VIEW names AS SELECT name_of(a) AS name FROM full_s.t",
        "ALTER TABLE full_s.t ADD CHECK (four(a) > 0)",
    )
    version = pipeline_database.dialect.server_version_info or (0,)
    if is_by_path := version < (17,):
        execute(
            pipeline_database,
            "CREATE MATERIALIZED VIEW kept AS SELECT name_of(a) AS name FROM full_s.t",
            "CREATE INDEX by_four ON full_s.t (four(a))",
        )
    run(made(2))
    execute(pipeline_database, "CREATE TABLE others (a bigint REFERENCES full_s.t)")  # in place
    run(made(3))
    for relation in ("names", *(["kept"] if is_by_path else [])):
        assert rows(pipeline_database, f"SELECT name FROM {relation}") == [("x3",)]
