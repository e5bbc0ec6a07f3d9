"""A policy on a committed table fails the runs that read it, and leaves what is there as it is."""

import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import by_hand, execute, rows
from data_pipeline_tests.memo.world import World


def test_a_run_that_policies_would_thin_fails_and_the_next_one_reads_all(
    world: World, superuser: sa.Engine, owner: str
) -> None:
    count = "SELECT count(*) FROM full_stage_2.query"
    assert world.run().success
    execute(
        superuser,
        "ALTER TABLE full_stage_1.b ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE full_stage_1.b FORCE ROW LEVEL SECURITY",
        "CREATE POLICY few ON full_stage_1.b USING (k < 2)",
    )
    assert world.run().steps == set()
    world.state["versions"] |= {"c": "2", "query": "2"}
    world.state["sql"] = "SELECT v, k FROM {b}"
    for _ in range(2):
        failed = world.run()
        assert not failed.success
        assert not world.calls
        told = f"(policy `few`) would hide rows from the database role `{owner}`"
        assert told in str(failed.events)
        assert rows(superuser, count) == [(3,)]
    execute(superuser, "ALTER TABLE full_stage_1.b DISABLE ROW LEVEL SECURITY")
    assert world.run().success
    assert rows(superuser, count) == [(3,)]
    assert world.run().steps == set()


def test_a_table_that_is_made_anew_keeps_its_policies_and_all_rows(
    world: World, superuser: sa.Engine, owner: str
) -> None:
    assert world.run().success
    execute(
        superuser,
        "ALTER TABLE full_stage_2.query ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE full_stage_2.query FORCE ROW LEVEL SECURITY",
        "CREATE POLICY few ON full_stage_2.query USING (k < 2)",
    )
    world.state["source"] = 5
    assert world.run().success
    found = rows(superuser, "SELECT DISTINCT count(*), min(v) FROM full_stage_2.query")
    assert found == [(3, 10)]
    execute(superuser, f"GRANT {owner} TO CURRENT_USER")
    with superuser.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL ROLE {owner}")
        assert connection.exec_driver_sql("SELECT count(*) FROM full_stage_2.query").all() == [(1,)]


def test_hidden_rows_that_may_have_changed_are_made_anew_without_a_look(
    world: World, superuser: sa.Engine, owner: str
) -> None:
    assert world.run().success
    by_hand(
        superuser,
        "ALTER TABLE full_stage_2.query ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE full_stage_2.query FORCE ROW LEVEL SECURITY",
        "UPDATE full_stage_2.query SET v = 0",
    )
    assert world.run().success
    assert "rows of `stage_2/query` are hidden by row security" in world.last.log
    assert world.calls == {"query": 1}
    assert rows(superuser, "SELECT DISTINCT v FROM full_stage_2.query") == [(2,)]
