"""What it costs to know a table by its rows, over creating it by a query."""

from collections.abc import Iterator

from benchmarks.measure import Comparison, compare
from data_pipeline.database.connection import database, run
from data_pipeline.database.identifiers import RelationName
from data_pipeline.database.row_hash import row_hash
from data_pipeline.instances import Instance
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.changed_by_hand import read_states, remembered, verdict_on

_ROWS = 2_000_000
_QUERY = f"""
SELECT i AS a, i % 100 AS b, 'text ' || i AS c, i / 7.0::float8 AS d,
       (i * 1.5)::numeric(12, 2) AS e,
       timestamptz '2020-01-01' + i * interval '1 s' AS f
FROM generate_series(1, {_ROWS}) i
"""
_SOURCE, _MADE = RelationName("public", "source"), RelationName("public", "made")


def comparisons(instance: Instance) -> Iterator[Comparison]:
    """Measures the hash of all rows, and the look at who wrote each."""
    with database(instance).begin() as connection:
        run(connection, f"CREATE TABLE {_SOURCE} AS {_QUERY}; ANALYZE {_SOURCE}")
        run(connection, f"CREATE TABLE {_MADE} AS TABLE {_SOURCE}; ANALYZE {_MADE}")
        state = read_states(connection, [_MADE])[_MADE] or {}
        writer = run(connection, f"SELECT xmin::text FROM {_MADE} LIMIT 1").scalar_one()
    # Counters that say nothing, so that each row is looked at.
    known = {**remembered(state, writer=writer), "inserted": -1}
    rows = iter(range(10**6))

    def create() -> None:
        with database(instance).begin() as connection:
            run(connection, f"DROP TABLE IF EXISTS again; CREATE TABLE again AS TABLE {_SOURCE}")

    def hash_rows() -> None:
        with database(instance).begin() as connection:
            row_hash(connection, _MADE)

    def look_at_rows() -> None:
        version = f"another version each time {next(rows)}"
        row = CatalogRow("s", "t", "table", version, relation=known, row_count=_ROWS)
        with database(instance).begin() as connection:
            assert verdict_on(connection, _MADE, row).is_intact

    over = f"of {_ROWS:,} x 6 rows over CREATE TABLE AS"
    yield compare(f"hash {over}", hash_rows, create, goal="1 x")
    yield compare(f"who wrote each {over}", look_at_rows, create, goal="0.25 x")
    with database(instance).begin() as connection:
        run(connection, f"DROP TABLE again, {_SOURCE}, {_MADE}")
