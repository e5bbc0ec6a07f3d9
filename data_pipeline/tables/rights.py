"""What PostgreSQL does not let a role do: the role, the object, and the GRANT to issue."""

from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.tables.names import quoted
from data_pipeline.tables.refusal import primary_message

_NO_RIGHT = "42501"  # insufficient_privilege
_READ_ONLY = "25006"  # read_only_sql_transaction
_LACKING = frozenset({_NO_RIGHT, _READ_ONLY})

_ROLE = sa.text("""
SELECT current_user AS role, current_database() AS database, pg_is_in_recovery() AS standby,
       (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only') AS source
""")
# PostgreSQL names the object in its message alone, which may be in any language, and a relation
# without its schema, which only the statement names. What comes last in the message, and is
# longest, is the best guess among the objects on which the role has not all rights.
_OBJECT = sa.text("""
WITH lacking AS (
    SELECT 'database' AS kind, NULL AS schema, datname::text AS name, datdba AS owner,
           array_remove(ARRAY[
               CASE WHEN NOT has_database_privilege(oid, 'CREATE') THEN 'CREATE' END,
               CASE WHEN NOT has_database_privilege(oid, 'TEMPORARY') THEN 'TEMPORARY' END
           ], NULL) AS rights
    FROM pg_database WHERE datname = current_database()
  UNION ALL
    SELECT 'schema', NULL, nspname::text, nspowner, array_remove(ARRAY[
               CASE WHEN NOT has_schema_privilege(oid, 'USAGE') THEN 'USAGE' END,
               CASE WHEN NOT has_schema_privilege(oid, 'CREATE') THEN 'CREATE' END
           ], NULL)
    FROM pg_namespace
  UNION ALL
    SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                          WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
           n.nspname::text, c.relname::text, c.relowner,
           CASE WHEN pg_has_role(c.relowner, 'USAGE') THEN '{}' ELSE ARRAY['of its owner'] END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND position(n.nspname IN :statement) > 0
)
SELECT l.kind, l.schema, l.name, l.rights, r.rolname AS owner, r.rolsuper AS owner_is_superuser
FROM lacking l JOIN pg_roles r ON r.oid = l.owner
WHERE rights <> '{}' AND position(name IN :message) > 0
ORDER BY right(:message, length(kind) + length(name) + 1) = kind || ' ' || name DESC,
         right(:message, length(name)) = name DESC, length(name) DESC
LIMIT 1
""")


@dataclass(frozen=True)
class Lacking:
    """A statement for which a role lacks a right.

    Attributes:
        code: PostgreSQL's code for what went wrong.
        message: What PostgreSQL says.
        statement: The statement, as far as it is known.
    """

    code: str
    message: str
    statement: str

    @classmethod
    def of(cls, error: BaseException | None, statement: str | None = None) -> "Lacking | None":
        """Return what an error of a driver says of a missing right; None if it is about others."""
        code = getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)
        if code not in _LACKING:
            return None
        diagnosis = getattr(error, "diag", None)
        message = getattr(diagnosis, "message_primary", None) or primary_message(error)
        return cls(str(code), message, statement or "")

    def role(self, connection: sa.Connection) -> str:
        """Return the role that lacks it."""
        return str(connection.execute(_ROLE).one().role)

    def remedy(self, connection: sa.Connection) -> str:
        """Return what to do about it, with the statement for whoever may issue it.

        Args:
            connection: Another transaction of the same role.
        """
        if self.code == _READ_ONLY:
            return _writable(connection)
        role = quoted(self.role(connection))
        values = {"message": self.message, "statement": self.statement}
        found = connection.execute(_OBJECT, values).first()
        if found is None:
            return f"Grant role {role} what is missing, then run again."
        return _granted(role, found)


def _writable(connection: sa.Connection) -> str:
    found = connection.execute(_ROLE).one()
    if found.standby:
        return (
            "This server is a standby, on which nobody can write. Name the primary server in "
            "`table_store_connections` of instances.yaml, or in DATA_PIPELINE_DATABASE_URL."
        )
    role, database = quoted(found.role), quoted(found.database)
    places = {
        "user": f"ALTER ROLE {role}",
        "database": f"ALTER DATABASE {database}",
        "database user": f"ALTER ROLE {role} IN DATABASE {database}",
    }
    if found.source in places:
        return (
            f"Transactions of role {role} are read-only by default. Let it write: "
            f"{places[found.source]} SET default_transaction_read_only = off"
        )
    return (
        f"Transactions of role {role} are read-only by default (`default_transaction_read_only`, "
        f"set by: {found.source}). Turn that off there, or for this role: "
        f"ALTER ROLE {role} SET default_transaction_read_only = off"
    )


def _granted(role: str, found: "sa.Row[tuple[object, ...]]") -> str:
    rights = ", ".join(found.rights)
    if found.kind == "database":
        grant = f"GRANT {rights} ON DATABASE {quoted(found.name)} TO {role}"
        return f"Role {role} needs {rights} on the database: {grant}"
    if found.kind == "schema":
        name, schema = quoted(found.name), quoted(found.name)
        read = f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
        write = f"GRANT {rights} ON SCHEMA {schema} TO {role}"
    else:
        name, schema = quoted(found.schema, found.name), quoted(found.schema)
        read = f"GRANT SELECT ON {name} TO {role}"
        write = f"ALTER {found.kind.upper()} {name} OWNER TO {role}"
    if not found.owner_is_superuser:  # else the role would become one
        write = f"GRANT {quoted(found.owner)} TO {role}"
    return (
        f"The {found.kind} {name} belongs to role {quoted(found.owner)}. To let role {role} write "
        f"there: {write}\nTo let it only read: GRANT USAGE ON SCHEMA {schema} TO {role}; {read}"
    )
