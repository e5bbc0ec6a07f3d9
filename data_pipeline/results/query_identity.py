"""The identity of what is made by a query: of its data, and of the table that it becomes.

Whoever asks whether a table is there already as a query would make it must come to the same keys as
those who store it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import transaction
from data_pipeline.database.identifiers import RelationName
from data_pipeline.database.row_hash import row_hash, row_hash_alone
from data_pipeline.instances import Instance
from data_pipeline.store import catalog
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.changed_by_hand import SMALL_PAGES, verdict_on
from data_pipeline.store.lookup import committed
from data_pipeline.store.staging import relation_of as staged
from data_pipeline.transfer.stable_hash import fingerprint

Inputs = Mapping[str, str | None]


def source_with_settings(source: str | None, settings: Mapping[str, str]) -> str | None:
    """Return what a query sees besides its text and inputs: source and settings of sessions."""
    # Without settings, versions stay what they were before these counted.
    return fingerprint(source, dict(settings)) if settings else source


@dataclass(frozen=True)
class QueryIdentity:
    """The identity of what is made by a query.

    Attributes:
        data_version: Identity of its data, for as long as its content is not looked at.
        query_key: Identity of data and properties; None where they may be others next time.
    """

    data_version: str
    query_key: str | None

    @classmethod
    def of_table(
        cls,
        query: str,
        inputs: Inputs,
        properties: Mapping[str, Any],
        *,
        source: str | None = None,
        run_id: str | None = None,
    ) -> "QueryIdentity":
        """Return the identity of a table.

        Args:
            query: The SQL, with the names of committed tables.
            inputs: Data version of each input, None where it is not known.
            properties: The properties of the table, as JSON.
            source: The fingerprint of the source outside that the query reads.
            run_id: The run, where the data may be new in every one.
        """
        sources = [item for item in (source, run_id) if item is not None]
        version = fingerprint("query-1", query, inputs, properties["types"], *sources)
        # How it is committed makes no other table of it.
        made = {
            name: value for name, value in properties.items() if name not in ("replace", "columns")
        }
        return cls(version, None if run_id else fingerprint(version, made))

    @classmethod
    def of_query_view(
        cls, query: str, inputs: Inputs, *, source: str | None = None, run_id: str | None = None
    ) -> "QueryIdentity":
        """Return the identity of a view of a query; arguments as in `of_table`."""
        sources = [item for item in (source, run_id) if item is not None]
        version = fingerprint("query-view-1", query, inputs, *sources)
        return cls(version, None if run_id else version)

    @classmethod
    def of_view(
        cls,
        location: str,
        behind: str | None,
        *,
        source: str | None = None,
        run_id: str | None = None,
    ) -> "QueryIdentity":
        """Return the identity of a view that shows another relation under its name.

        Args:
            location: The relation.
            behind: The data version of what it shows; None where that is no table of a pipeline.
            source: The fingerprint of the source outside that it shows.
            run_id: The run, where the data may be new in every one.
        """
        shown = fingerprint("view-1", location)
        sources = [item for item in (source, run_id) if item is not None]
        version = behind or shown
        if sources:
            version = fingerprint("view-1", version, *sources)
        key = fingerprint("view-1", location, *sources) if sources else shown
        return cls(version, None if run_id else key)


_PAGE_BYTES = 8192
_NO_RIGHT = "42501"  # insufficient_privilege, which a policy for rows gives too


def with_earned_version(
    session: sa.Connection,
    instance: Instance,
    row: CatalogRow,
    columns: Sequence[str],
    *,
    is_first: bool,
    forced: bool,
) -> CatalogRow:
    """Return the row of a staged table with the data version that its rows deserve.

    Rows that may be others than before never keep the version, also if query and inputs are the
    same: where somebody distrusts the cache, or has changed the earlier rows by hand. (Steps read
    small tables with a look at every row, so nothing was computed from changed rows of these.)

    Args:
        session: A session that commits each statement by itself.
        instance: The instance.
        row: The row, with the version that follows from content or provenance.
        columns: The names of its columns.
        is_first: Whether there is no committed one.
        forced: Whether the run was told to build it whatever is known.
    """
    is_small = (row.bytes or 0) <= min(SMALL_PAGES * _PAGE_BYTES, _limit(instance))
    if is_small:
        with _if_readable():
            found = row_hash_alone(session, staged(instance, row.table), columns)
            row = replace(row, content_hash=found)
    if is_first:
        return row
    before = catalog.row_in(session, instance.catalog_schema, row.table)
    if before is None or before.kind != "table":
        return row
    has_same_version = row.data_version == before.data_version
    is_comparable = _is_comparable(instance, row, before)
    if not has_same_version and not is_comparable:
        return row
    with transaction(session):
        relation = committed(instance, row.table)
        verdict = verdict_on(session, relation, before)
        is_doubted = (forced and row.checksum is None) or (
            verdict.change is not None and verdict.is_large
        )
        if has_same_version and not is_doubted:
            return row
        if is_comparable:
            if row.content_hash is None:
                row = replace(row, content_hash=_hash(session, staged(instance, row.table)))
            old = before.content_hash
            if old is None and verdict.is_intact:
                old = _hash(session, relation)
            if old is not None and old == row.content_hash:
                return replace(row, data_version=before.data_version)
    if has_same_version:
        return replace(row, data_version=fingerprint("again-1", row.data_version, row.run_id))
    return row


def _is_comparable(instance: Instance, row: CatalogRow, before: CatalogRow) -> bool:
    size = max(row.bytes or 0, before.bytes or 0)
    hashes = row.content_hash, before.content_hash
    return (
        # Two frames have been compared already, by their checksums.
        (row.checksum is None or before.checksum is None)
        and row.row_count == before.row_count
        and row.relation.get("columns") == before.relation.get("columns")
        and size <= _limit(instance)
        # Rows that are known to differ need no other look.
        and (None in hashes or hashes[0] == hashes[1])
    )


def _limit(instance: Instance) -> int:
    return instance.cache_validation.content_hash_max_bytes


def _hash(connection: sa.Connection, relation: RelationName) -> str | None:
    """Return the hash of a table's rows, within a transaction; None where it cannot be read."""
    with _if_readable(), connection.begin_nested():
        return row_hash(connection, relation)
    return None


@contextmanager
def _if_readable() -> Iterator[None]:
    """Pass over what the role has no right to read."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != _NO_RIGHT:
            raise
