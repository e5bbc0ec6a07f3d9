"""What a new table has not in common with the one that it replaces, as far as that is cheap."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, quoted
from data_pipeline.database.lock_waiting import LOCK_NOT_AVAILABLE
from data_pipeline.database.row_hash import differs
from data_pipeline.instances import project
from data_pipeline.store.catalog import CatalogRow

KEY = "compared with before"

_UNDEFINED_TABLE = "42P01"
_LOCK_MILLISECONDS = 100
_MOST_ROWS = 50_000
"""Up to so many rows are looked at; `data-pipeline diff` looks at any number."""


def replaced_metadata(
    session: sa.Connection,
    instance: str,
    row: CatalogRow,
    relations: tuple[RelationName, RelationName],
    columns: Sequence[dg.TableColumn],
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what the web UI shows of a table that replaces another one.

    Args:
        session: A session.
        instance: The name of the instance.
        row: What the catalog will say of the new table.
        relations: Where the earlier and the new table are.
        columns: The columns of the new one.
        before: What is known of the earlier one: `row_count`, `data_version`, `columns` with their
            types, `primary_key`.
    """
    if before is None or before["columns"] is None:
        return {}
    if before["data_version"] == row.data_version:
        return {KEY: "the same rows"}
    old = dict(before["columns"])
    new = {column.name: column.type for column in columns}
    lines = [f"rows: {_counted(before['row_count'])} → {_counted(row.row_count)}"]
    listed = {
        "new columns": [name for name in new if name not in old],
        "columns gone": [name for name in old if name not in new],
        "other types": [name for name in new if name in old and old[name] != new[name]],
    }
    lines += [f"{what}: {', '.join(names)}" for what, names in listed.items() if names]
    key = row.declared.primary_key
    sizes = (before["row_count"], row.row_count)
    is_small = all(size is not None and size <= _MOST_ROWS for size in sizes)
    if old == new and key and is_small and list(key) == before["primary_key"]:
        lines.append(_rows(session, relations, key, [*new]))
    else:
        again = project.command("diff", instance)
        lines.append(f"which rows changed: `{again}`")
    return {KEY: dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))}


def _rows(
    session: sa.Connection,
    relations: tuple[RelationName, RelationName],
    key: Sequence[str],
    columns: Sequence[str],
) -> str:
    same = " AND ".join(f"o.{quoted(name)} = n.{quoted(name)}" for name in key)
    first = quoted(key[0])
    query = (
        f"SELECT count(*) FILTER (WHERE o.{first} IS NULL), "
        f"count(*) FILTER (WHERE n.{first} IS NULL), count(*) FILTER (WHERE o.{first} IS NOT NULL "
        f"AND n.{first} IS NOT NULL AND {differs(columns, 'o', 'n')}) "
        f"FROM {relations[0].quoted} AS o FULL JOIN {relations[1].quoted} AS n ON {same}"
    )
    # Nobody who holds the earlier table keeps the new one from being built.
    setting = f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}"
    try:
        added, removed, changed = run(session, f"{setting}; {query}").one()
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "pgcode", None) not in (LOCK_NOT_AVAILABLE, _UNDEFINED_TABLE):
            raise
        return "which rows changed is not known: somebody has locked, or dropped, the earlier table"
    total = f"{added:,} added, {removed:,} removed, {changed:,} changed"
    return f"rows that differ in any byte: {total}"


def _counted(rows: int | None) -> str:
    return "?" if rows is None else f"{rows:,}"
