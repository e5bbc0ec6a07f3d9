"""Facts of a source that an instance keeps in its catalog, in the table `source_facts`.

The next draw of a state of the source has them already, at whatever rate, and so have the first
draws of other instances of the database. Nothing is kept of masked
columns, since no fact is about them. A draw drops the facts that it has no use for, so those that
were taken before a column was masked are gone with the next sample.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert

from data_pipeline.database.identifiers import RelationName
from data_pipeline.instances import Instance
from data_pipeline.sampling.earlier.source_facts import SourceFacts
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

_FILES = sa.text("""
SELECT name, oid::text, pg_relation_filenode(oid)::text
FROM unnest(CAST(:names AS text[])) name JOIN pg_class ON oid = to_regclass(name)
""")

_CATALOGS = sa.text("""
SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relname = :table AND relkind = 'r' AND nspname LIKE '%\\_catalog' AND nspname <> :own
AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
ORDER BY nspname
""")
"""The catalogs of other instances, as far as they may be read."""


def known_facts(
    connection: sa.Connection,
    instance: Instance,
    stage: str,
    sources: Mapping[str, sa.Table],
    versions: Mapping[str, str | None],
) -> SourceFacts:
    """Return what an instance, and others of its database, know of its source.

    Args:
        connection: A transaction.
        instance: The instance that samples.
        stage: What tells its samples of these tables from others.
        sources: The tables of the source whose rows stay in their places while nobody writes.
        versions: Their data versions.
    """
    states = _states(connection, sources, versions)
    own = dict(_kept(connection, instance, stage, "key"))
    schemas = connection.scalars(_CATALOGS, {"table": _TABLE, "own": instance.catalog_schema}).all()
    others = [dict(_kept_in(connection, schema, stage, "key")) for schema in schemas]
    known = {key: content for facts in [*others, own] for key, content in facts.items()}
    return SourceFacts(states, known, frozenset(own))


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
    target = _facts(instance.catalog_schema)
    unused = sa.and_(
        target.c.stage == stage,
        target.c.tables.contained_by(sa.cast(sorted(tables), ARRAY(sa.Text))),
        target.c.key.not_in(list(facts.used)),
    )
    connection.execute(sa.delete(target).where(unused))
    rows = list(_rows(stage, facts))
    if rows:
        connection.execute(insert(target).on_conflict_do_nothing(), rows)


def fact_rows(
    connection: sa.Connection, instance: Instance, stage: str
) -> Iterator[tuple[str, Any]]:
    """Return all that is kept, with what it is about; arguments as for `known_facts`."""
    return _kept(connection, instance, stage, "about")


def put_facts(
    connection: sa.Connection,
    instance: Instance,
    stage: str,
    facts: Mapping[str, tuple[Sequence[str], Mapping[str, Any]]],
) -> None:
    """Keep what is known by its name alone, in place of what was kept under it.

    Args:
        connection: A transaction.
        instance: The instance that samples.
        stage: What tells its samples of these tables from others.
        facts: By their names, the tables that each is about (the next draw of these drops it), and
            what is known.
    """
    rows = [
        {"stage": stage, "key": about, "about": about, "tables": list(tables), "content": content}
        for about, (tables, content) in facts.items()
    ]
    if rows:
        put = insert(_facts(instance.catalog_schema)).values(rows)
        new = {"tables": put.excluded.tables, "content": put.excluded.content}
        connection.execute(put.on_conflict_do_update(index_elements=["stage", "key"], set_=new))


def _kept(
    connection: sa.Connection, instance: Instance, stage: str, name: str
) -> Iterator[tuple[str, Any]]:
    if catalog.exists(connection, instance.catalog_schema, _TABLE):
        yield from _kept_in(connection, instance.catalog_schema, stage, name)


def _kept_in(
    connection: sa.Connection, schema: str, stage: str, name: str
) -> Iterator[tuple[str, Any]]:
    facts = _facts(schema)
    query = sa.select(facts.c[name], facts.c.content).where(facts.c.stage == stage)
    yield from ((row[0], row[1]) for row in connection.execute(query))


def _rows(stage: str, facts: SourceFacts) -> Iterator[dict[str, Any]]:
    for key, (about, tables) in facts.used.items():
        if key not in facts.kept:
            content = facts.known[key]
            row = {"stage": stage, "key": key, "about": about, "tables": sorted(tables)}
            yield {**row, "content": json.loads(json.dumps(content))}


def _states(
    connection: sa.Connection,
    tables: Mapping[str, sa.Table],
    versions: Mapping[str, str | None],
) -> dict[str, str]:
    """Return what changes with the rows of tables, and with their places, where that is known."""
    names = {
        name: RelationName(table.schema or "public", table.name).quoted
        for name, table in tables.items()
    }
    found = connection.execute(_FILES, {"names": list(names.values())})
    files = {relation: file for relation, *file in found}
    return {
        name: fingerprint(versions[name], dict(row.relation), *files[names[name]])
        for name, table in tables.items()
        if (row := catalog_row_of(table)) and versions[name] and names[name] in files
    }


def _facts(schema: str) -> sa.TableClause:
    columns = (sa.column(name, type_) for name, type_ in _COLUMNS)
    return sa.table(_TABLE, *columns, schema=schema)
