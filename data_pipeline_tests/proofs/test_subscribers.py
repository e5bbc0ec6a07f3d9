"""A subscriber of logical replication follows the commits, stage by stage and never in a mix."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import by_hand, rows, wait_until
from data_pipeline_tests.proofs.commits import COMMITS, commit_stages
from data_pipeline_tests.proofs.test_readers import RALLY, Reader
from data_pipeline_tests.proofs.world import World

# As those of `test_readers`, of tables alone: no view is replicated.
RAW = """
SELECT DISTINCT c.generation, o.generation
FROM full_raw.customers c JOIN full_raw.orders o ON o.customer = c.id
"""
SHOP = """
SELECT DISTINCT t.generation, l.generation, r.generation, s.generation
FROM full_shop.totals t JOIN full_shop.large l ON l.customer = t.id
JOIN full_shop.ranks r ON r.id = t.id CROSS JOIN full_shop.summary s
"""
TABLES = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname IN ('full_raw', 'full_inputs', 'full_shop', 'full_ping', 'full_pong')
"""


@pytest.fixture
def published(tmp_path: Path) -> Iterator[World]:
    """A world whose server publishes all tables of `full`."""
    world = World(tmp_path / "world", None)
    try:
        by_hand(world.engine, "ALTER SYSTEM SET wal_level = logical")
        by_hand(world.engine, "ALTER SYSTEM SET max_wal_senders = 4")
        world.server.stop()
        world.succeed(1)
        for (table,) in world.rows(TABLES):
            world.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
        listed = ", ".join(table for (table,) in world.rows(TABLES))
        world.execute(f"CREATE PUBLICATION of_full FOR TABLE {listed}")
        yield world
    finally:
        world.end()


@pytest.fixture
def subscriber(published: World) -> Iterator[sa.Engine]:
    """Another database, which follows."""
    by_hand(published.engine, "CREATE DATABASE subscriber")
    url = published.engine.url.set(database="subscriber")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    columns = """
        SELECT format('CREATE TABLE %I.%I (%s)', n.nspname, relname,
                      string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', '
                                 ORDER BY attnum))
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        JOIN pg_namespace n ON n.oid = relnamespace
        WHERE attnum > 0 AND c.relkind = 'r' AND n.nspname LIKE 'full\\_%' GROUP BY 1, relname
    """.replace("GROUP BY 1,", "GROUP BY n.nspname,")
    schemas = published.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'full\\_%'")
    by_hand(engine, *(f"CREATE SCHEMA {name}" for (name,) in schemas))
    by_hand(engine, *(statement for (statement,) in published.rows(columns)))
    # A subscription to the same server hangs on a slot that it makes itself.
    by_hand(published.engine, "SELECT pg_create_logical_replication_slot('of_full', 'pgoutput')")
    origin = published.engine.url
    address = (
        f"host={origin.host} port={origin.port} user={origin.username} "
        f"password={origin.password} dbname={origin.database}"
    )
    by_hand(
        engine,
        f"CREATE SUBSCRIPTION of_full CONNECTION '{address}' PUBLICATION of_full "
        "WITH (create_slot = false, slot_name = of_full)",
    )
    yield engine
    by_hand(
        engine,
        "ALTER SUBSCRIPTION of_full DISABLE",
        "ALTER SUBSCRIPTION of_full SET (slot_name = NONE)",
        "DROP SUBSCRIPTION of_full",
    )


@pytest.mark.parametrize("wanted", COMMITS)
def test_a_subscriber_follows_rows_that_are_replaced_in_place(
    published: World, subscriber: sa.Engine, wanted: int
) -> None:
    def follows(generation: int) -> bool:
        found = [rows(subscriber, query) for query in (RAW, SHOP, RALLY)]
        return all(found) and {g for [row] in found for g in row} == {generation}

    wait_until(lambda: follows(1))
    reader = Reader(subscriber.url, queries=(RAW, SHOP, RALLY))
    reader.start()
    try:
        for generation in commit_stages(published, wanted, "rows"):
            wait_until(lambda: follows(generation))  # noqa: B023 - asked at once
    finally:
        reader.end()
    assert not reader.wrong, reader.wrong[:3]


def test_a_subscriber_keeps_what_it_has_of_a_table_that_is_replaced_as_a_whole(
    published: World, subscriber: sa.Engine
) -> None:
    """Another table has taken the place, of which a subscription has to be made anew."""
    count = "SELECT count(*), min(generation), max(generation) FROM full_ping.serve"
    wait_until(lambda: rows(subscriber, count)[0][1:] == (1, 1))
    known = rows(subscriber, count)
    listed = published.rows("SELECT tablename FROM pg_publication_tables ORDER BY 1")
    published.succeed(2)
    assert published.rows("SELECT tablename FROM pg_publication_tables ORDER BY 1") == listed
    # What is published afterwards arrives: so nothing of the commit is still on its way.
    published.execute("CREATE TABLE public.mark (a int); ALTER PUBLICATION of_full ADD TABLE mark")
    by_hand(subscriber, "CREATE TABLE public.mark (a int)")
    by_hand(subscriber, "ALTER SUBSCRIPTION of_full REFRESH PUBLICATION")
    published.execute("INSERT INTO public.mark VALUES (1)")
    wait_until(lambda: rows(subscriber, "SELECT a FROM public.mark") == [(1,)])
    assert rows(subscriber, count) == known
