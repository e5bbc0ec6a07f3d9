"""Facts of a source that an instance keeps in its catalog, in the table `source_facts`.

The next draw of a state of the source has them already, at whatever rate. Nothing is kept of masked
columns, since no fact is about them. A draw drops the facts that it has no use for, so those that
were taken before a column was masked are gone with the next sample.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert

from data_pipeline.database.identifiers import RelationName
from data_pipeline.instances import Instance
from data_pipeline.sampling.engine.source_facts import SourceFacts
from data_pipeline.store import catalog
from data_pipeline.store.reading import catalog_row_of
from data_pipeline.transfer.stable_hash import fingerprint

_TABLE = "source_facts"
_COLUMNS: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("stage", sa.Text()),
    ("key", sa.Text()),
    ("about", sa.Text()),
    ("tables", ARRAY(sa.Text())),
    ("content", JSONB()),
)

_FILE = sa.text(
    "SELECT oid::text, pg_relation_filenode(oid)::text FROM pg_class WHERE oid = to_regclass(:name)"
)


def known_facts(
    connection: sa.Connection,
    instance: Instance,
    stage: str,
    sources: Mapping[str, sa.Table],
    versions: Mapping[str, str | None],
) -> SourceFacts:
    """Return what an instance knows of its source.

    Args:
        connection: A transaction.
        instance: The instance that samples.
        stage: What tells its samples of these tables from others.
        sources: The tables of the source whose rows stay in their places while nobody writes.
        versions: Their data versions.
    """
    states = {
        name: state
        for name, table in sources.items()
        if (state := _state(connection, table, versions[name])) is not None
    }
    if not catalog.exists(connection, instance.catalog_schema, _TABLE):
        return SourceFacts(states)
    facts = _facts(instance)
    query = sa.select(facts.c.key, facts.c.content).where(facts.c.stage == stage)
    return SourceFacts(states, {row.key: row.content for row in connection.execute(query)})


def keep_facts(
    connection: sa.Connection,
    instance: Instance,
    stage: str,
    tables: frozenset[str],
    facts: SourceFacts,
) -> None:
    """Keep what a draw of some tables has used, and drop what else was kept of these.

    Args:
        connection: A transaction.
        instance: The instance that samples.
        stage: What tells its samples of these tables from others.
        tables: The tables that were drawn.
        facts: What is known, and was used.
    """
    catalog.ensure(connection, instance.catalog_schema)
    target = _facts(instance)
    unused = sa.and_(
        target.c.stage == stage,
        target.c.tables.contained_by(sa.cast(sorted(tables), ARRAY(sa.Text))),
        target.c.key.not_in(list(facts.used)),
    )
    connection.execute(sa.delete(target).where(unused))
    rows = list(_rows(stage, facts))
    if rows:
        connection.execute(insert(target).on_conflict_do_nothing(), rows)


def _rows(stage: str, facts: SourceFacts) -> Iterator[dict[str, Any]]:
    for key, (about, tables) in facts.used.items():
        if key in facts.taken:
            content = facts.known[key]
            row = {"stage": stage, "key": key, "about": about, "tables": sorted(tables)}
            yield {**row, "content": json.loads(json.dumps(content))}


def _state(connection: sa.Connection, table: sa.Table, version: str | None) -> str | None:
    """Return what changes with the rows of a table, and with their places."""
    row = catalog_row_of(table)
    name = RelationName(table.schema or "public", table.name).quoted
    file = connection.execute(_FILE, {"name": name}).one_or_none()
    if row is None or version is None or file is None:
        return None
    return fingerprint(version, dict(row.relation), *file)


def _facts(instance: Instance) -> sa.TableClause:
    columns = (sa.column(name, type_) for name, type_ in _COLUMNS)
    return sa.table(_TABLE, *columns, schema=instance.catalog_schema)
