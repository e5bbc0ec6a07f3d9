"""A database in which runs are held up where a test says, and what is committed in it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import execute, rows

SETUP = (
    "CREATE TABLE public.held (name text)",
    """
    CREATE FUNCTION public.hold(place text) RETURNS boolean LANGUAGE sql STABLE AS
    $$ SELECT coalesce(bool_and(pg_sleep(600) IS NOT NULL), true) FROM public.held
       WHERE name = place $$
    """,
    "CREATE DOMAIN public.held_up AS bigint CHECK (public.hold('load'))",
)
STAGES = ("inputs", "queries", "loads", "reads")


class Held:
    """The database, with connections of somebody who is no run."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        execute(engine, *SETUP)

    @contextmanager
    def at(self, place: str) -> Iterator[Callable[[str], bool]]:
        """Hold up whoever comes to a place; yield whether somebody is there, given the log."""
        statement, is_there = {
            "another run": (
                "SELECT pg_advisory_lock(hashtextextended('data_pipeline:stage:full_loads', 0))",
                lambda log: "Waiting for session" in log,
            ),
            "a reader": (
                "SELECT * FROM full_queries.queried",
                lambda log: "Waiting to commit stage `queries`" in log,
            ),
            "the catalog": (
                "LOCK TABLE full_catalog.tables",
                lambda _: self._is_there("wait_event_type = 'Lock' AND wait_event = 'relation'"),
            ),
        }.get(place, ("SELECT", lambda _: self.is_asleep()))
        execute(self.engine, f"INSERT INTO public.held VALUES ('{place}')")
        with self.engine.connect() as holder:
            holder.exec_driver_sql(statement)
            yield is_there
            holder.exec_driver_sql("SELECT")  # it still is there
        execute(self.engine, "DELETE FROM public.held")

    def is_asleep(self) -> bool:
        """Whether a session is held up in a statement."""
        return self._is_there("wait_event = 'PgSleep'")

    def has_waiting(self) -> bool:
        """Whether a session waits for the lock of a stage."""
        return self._is_there("wait_event_type = 'Lock' AND wait_event = 'advisory'")

    def _is_there(self, condition: str) -> bool:
        query = f"""
        SELECT count(*) > 0 FROM pg_stat_activity
        WHERE datname = current_database() AND {condition}
        """
        return bool(rows(self.engine, query)[0][0])

    def generations(self, instance: str) -> dict[str, set[int]]:
        """Return the generations of all tables of an instance that are committed."""
        query = f"""
        SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n
        ON n.oid = c.relnamespace WHERE n.nspname = ANY (ARRAY{[f"{instance}_{s}" for s in STAGES]})
        AND c.relkind = 'r'
        """
        return {
            name: {n for (n,) in rows(self.engine, f"SELECT DISTINCT generation FROM {name}")}
            for (name,) in rows(self.engine, query)
        }
