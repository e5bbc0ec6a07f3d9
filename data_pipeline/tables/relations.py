"""What a relation is, if it is there."""

import sqlalchemy as sa

from data_pipeline.tables.names import RelationName

_KIND = sa.text("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(:relation)")


def relation_kind(connection: sa.Connection, relation: RelationName) -> str | None:
    """Gives TABLE, VIEW or MATERIALIZED VIEW for a relation, None where there is none."""
    kind = connection.scalar(_KIND, {"relation": relation.quoted})
    if kind is None:
        return None
    return {"v": "VIEW", "m": "MATERIALIZED VIEW"}.get(kind, "TABLE")
