"""What the last run of an instance replaced, as the catalog keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from data_pipeline.database.identifiers import StageTable
from data_pipeline.store import catalog
from data_pipeline.store.catalog import CatalogRow

LAST_RUN = "last_run"

KEPT = (
    "stage",
    "name",
    "kind",
    "data_version",
    "location",
    "cache_key",
    "code_version",
    "inputs",
    "relation",
    "row_count",
    "bytes",
    "run_id",
)
"""What is known of a result after another one has taken its place."""


@dataclass(frozen=True)
class Replacement:
    """The last commit of a table or blob.

    Attributes:
        by: The run that committed it.
        earlier: What was there before; None where nothing was.
    """

    by: str
    earlier: CatalogRow | None


def replacements(connection: sa.Connection, schema: str) -> dict[StageTable, Replacement]:
    """Return the last commit of each table and blob; of those before version 3 nothing is known."""
    if not catalog.is_readable(connection, schema):
        return {}
    table = sa.table(
        catalog.TABLES,
        sa.column("stage", sa.Text()),
        sa.column("name", sa.Text()),
        sa.column("replaced", JSONB()),
        schema=schema,
    )
    query = sa.select(table).where(table.c.replaced.is_not(None))
    return {
        StageTable(item.stage, item.name): Replacement(
            item.replaced["by"], _earlier(item.replaced.get("earlier"))
        )
        for item in connection.execute(query)
    }


def _earlier(kept: Mapping[str, Any] | None) -> CatalogRow | None:
    return (
        None
        if kept is None
        else CatalogRow(
            **{**kept, "inputs": kept["inputs"] or {}, "relation": kept.get("relation") or {}}
        )
    )


def last_run(
    connection: sa.Connection, schema: str, rows: Mapping[StageTable, CatalogRow]
) -> str | None:
    """Return the run that ended last, or has committed since; None where that is not known.

    Args:
        connection: A connection.
        schema: The catalog, which must be there.
        rows: Its rows.
    """
    target = _last_run(schema)
    ended = connection.execute(sa.select(target.c.run_id, target.c.ended_at)).one_or_none()
    known = replacements(connection, schema)
    times = {
        table: row.committed_at
        for table, row in rows.items()
        if table in known
        and row.committed_at is not None
        # A commit writes the rows of views anew that show its tables, whoever committed the views.
        and not (row.kind == "view" and row.location)
    }
    newest = max(times, key=lambda table: times[table], default=None)
    if ended and (newest is None or ended.ended_at >= times[newest]):
        return str(ended.run_id)
    return None if newest is None else known[newest].by


def note_end(connection: sa.Connection, schema: str, run_id: str) -> None:
    """Note that a run has ended, whether or not it made anything."""
    values = {"run_id": run_id, "ended_at": sa.func.clock_timestamp()}
    statement = insert(_last_run(schema)).values(is_last=True, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["is_last"], set_=values))


def _last_run(schema: str) -> sa.TableClause:
    return sa.table(
        LAST_RUN,
        sa.column("is_last", sa.Boolean()),
        sa.column("run_id", sa.Text()),
        sa.column("ended_at", sa.DateTime(timezone=True)),
        schema=schema,
    )
