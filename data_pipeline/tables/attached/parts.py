"""What belongs to a relation, each as the statement that puts it on: grants, policies, indexes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.tables.attached.oids import oid_array
from data_pipeline.tables.attached.part_queries import REL, WITH_OID, WITHOUT_OID
from data_pipeline.tables.connection import run


@dataclass(frozen=True)
class AttachedPart:
    """What belongs to a relation.

    Attributes:
        relation: The oid of the relation.
        kind: What it is, such as `policy`.
        name: Its name, unique for its kind and relation.
        columns: The columns without which it makes no sense.
        sql: The statements that put it on.
        undo: The statements that take it off, if there is a need for that.
        oid: Its own oid, for those kinds of which it matters.
    """

    relation: int
    kind: str
    name: str
    columns: tuple[str, ...]
    sql: str
    undo: str | None
    oid: int | None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it on its relation."""
        return self.kind, self.name


def read_parts(
    connection: sa.Connection,
    relations: Collection[int],
    catalogs: Collection[str],
    others: Mapping[int, int],
) -> dict[int, tuple[AttachedPart, ...]]:
    """Gives the parts of relations, by the oid of the relation.

    Args:
        connection: A transaction with an empty search path.
        relations: Oids of the relations.
        catalogs: Where there is something to be found; only that is looked for.
        others: Oids of policies, triggers and rules of other relations, with their relations' oids.
    """
    queries = [
        f"SELECT *, NULL::bigint FROM ({WITHOUT_OID[c]}) q" for c in WITHOUT_OID if c in catalogs
    ]
    queries += [WITH_OID[c] for c in WITH_OID if c in catalogs]
    if not queries:
        return {}
    query = (REL + " UNION ALL ".join(queries)).replace("{relations}", oid_array(relations))
    query = query.replace("{others_relations}", oid_array(set(others.values())))
    query = query.replace("{others}", oid_array(others))
    found: dict[int, list[AttachedPart]] = {}
    for relation, kind, name, columns, sql, undo, oid in run(connection, query):
        part = AttachedPart(relation, kind, name, tuple(columns or ()), sql, undo, oid)
        found.setdefault(relation, []).append(part)
    return {oid: tuple(sorted(parts, key=lambda part: part.key)) for oid, parts in found.items()}
