"""Rows replaced in place: what hangs on a table stays, whoever owns it; others are not touched."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import Table, View, sql_query, table_properties
from data_pipeline.errors import DatabaseError, DataPipelineError
from data_pipeline_tests.io_manager.runs import execute, refusal, rows, run, table_asset, write
from data_pipeline_tests.plain_roles import PlainRoles


class Pipeline:
    """The table `s/t`, with the rows and properties of the moment."""

    def __init__(self, query: str = "", **properties: Any) -> None:
        self.query = query
        self.properties = properties

    def run(self, query: str, **properties: Any) -> None:
        write("t", Table(sql_query(query), **{**self.properties, **properties}))

    def refusal(self, query: str, **properties: Any) -> str:
        with pytest.raises(DataPipelineError) as caught:
            self.run(query, **properties)
        return str(caught.value)


def values(*items: str) -> str:
    return f"SELECT k, v FROM (VALUES {', '.join(items)}) AS x(k, v)"


@pytest.fixture
def analyst(roles: PlainRoles) -> str:
    """A role that may use the stage, and has a schema of its own."""
    name = roles.new("analyst")
    execute(roles.admin, f"CREATE SCHEMA own AUTHORIZATION {name}")
    return name


def let_read(roles: PlainRoles, analyst: str) -> None:
    owner = roles.engine(roles.owner)
    execute(owner, f"GRANT USAGE ON SCHEMA full_s TO {analyst}")
    execute(owner, f"GRANT SELECT, REFERENCES ON ALL TABLES IN SCHEMA full_s TO {analyst}")


HANGING: dict[str, Callable[[str], list[str]]] = {
    "view": lambda who: ["CREATE VIEW own.v AS SELECT * FROM full_s.t"],
    "view on a view": lambda who: [
        "CREATE VIEW own.u AS SELECT k, v FROM full_s.t",
        "CREATE VIEW own.v AS SELECT * FROM own.u",
    ],
    "function": lambda who: [
        "CREATE FUNCTION own.f(full_s.t) RETURNS int LANGUAGE sql AS 'SELECT $1.v'",
        "CREATE VIEW own.v AS SELECT k, own.f(t) AS v FROM full_s.t AS t",
    ],
    "table of its row type": lambda who: [
        "CREATE TABLE own.o (r full_s.t)",
        "CREATE VIEW own.v AS SELECT k, v FROM full_s.t",
    ],
    "foreign key": lambda who: [
        "CREATE TABLE own.c (k int REFERENCES full_s.t (k)); INSERT INTO own.c VALUES (2)",
        "CREATE VIEW own.v AS SELECT k, v FROM full_s.t",
    ],
}


def begin_anew(roles: PlainRoles, analyst: str) -> None:
    """Let there be no table, and nothing that the analyst has built on it."""
    execute(
        roles.admin,
        "DROP SCHEMA own CASCADE",
        "DROP TABLE IF EXISTS full_s.t CASCADE",
        f"CREATE SCHEMA own AUTHORIZATION {analyst}",
    )


def test_what_another_role_built_stays_and_the_commit_goes_through(
    roles: PlainRoles, analyst: str
) -> None:
    for kind, building in HANGING.items():
        begin_anew(roles, analyst)
        pipeline = Pipeline(primary_key="k")
        pipeline.run(values("(1, 1)", "(2, 2)", "(3, 3)"))
        let_read(roles, analyst)
        execute(roles.engine(analyst), *building(analyst))
        for _ in range(2):
            pipeline.run(values("(1, 10)", "(2, 2)", "(4, 4)"))
            found = rows(roles.engine(analyst), "SELECT k, v FROM own.v ORDER BY k")
            assert found == [(1, 10), (2, 2), (4, 4)], kind
        kept = rows(roles.engine(roles.owner), "SELECT k FROM full_s.t ORDER BY k")
        assert kept == [(1,), (2,), (4,)], kind


def test_a_publication_and_a_statistics_object_of_others_stay(
    roles: PlainRoles, analyst: str
) -> None:
    pipeline = Pipeline(primary_key="k")
    pipeline.run(values("(1, 1)", "(2, 2)"))
    let_read(roles, analyst)
    execute(
        roles.admin,
        "CREATE PUBLICATION of_others FOR TABLE full_s.t",
        "CREATE STATISTICS own.s ON k, v FROM full_s.t",
        f"ALTER STATISTICS own.s OWNER TO {analyst}",
    )
    pipeline.run(values("(1, 1)", "(2, 3)"))
    assert rows(roles.admin, "SELECT tablename FROM pg_publication_tables") == [("t",)]
    assert rows(roles.admin, "SELECT stxname FROM pg_statistic_ext") == [("s",)]
    assert rows(roles.admin, "SELECT v FROM full_s.t ORDER BY k") == [(1,), (3,)]


def test_columns_that_do_not_fit_are_refused_by_name(roles: PlainRoles, analyst: str) -> None:
    pipeline = Pipeline()
    pipeline.run(values("(1, 1)"))
    let_read(roles, analyst)
    execute(roles.engine(analyst), "CREATE VIEW own.v AS SELECT * FROM full_s.t")
    queries = {
        "SELECT 1 AS k, 'x'::text AS v": "column v is of type text, no longer integer",
        "SELECT 1 AS k": "column v is gone",
        "SELECT 1 AS k, 2 AS v, 3 AS w": "column w is new",
        "SELECT 2 AS v, 1 AS k": "column v has another place",
    }
    for query, column in queries.items():
        said = pipeline.refusal(query)
        assert "View own.v" in said, query
        assert f"belongs to role {analyst}" in said, query
        assert column in said, query
        assert rows(roles.admin, "SELECT k, v FROM own.v") == [(1, 1)], query


CHANGES = {
    "nothing": (["(1, 1)", "(2, 2)"], ["(1, 1)", "(2, 2)"]),
    "one row": (["(1, 1)", "(2, 2)"], ["(1, 1)", "(2, 9)"]),
    "all rows": (["(1, 1)", "(2, 2)"], ["(3, 1)", "(4, 2)"]),
    "to nothing": (["(1, 1)"], ["(1, 1) LIMIT 0"]),
    "from nothing": (["(1, 1) LIMIT 0"], ["(1, 1)"]),
    "NULL": (["(1, NULL)", "(2, 2)"], ["(1, 1)", "(2, NULL)"]),
}


def replace_rows(engine: sa.Engine, key: tuple[str, ...], change: str) -> None:
    """Make a table, and then other rows of it: those that are in both are not written again."""

    def query(items: list[str]) -> str:
        limit = " LIMIT 0" if items[-1].endswith("LIMIT 0") else ""
        items = [item.removesuffix(" LIMIT 0") for item in items]
        return f"SELECT k, v::int AS v FROM (VALUES {', '.join(items)}) AS x(k, v){limit}"

    before, after = CHANGES[change]
    pipeline = Pipeline(primary_key=key, replace="rows")
    pipeline.run(query(before))
    known = dict(rows(engine, "SELECT (k, v)::text, xmin::text FROM full_s.t"))
    oid = rows(engine, "SELECT 'full_s.t'::regclass::oid::bigint")
    pipeline.run(query(after))
    now = dict(rows(engine, "SELECT (k, v)::text, xmin::text FROM full_s.t"))
    wanted = rows(engine, f"SELECT (k, v)::text FROM ({query(after)}) q")
    case = f"{change}, key {key}"
    assert sorted(now) == sorted(text for (text,) in wanted), case
    assert oid == rows(engine, "SELECT 'full_s.t'::regclass::oid::bigint"), case
    assert {text: xmin for text, xmin in now.items() if text in known} == {
        text: xmin for text, xmin in known.items() if text in now
    }, case


def test_only_the_rows_that_differ_are_written(pipeline_database: sa.Engine) -> None:
    for key, change in product([(), ("k",)], CHANGES):
        execute(pipeline_database, "DROP TABLE IF EXISTS full_s.t")
        replace_rows(pipeline_database, key, change)


def test_rows_without_a_key_are_a_multiset_of_every_type(pipeline_database: sa.Engine) -> None:
    columns = (
        "SELECT n::numeric, j::json, p::point, b::bytea, i::interval, f::float8, z::text "
        "FROM (VALUES {}) AS v(n, j, p, b, i, f, z)"
    )
    row = "('{}', '{{\"a\": {}}}', '(1,2)', '\\x00', '{}', '{}', {})"
    first = [row.format("1.0", 1, "1 mon", "0", "'a'")] * 3 + [
        row.format("2", 2, "30 days", "NaN", "NULL")
    ]
    second = [row.format("1.00", 1, "1 mon", "0", "'a'"), first[0], first[0]] + [
        row.format("2", 2, "1 mon", "-0", "NULL")
    ] * 2
    pipeline = Pipeline(replace="rows")
    pipeline.run(columns.format(", ".join(first)))
    kept = rows(pipeline_database, "SELECT count(*) FROM full_s.t WHERE n::text = '1.0'")
    assert kept == [(3,)]
    pipeline.run(columns.format(", ".join(second)))
    found = rows(pipeline_database, "SELECT n::text, i::text, f::text FROM full_s.t")
    assert sorted(found) == sorted(
        [("1.00", "1 mon", "0")] + [("1.0", "1 mon", "0")] * 2 + [("2", "1 mon", "-0")] * 2
    )


@pytest.mark.parametrize("kind", ["numeric", "char(3)", "float8"])
def test_keys_that_are_equal_and_written_otherwise_become_the_new_ones(
    pipeline_database: sa.Engine, kind: str
) -> None:
    old, new = {"numeric": ("1.0", "1.00"), "char(3)": ("a", "a"), "float8": ("0", "-0")}[kind]
    pipeline = Pipeline(primary_key="k", replace="rows")
    pipeline.run(f"SELECT '{old}'::{kind} AS k, 1 AS v")
    pipeline.run(f"SELECT '{new}'::{kind} AS k, 2 AS v")
    assert rows(pipeline_database, "SELECT rtrim(k::text), v FROM full_s.t") == [(new, 2)]


def test_unique_values_may_be_exchanged(pipeline_database: sa.Engine) -> None:
    pipeline = Pipeline(primary_key="k", replace="rows")
    pipeline.run(values("(1, 1)", "(2, 2)"))
    execute(pipeline_database, "CREATE UNIQUE INDEX of_user ON full_s.t (v)")
    pipeline.run(values("(1, 2)", "(2, 1)"))
    assert rows(pipeline_database, "SELECT v FROM full_s.t ORDER BY k") == [(2,), (1,)]


def test_key_indexes_and_nullability_become_those_of_the_new_table(
    pipeline_database: sa.Engine,
) -> None:
    properties = """
        SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'full_s.t'::regclass
        UNION ALL SELECT attname || attnotnull::text FROM pg_attribute
        WHERE attrelid = 'full_s.t'::regclass AND attnum > 0 ORDER BY 1
    """
    versions = [
        {"primary_key": "k", "indexes": ["v"]},
        {"primary_key": "v", "indexes": [["k", "v"]], "nullable": {"k": False}},
        {"nullable": ["k"]},
        {"primary_key": ["k", "v"], "unlogged": True},
    ]
    found = {}
    for replace in ("table", "rows"):
        for number, version in enumerate(versions):
            query = values(f"(1, {number})", "(2, 7)")
            Pipeline(replace=replace).run(query, **version)
            found[replace, number] = (
                rows(pipeline_database, properties),
                rows(pipeline_database, "SELECT k, v FROM full_s.t ORDER BY k"),
            )
    for number in range(len(versions)):
        assert found["rows", number] == found["table", number]


GUARDS = {
    "CASCADE": "FOREIGN KEY (k) REFERENCES full_s.t (k) ON DELETE CASCADE",
    "SET NULL": "FOREIGN KEY (k) REFERENCES full_s.t (k) ON DELETE SET NULL",
    "SET DEFAULT": "FOREIGN KEY (k) REFERENCES full_s.t (k) ON DELETE SET DEFAULT",
    "NO ACTION": "FOREIGN KEY (k) REFERENCES full_s.t (k)",
    "RESTRICT": "FOREIGN KEY (k) REFERENCES full_s.t (k) ON DELETE RESTRICT",
}


def test_rows_of_others_that_refer_to_ours_are_never_touched(
    roles: PlainRoles, analyst: str
) -> None:
    for guard, constraint in GUARDS.items():
        begin_anew(roles, analyst)
        pipeline = Pipeline(primary_key="k")
        pipeline.run(values("(1, 1)", "(2, 2)"))
        let_read(roles, analyst)
        execute(
            roles.engine(analyst),
            f"CREATE TABLE own.c (k int, CONSTRAINT of_child {constraint})",
            "INSERT INTO own.c VALUES (2)",
        )
        assert "of_child" in pipeline.refusal(values("(1, 1)")), guard
        assert rows(roles.admin, "SELECT k FROM own.c") == [(2,)], guard
        assert rows(roles.admin, "SELECT k FROM full_s.t ORDER BY k") == [(1,), (2,)], guard
        pipeline.run(values("(1, 1)", "(2, 3)"))
        assert rows(roles.admin, "SELECT k FROM own.c") == [(2,)], guard


CHANGED = {
    "INSERT": ("(1, 1)", "(2, 2)", "(3, 3)"),
    "UPDATE": ("(1, 1)", "(2, 3)"),
    "DELETE": ("(1, 1)",),
}


def test_a_trigger_that_would_fire_is_refused(pipeline_database: sa.Engine) -> None:
    execute(
        pipeline_database,
        "CREATE TABLE public.log (what text)",
        "CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO public.log VALUES (TG_OP); RETURN NULL; END'",
    )
    for level, event in product(("ROW", "STATEMENT"), CHANGED):
        execute(pipeline_database, "DROP TABLE IF EXISTS full_s.t")
        pipeline = Pipeline(primary_key="k", replace="rows")
        pipeline.run(values("(1, 1)", "(2, 2)"))
        trigger = f"CREATE TRIGGER noting AFTER {event} ON full_s.t FOR EACH {level}"
        execute(pipeline_database, f"{trigger} EXECUTE FUNCTION public.note()")
        said = pipeline.refusal(values(*CHANGED[event]))
        assert "rigger noting on full_s.t would fire" in said, trigger
        others = next(items for name, items in CHANGED.items() if name != event)
        pipeline.run(values(*others))
        assert rows(pipeline_database, "SELECT * FROM public.log") == [], trigger


def test_a_rule_that_would_act_is_refused(pipeline_database: sa.Engine) -> None:
    pipeline = Pipeline(replace="rows")
    pipeline.run(values("(1, 1)"))
    execute(
        pipeline_database,
        "CREATE TABLE public.log (k int)",
        "CREATE RULE noting AS ON DELETE TO full_s.t DO ALSO INSERT INTO public.log VALUES (OLD.k)",
    )
    assert "ule noting on full_s.t" in pipeline.refusal(values("(2, 2)"))
    assert rows(pipeline_database, "SELECT * FROM public.log") == []


@pytest.mark.parametrize("of", ["TABLE full_s.t", "ALL TABLES"])
def test_a_published_table_without_replica_identity_is_refused(
    pipeline_database: sa.Engine, superuser: sa.Engine, of: str
) -> None:
    pipeline = Pipeline(replace="rows")
    pipeline.run(values("(1, 1)"))
    execute(superuser, f"CREATE PUBLICATION p FOR {of}")
    said = pipeline.refusal(values("(2, 2)"))
    assert "ublication p" in said
    assert "replica identity" in said
    execute(pipeline_database, "ALTER TABLE full_s.t REPLICA IDENTITY FULL")
    pipeline.run(values("(2, 2)"))
    assert rows(pipeline_database, "SELECT k FROM full_s.t") == [(2,)]


def test_an_older_snapshot_goes_on_seeing_the_old_rows(pipeline_database: sa.Engine) -> None:
    pipeline = Pipeline(primary_key="k", replace="rows")
    pipeline.run(values("(1, 1)", "(2, 2)"))
    with pipeline_database.connect().execution_options(isolation_level="SERIALIZABLE") as reader:
        reader.exec_driver_sql("SELECT 1")
        pipeline.run(values("(1, 5)"))
        found = reader.exec_driver_sql("SELECT k, v FROM full_s.t ORDER BY k").all()
    assert [tuple(row) for row in found] == [(1, 1), (2, 2)]
    assert rows(pipeline_database, "SELECT k, v FROM full_s.t") == [(1, 5)]


def test_columns_that_change_replace_the_table_as_a_whole(pipeline_database: sa.Engine) -> None:
    pipeline = Pipeline(replace="rows")
    pipeline.run(values("(1, 1)"))
    execute(pipeline_database, "CREATE VIEW public.v AS SELECT k FROM full_s.t")
    pipeline.run("SELECT 2 AS k, 'x' AS w")
    assert rows(pipeline_database, "SELECT * FROM full_s.t") == [(2, "x")]
    assert rows(pipeline_database, "SELECT * FROM public.v") == [(2,)]


def test_frames_and_declared_properties_take_part(pipeline_database: sa.Engine) -> None:
    def assets(*values: int) -> Any:
        frame = pd.DataFrame({"k": range(len(values)), "v": values})
        declared = table_properties(primary_key="k", replace="rows")
        return table_asset("t", lambda: frame, metadata=declared)

    run(assets(1, 2, 3))
    oid = rows(pipeline_database, "SELECT 'full_s.t'::regclass::oid::bigint")
    run(assets(1, 5))
    assert rows(pipeline_database, "SELECT 'full_s.t'::regclass::oid::bigint") == oid
    assert rows(pipeline_database, "SELECT v FROM full_s.t ORDER BY k") == [(1,), (5,)]


def test_a_materialized_view_is_filled_and_one_of_another_role_named(
    roles: PlainRoles, analyst: str, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = Pipeline(replace="rows")
    pipeline.run(values("(1, 1)"))
    let_read(roles, analyst)
    query = "AS SELECT v FROM full_s.t"
    execute(roles.engine(analyst), f"CREATE MATERIALIZED VIEW own.m {query}")
    execute(roles.engine(roles.owner), f"CREATE MATERIALIZED VIEW full_s.m {query}")
    pipeline.run(values("(1, 2)"))
    assert rows(roles.admin, "SELECT v FROM full_s.m") == [(2,)]
    assert rows(roles.admin, "SELECT v FROM own.m") == [(1,)]


def test_a_wrong_way_to_replace_is_refused() -> None:
    with pytest.raises(Exception, match=r'none of "table" .* and "rows"'):
        table_properties(replace="row")


def test_a_failed_replacement_leaves_everything(pipeline_database: sa.Engine) -> None:
    pipeline = Pipeline(replace="rows")
    pipeline.run(values("(1, 1)"))
    execute(pipeline_database, "ALTER TABLE full_s.t ADD CONSTRAINT small CHECK (v < 9)")
    with pytest.raises(DatabaseError, match="small"):
        pipeline.run(values("(2, 10)"))
    assert rows(pipeline_database, "SELECT k, v FROM full_s.t") == [(1, 1)]


UNIQUE = {
    "one column": ("u", "UNIQUE (u)"),
    "with the key": ("k, u", "UNIQUE (k, u)"),
}


def test_what_refers_to_unique_columns_is_not_touched_either(
    roles: PlainRoles, analyst: str
) -> None:
    def query(*values: str) -> str:
        return f"SELECT k, u FROM (VALUES {', '.join(values)}) AS x(k, u)"

    for unique, action in product(UNIQUE, ("CASCADE", "SET NULL", "SET DEFAULT")):
        case = f"{unique}, ON UPDATE {action}"
        begin_anew(roles, analyst)
        pipeline = Pipeline(primary_key="k")
        pipeline.run(query("(1, 10)", "(2, 20)"))
        columns, constraint = UNIQUE[unique]
        execute(roles.engine(roles.owner), f"ALTER TABLE full_s.t ADD {constraint}")
        let_read(roles, analyst)
        execute(
            roles.engine(analyst),
            f"CREATE TABLE own.c (k int, u int, CONSTRAINT of_child FOREIGN KEY ({columns}) "
            f"REFERENCES full_s.t ({columns}) ON UPDATE {action})",
            "INSERT INTO own.c VALUES (2, 20)",
        )
        said = pipeline.refusal(query("(1, 10)", "(2, 21)"))
        assert "of_child" in said, case
        assert analyst in said, case
        assert rows(roles.admin, "SELECT k, u FROM own.c") == [(2, 20)], case
        assert rows(roles.admin, "SELECT u FROM full_s.t ORDER BY k") == [(10,), (20,)], case
        pipeline.run(query("(1, 10)", "(2, 20)", "(3, 30)"))


@pytest.mark.parametrize("attached", ["partition", "heir"])
def test_a_table_stays_part_of_the_table_that_it_was_attached_to(
    pipeline_database: sa.Engine, attached: str
) -> None:
    pipeline = Pipeline()
    pipeline.run(values("(1, 1)"))
    attach = {
        "partition": "CREATE TABLE public.p (k int, v int) PARTITION BY LIST (k); "
        "ALTER TABLE public.p ATTACH PARTITION full_s.t DEFAULT",
        "heir": "CREATE TABLE public.p (k int, v int); ALTER TABLE full_s.t INHERIT public.p",
    }
    execute(pipeline_database, attach[attached])
    for number in (2, 3):
        pipeline.run(values(f"({number}, 1)"))
        assert rows(pipeline_database, "SELECT k FROM public.p") == [(number,)]
    said = pipeline.refusal("SELECT 1 AS k")
    assert "public.p" in said
    assert "column v is gone" in said


def test_a_view_of_others_that_needs_the_key_is_named_when_the_key_changes(
    roles: PlainRoles, analyst: str
) -> None:
    pipeline = Pipeline()
    pipeline.run(values("(1, 1)", "(2, 2)"), primary_key="k")
    let_read(roles, analyst)
    execute(roles.engine(analyst), "CREATE VIEW own.v AS SELECT k, v FROM full_s.t GROUP BY k")
    said = pipeline.refusal(values("(1, 1)", "(2, 3)"), primary_key="v")
    assert f"view own.v (role {analyst})" in said
    assert rows(roles.admin, "SELECT v FROM own.v ORDER BY k") == [(1,), (2,)]


def test_a_publication_that_leaves_out_the_key_is_named(pipeline_database: sa.Engine) -> None:
    if int(rows(pipeline_database, "SHOW server_version_num")[0][0]) < 150000:
        pytest.skip("before PostgreSQL 15, publications have no list of columns")
    pipeline = Pipeline(primary_key="k", replace="rows")
    pipeline.run(values("(1, 1)", "(2, 2)"))
    execute(pipeline_database, "CREATE PUBLICATION of_some FOR TABLE full_s.t (v)")
    said = pipeline.refusal(values("(1, 5)"))
    assert "publication of_some" in said


def test_an_own_view_that_cannot_change_names_its_column(roles: PlainRoles, analyst: str) -> None:
    def assets(*names: str) -> Any:
        columns = ", ".join(f"1 AS {name}" for name in names)
        return table_asset("w", lambda: View(sa.text(f"SELECT {columns}")))

    run(assets("a", "b"))
    let_read(roles, analyst)
    execute(roles.engine(analyst), "CREATE VIEW own.v AS SELECT a FROM full_s.w")
    run(assets("a", "b", "c"))
    said = str(refusal(assets("a", "c")))
    assert "View own.v" in said
    assert f"role {analyst}" in said
    assert "column b is gone" in said or "column c has another place" in said
