"""What users built on a table: its grants and comments, and the views on top of it.

A table is replaced by another one; this module takes down what hangs on the old table and puts it
up again on the new one, within the caller's transaction. Other objects that depend on a table
(materialized views, foreign keys, functions with a body in standard SQL) make PostgreSQL refuse to
drop it. What is part of the table itself goes with it: indexes, triggers, rules and row security
that a user added by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.tables.connection import run
from data_pipeline.tables.names import RelationName, literal, quoted

_VIEWS = sa.text("""
WITH RECURSIVE dependent(oid, depth) AS (
    SELECT to_regclass(:relation)::oid, 0
  UNION
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

_TYPE_IN_THE_WAY = sa.text("""
SELECT mine.typname
FROM pg_type own
JOIN pg_type mine ON mine.oid = own.typarray
JOIN pg_type other ON other.typname = mine.typname
JOIN pg_namespace n ON n.oid = other.typnamespace
WHERE own.typrelid = to_regclass(:relation) AND n.nspname = :schema
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

    def revocation(self, relation: RelationName) -> str:
        """Gives the statement that takes it back."""
        column = f" ({quoted(self.column)})" if self.column else ""
        grantee = quoted(self.grantee) if self.grantee else "PUBLIC"
        return f"REVOKE {self.privilege}{column} ON {relation.quoted} FROM {grantee}"


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
        """Puts them on a new relation, in place of the grants that it was created with.

        What speaks of a column that it does not have is left out.
        """
        created_with = Attachments.of(connection, relation).grants
        if not (self.grants or self.comments or created_with):
            return
        columns = {None, *connection.scalars(_COLUMNS, {"relation": relation.quoted})}
        for grant in set(created_with) - set(self.grants):
            run(connection, grant.revocation(relation))
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


def take_down(
    connection: sa.Connection,
    relation: RelationName,
    put_aside: Callable[[], None] | None = None,
) -> tuple[Attachments, list[DependentView]]:
    """Drops a relation and all views on it.

    Args:
        connection: The transaction.
        relation: The relation.
        put_aside: Called to move a table elsewhere instead of dropping it.

    The transaction must have an empty search path, so that the definitions name every schema.

    Returns:
        Its grants and comments, and the views in an order in which they can be put up again.
    """
    kind = relation_kind(connection, relation)
    if kind is None:
        return Attachments(), []
    views = _views_on(connection, relation)
    # All in one go, since a reader that comes in between may make us wait for each other. The views
    # come first, as in a query that reads a view.
    drop = f"DROP VIEW {_listed(views)};" if views else ""
    if kind == "TABLE":
        run(connection, f"{drop} LOCK TABLE {relation.quoted} IN ACCESS EXCLUSIVE MODE")
        if late := _views_on(connection, relation):
            views += late
            run(connection, f"DROP VIEW {_listed(late)}")
    elif drop:
        run(connection, drop)
    attachments = Attachments.of(connection, relation)
    attempt = connection.begin_nested()
    run(connection, f"DROP {kind} {relation.quoted}")
    if kind == "TABLE" and put_aside is not None:
        # The attempt has shown that nothing else is built on it, which would go along unseen.
        attempt.rollback()
        put_aside()
    else:
        attempt.commit()
    return attachments, views


def make_room_for_types(
    connection: sa.Connection, source: RelationName, target: RelationName
) -> None:
    """Renames the array type of a table that is to be moved, where the new schema has its name.

    The array type of table `t` is called `_t`, which may be the name of another table.
    """
    while name := connection.scalar(
        _TYPE_IN_THE_WAY, {"relation": source.quoted, "schema": target.schema}
    ):
        # PostgreSQL renames an array type, and nobody else can, for a table of its name.
        stand_in = RelationName(source.schema, name)
        run(connection, f"CREATE TABLE {stand_in.quoted} (); DROP TABLE {stand_in.quoted}")


def put_up(connection: sa.Connection, view: DependentView, definition: str | None = None) -> None:
    """Puts a view up again, with its owner, options, grants and comments.

    Args:
        connection: The transaction.
        view: The view.
        definition: A query to use instead of the view's own.
    """
    options = f" WITH ({', '.join(view.options)})" if view.options else ""
    body = (definition or view.definition).rstrip().rstrip(";")
    run(connection, f"CREATE VIEW {view.relation.quoted}{options} AS {body}")
    run(connection, f"ALTER VIEW {view.relation.quoted} OWNER TO {quoted(view.owner)}")
    view.attachments.apply(connection, view.relation)


def _views_on(connection: sa.Connection, relation: RelationName) -> list[DependentView]:
    """Gives all views on a relation, in an order in which they can be created."""
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


def _listed(views: list[DependentView]) -> str:
    return ", ".join(view.relation.quoted for view in reversed(views))
