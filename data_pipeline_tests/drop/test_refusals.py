"""What somebody needs is not dropped, unless forced, and then it is said what goes along."""

import pytest
import sqlalchemy as sa

from data_pipeline_tests.drop.commands import built, built_with_blob, drop, refused, schemas
from data_pipeline_tests.io_manager.runs import execute, rows

BUILT_ON = {
    "view public.shown": "CREATE VIEW public.shown AS SELECT a FROM mini_s.t",
    "view public.again": "CREATE VIEW public.again AS SELECT a FROM public.shown",
    "materialized view public.copied": "CREATE MATERIALIZED VIEW public.copied AS "
    "SELECT a FROM mini_s.t",
    "view mini_s.beside": "CREATE VIEW mini_s.beside AS SELECT a FROM mini_s.t",
    "constraint u_a_fkey on table public.u": "ALTER TABLE mini_s.t ADD UNIQUE (a); "
    "CREATE TABLE public.u (a bigint REFERENCES mini_s.t (a))",
    "function public.counted()": "CREATE FUNCTION public.counted() RETURNS bigint "
    "BEGIN ATOMIC SELECT count(*) FROM mini_s.t; END",
    "function public.of(mini_s.t)": "CREATE FUNCTION public.of(mini_s.t) RETURNS bigint "
    "LANGUAGE sql AS 'SELECT 1::bigint'",
    "default value for column a of table public.numbered": "ALTER TABLE mini_s.t ADD own serial; "
    "CREATE TABLE public.numbered (a int DEFAULT nextval('mini_s.t_own_seq'))",
    "view public.rows": "CREATE VIEW public.rows AS SELECT count(*) FROM mini_catalog.tables",
}


def test_what_users_built_on_a_table_is_listed_and_goes_only_by_force(
    pipeline_database: sa.Engine,
) -> None:
    built("t", on="mini")
    execute(pipeline_database, *BUILT_ON.values())
    listed = "".join(f"  {text}\n" for text in sorted(BUILT_ON))
    for arguments in ([], ["--yes"]):
        text = refused("mini", *arguments)
        assert f"built on it by others:\n{listed}" in text
        assert "Others need what would be dropped of instance `mini`" in text
    assert rows(pipeline_database, "SELECT a FROM public.again ORDER BY 1") == [(1,), (2,)]
    assert f"built on it by others:\n{listed}" in drop("mini", "--force", "--yes")
    assert schemas(pipeline_database) == set()
    assert rows(pipeline_database, "SELECT to_regclass('public.shown')") == [(None,)]
    assert rows(pipeline_database, "SELECT count(*) FROM public.u") == [(0,)]


@pytest.mark.usefixtures("quickstart")
def test_a_view_of_another_stage_is_forgotten_when_it_goes_along(
    pipeline_database: sa.Engine,
) -> None:
    assert "  view full_stage_1.dfa\n" in refused("full", "--stage", "raw", "--yes")
    drop("full", "--stage", "raw", "--yes", "--force")
    left = "SELECT stage, name FROM full_catalog.tables ORDER BY 1, 2"
    assert rows(pipeline_database, left) == [("stage_1", "a2"), ("stage_2", "b2")]


@pytest.mark.usefixtures("quickstart")
def test_what_another_instance_copies_by_its_configuration(pipeline_database: sa.Engine) -> None:
    text = refused("full", "--yes")
    for name in ("midi", "mini"):
        assert f"instance `{name}` copies from stage `raw` (copy_source in the conf" in text
    assert "instances that copy from it fail until it is built again" in text
    assert "full_raw" in schemas(pipeline_database)
    # Nobody copies from this one.
    drop("full", "--stage", "stage_2", "--yes")
    assert "full_stage_2" not in schemas(pipeline_database)


def test_what_an_instance_of_another_user_has_read(pipeline_database: sa.Engine) -> None:
    built("t", "u", on="midi")
    execute(
        pipeline_database,
        "CREATE SCHEMA mini_bob_catalog; CREATE TABLE mini_bob_catalog.tables AS "
        "TABLE midi_catalog.tables; UPDATE mini_bob_catalog.tables "
        """SET inputs = '{"midi/s/t": "1", "midi_fresh/s/u": "1", "midi/s2/t": "1"}'""",
        "UPDATE midi_catalog.tables SET committed_at = '2020-01-01' WHERE name = 'u'",
    )
    told = "instance id `mini_bob` reads `midi/s/t` (its catalog mini_bob_catalog)"
    for arguments in ([], ["--stage", "s"]):
        text = refused("midi", "--yes", *arguments)
        assert "s2" not in text
        assert f"needed by others:\n  {told}\n" in text
    # It has not read what is old.
    drop("midi", "--older-than", "1d", "--yes")
    assert rows(pipeline_database, "SELECT name FROM midi_catalog.tables") == [("t",)]
    drop("midi", "--yes", "--force")
    assert schemas(pipeline_database) == {"mini_bob_catalog"}


def test_an_instance_at_work_is_not_dropped_even_by_force(pipeline_database: sa.Engine) -> None:
    built_with_blob("t", on="mini")
    execute(
        pipeline_database,
        "INSERT INTO mini_catalog.runs (run_id, username, host, started_at, stages) "
        "SELECT name, 'u', 'h', now(), '[]' FROM unnest(ARRAY['dead', 'alive']) name",
    )
    with pipeline_database.connect() as session:
        session.execute(lock("data_pipeline:run:alive"))
        text = refused("mini", "--yes", "--force")
    refusal = (
        "Nothing of instance `mini` is dropped while it is at work: run alive of u on h (since"
    )
    assert refusal in text
    assert "mini_s" in schemas(pipeline_database)
    drop("mini", "--yes")
    assert schemas(pipeline_database) == set()


def test_a_stage_at_work_is_not_dropped(pipeline_database: sa.Engine) -> None:
    built_with_blob("t", on="mini")
    with pipeline_database.connect() as session:
        session.execute(lock("data_pipeline:stage:mini_s"))
        pid = session.scalar(sa.select(sa.func.pg_backend_pid()))
        text = refused("mini", "--yes", "--force")
    assert f"Stage `s` of instance `mini` is not dropped, since session {pid} (" in text
    assert "is at work on it. Wait for its end, or end it." in text
    assert "mini_s" in schemas(pipeline_database)


def lock(name: str) -> sa.Select[tuple[None]]:
    return sa.select(sa.func.pg_advisory_lock(sa.func.hashtextextended(name, 0)))


@pytest.mark.usefixtures("quickstart")
def test_a_refusal_comes_with_the_list_of_what_there_is() -> None:
    assert "table a2, 4 rows" in refused("full")
