"""What users built on a table: its grants and comments, and the views on top of it.

A table is replaced by another one; this module takes down what hangs on the old table and puts it
up again on the new one, within the caller's transaction. What it does not know (materialized views,
functions) makes PostgreSQL refuse the drop, so nothing is lost in silence.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.tables.connection import run
from data_pipeline.tables.names import RelationName, literal, quoted

_VIEWS = sa.text("""
WITH RECURSIVE dependent(oid, depth) AS (
    SELECT to_regclass(:relation)::oid, 0
  UNION ALL
    SELECT r.ev_class, dependent.depth + 1
    FROM dependent
    JOIN pg_depend d ON d.refobjid = dependent.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
    WHERE r.ev_class <> dependent.oid
)
SELECT n.nspname AS schema, c.relname AS name, pg_get_viewdef(c.oid) AS definition,
       c.reloptions AS options, pg_get_userbyid(c.relowner) AS owner
FROM (SELECT oid, max(depth) AS depth FROM dependent WHERE depth > 0 GROUP BY oid) v
JOIN pg_class c USING (oid)
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'v'
ORDER BY v.depth, c.oid
""")

_GRANTS = sa.text("""
SELECT CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END AS grantee,
       a.privilege_type AS privilege, a.is_grantable AS grantable, g.column_name
FROM pg_class c
JOIN LATERAL (
    SELECT c.relacl AS acl, NULL::name AS column_name
    UNION ALL
    SELECT attacl, attname FROM pg_attribute
    WHERE attrelid = c.oid AND attacl IS NOT NULL AND NOT attisdropped
) g ON g.acl IS NOT NULL
CROSS JOIN LATERAL aclexplode(g.acl) a
WHERE c.oid = to_regclass(:relation) AND a.grantee <> c.relowner
""")

_COMMENTS = sa.text("""
SELECT a.attname AS column_name, d.description
FROM pg_description d
LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
WHERE d.classoid = 'pg_class'::regclass AND d.objoid = to_regclass(:relation)
""")

_COLUMNS = sa.text("""
SELECT attname FROM pg_attribute
WHERE attrelid = to_regclass(:relation) AND attnum > 0 AND NOT attisdropped
""")

_KIND = sa.text("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(:relation)")


def relation_kind(connection: sa.Connection, relation: RelationName) -> str | None:
    """Gives TABLE, VIEW or MATERIALIZED VIEW for a relation, None where there is none."""
    kind = connection.scalar(_KIND, {"relation": relation.quoted})
    if kind is None:
        return None
    return {"v": "VIEW", "m": "MATERIALIZED VIEW"}.get(kind, "TABLE")


@dataclass(frozen=True)
class Grant:
    """A privilege that somebody has on a relation, or on one of its columns."""

    privilege: str
    grantee: str | None
    grantable: bool
    column: str | None

    def statement(self, relation: RelationName) -> str:
        """Gives the statement that grants it on `relation`."""
        column = f" ({quoted(self.column)})" if self.column else ""
        grantee = quoted(self.grantee) if self.grantee else "PUBLIC"
        option = " WITH GRANT OPTION" if self.grantable else ""
        return f"GRANT {self.privilege}{column} ON {relation.quoted} TO {grantee}{option}"


@dataclass(frozen=True)
class Attachments:
    """Grants and comments of one relation, to be put on its successor."""

    grants: tuple[Grant, ...] = ()
    comments: tuple[tuple[str | None, str], ...] = ()

    @classmethod
    def of(cls, connection: sa.Connection, relation: RelationName) -> "Attachments":
        """Reads them from the database."""
        parameters = {"relation": relation.quoted}
        grants = connection.execute(_GRANTS, parameters)
        comments = connection.execute(_COMMENTS, parameters)
        return cls(
            tuple(Grant(g.privilege, g.grantee, g.grantable, g.column_name) for g in grants),
            tuple((comment.column_name, comment.description) for comment in comments),
        )

    def apply(self, connection: sa.Connection, relation: RelationName) -> None:
        """Puts them on a relation; what speaks of a column that it no longer has is left out."""
        if not (self.grants or self.comments):
            return
        columns = {None, *connection.scalars(_COLUMNS, {"relation": relation.quoted})}
        for grant in self.grants:
            if grant.column in columns:
                run(connection, grant.statement(relation))
        kind = relation_kind(connection, relation)
        for column, text in self.comments:
            if column in columns:
                target = f"COLUMN {relation.quoted}.{quoted(column)}" if column else ""
                target = target or f"{kind} {relation.quoted}"
                run(connection, f"COMMENT ON {target} IS {literal(text)}")


@dataclass(frozen=True)
class DependentView:
    """A view on a table, directly or through other views."""

    relation: RelationName
    definition: str
    owner: str
    options: tuple[str, ...]
    attachments: Attachments

    def drop(self, connection: sa.Connection) -> None:
        """Takes the view down."""
        run(connection, f"DROP VIEW {self.relation.quoted}")

    def create(self, connection: sa.Connection, definition: str | None = None) -> None:
        """Puts the view up again, with its owner, options, grants and comments.

        Args:
            connection: The transaction.
            definition: A query to use instead of the view's own.
        """
        options = f" WITH ({', '.join(self.options)})" if self.options else ""
        body = (definition or self.definition).rstrip().rstrip(";")
        run(connection, f"CREATE VIEW {self.relation.quoted}{options} AS {body}")
        run(connection, f"ALTER VIEW {self.relation.quoted} OWNER TO {quoted(self.owner)}")
        self.attachments.apply(connection, self.relation)


def dependent_views(connection: sa.Connection, relation: RelationName) -> list[DependentView]:
    """Gives all views on a relation, in an order in which they can be created.

    The transaction must have an empty search path, so that definitions name every schema.
    """
    found = connection.execute(_VIEWS, {"relation": relation.quoted}).all()
    return [
        DependentView(
            name := RelationName(view.schema, view.name),
            view.definition,
            view.owner,
            tuple(view.options or ()),
            Attachments.of(connection, name),
        )
        for view in found
    ]
