"""The data version of a table that was built anew: the earlier one where its rows are the same.

What was computed from the earlier rows then need not be computed again. The limit of size is
`cache_validation.content_hash_max_bytes` (default in `instances/settings.py`).

Of small tables the hash is always taken: it also tells, later, whether the rows are still these.
"""

from dataclasses import replace

import sqlalchemy as sa

from data_pipeline.instances import Instance
from data_pipeline.tables import catalog
from data_pipeline.tables.catalog import CatalogRow, fingerprint
from data_pipeline.tables.connection import Database
from data_pipeline.tables.names import RelationName
from data_pipeline.tables.relation_state import SMALL_PAGES, verdict_on
from data_pipeline.tables.row_hash import row_hash
from data_pipeline.tables.staging import relation_of as staged
from data_pipeline.tables.visible import committed

_PAGE_BYTES = 8192
_NO_RIGHT = "42501"  # insufficient_privilege, which a policy for rows gives too


def with_earned_version(
    database: Database, instance: Instance, row: CatalogRow, *, forced: bool
) -> CatalogRow:
    """Return the row of a staged table with the data version that its rows deserve.

    Rows that may be others than before never keep the version, also if query and inputs are the
    same: where somebody distrusts the cache, or has changed the earlier rows by hand. (Steps read
    small tables with a look at every row, so nothing was computed from changed rows of these.)

    Args:
        database: The database of the instance.
        instance: The instance.
        row: The row, with the version that follows from content or provenance.
        forced: Whether the run was told to build it whatever is known.
    """
    with database.begin() as connection:
        if (row.bytes or 0) <= min(SMALL_PAGES * _PAGE_BYTES, _limit(instance)):
            row = replace(row, content_hash=_hash(connection, staged(instance, row.table)))
        before = catalog.row(connection, instance.catalog_schema, row.table)
        if before is None or before.kind != "table":
            return row
        relation = committed(instance, row.table)
        verdict = verdict_on(connection, relation, before)
        is_doubted = (forced and row.checksum is None) or (
            verdict.change is not None and verdict.is_large
        )
        has_same_version = row.data_version == before.data_version
        if has_same_version and not is_doubted:
            return row
        if _is_comparable(instance, row, before):
            if row.content_hash is None:
                row = replace(row, content_hash=_hash(connection, staged(instance, row.table)))
            old = before.content_hash
            if old is None and verdict.is_intact:
                old = _hash(connection, relation)
            if old is not None and old == row.content_hash:
                return replace(row, data_version=before.data_version)
    if has_same_version:
        return replace(row, data_version=fingerprint("again-1", row.data_version, row.run_id))
    return row


def _is_comparable(instance: Instance, row: CatalogRow, before: CatalogRow) -> bool:
    size = max(row.bytes or 0, before.bytes or 0)
    return (
        # Two frames have been compared already, by their checksums.
        (row.checksum is None or before.checksum is None)
        and row.row_count == before.row_count
        and row.relation.get("columns") == before.relation.get("columns")
        and size <= _limit(instance)
    )


def _limit(instance: Instance) -> int:
    return instance.cache_validation.content_hash_max_bytes


def _hash(connection: sa.Connection, relation: RelationName) -> str | None:
    """Return the hash of a table's rows; None where it cannot be read."""
    try:
        with connection.begin_nested():
            return row_hash(connection, relation)
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != _NO_RIGHT:
            raise
        return None
