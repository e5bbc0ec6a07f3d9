"""What PostgreSQL refused, in words: the message, its detail, and the place in a query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from data_pipeline.database.identifiers import quoted
from data_pipeline.database.row_security import REFUSED, hidden_rows
from data_pipeline.database.sql_text import stored_query
from data_pipeline.errors import DatabaseError, UnsupportedDataError
from data_pipeline.instances import project

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection


_PRIMARY = "PG_DIAG_MESSAGE_PRIMARY"
_DETAIL = "PG_DIAG_MESSAGE_DETAIL"
_HINT = "PG_DIAG_MESSAGE_HINT"
_CONTEXT = "PG_DIAG_CONTEXT"

_REMEDIES = {
    "53100": "The server's disk is full. Free space there (`{instances}` lists the "
    "sizes of what exists), then run again.",
    "23505": "The declared primary key is not unique. Correct the key or remove the duplicates.",
    "23502": "A column that must not be NULL has NULLs. Correct the data or the declaration.",
    "42501": "Grant the pipeline's database user what is missing, then run again.",
    "42601": "Correct the query, then run again.",
    "42P11": "Return one SELECT; what must come before it belongs into an asset of its own.",
}
_LOST = "The connection broke: look into the server's log, then run again."
_SEVERAL_STATEMENTS = "42P11"  # invalid_cursor_definition
# "Data exception" and "program limit exceeded" (a row over 8 kB, for instance).
_DATA = ("22", "54")


def refusal(
    connection: "Connection", error: Exception, failed: str, remedy: str | None = None
) -> DatabaseError:
    """Return the error to raise for what ADBC reported.

    Args:
        connection: The ADBC connection, whose transaction has failed.
        error: An ADBC error.
        failed: What failed, such as "Table s.t could not be built".
        remedy: What to do, where more is known of it than the error tells.
    """
    details = _details(error)
    reason = primary_message(error)
    lines = [f"{failed}: {reason}"]
    lines += [details[key] for key in (_DETAIL, _CONTEXT, _HINT) if key in details]
    sqlstate = getattr(error, "sqlstate", None) or ""
    hidden = _hidden_rows(connection, reason, failed) if sqlstate == REFUSED else None
    return _with_remedy(lines, sqlstate, hidden, remedy)


def copy_refusal(error: Any, failed: str) -> DatabaseError:
    """Return the error to raise for a COPY that psycopg2 could not execute.

    Args:
        error: The driver's error.
        failed: What failed, such as "Table s.t could not be built".
    """
    said = error.diag
    lines = [f"{failed}: {said.message_primary or str(error).strip()}"]
    lines += [text for text in (said.message_detail, said.context, said.message_hint) if text]
    return _with_remedy(lines, error.pgcode or "", None, None)


def query_refusal(
    session: sa.Connection,
    error: Any,
    failed: str,
    query: str,
    start: int,
    remedy: str | None = None,
) -> DatabaseError:
    """Return the error to raise for a user's query that psycopg2 could not execute.

    Args:
        session: The session, which commits each statement by itself.
        error: The driver's error.
        failed: What failed, such as "Table s.t could not be built".
        query: The user's query.
        start: How many characters stood before it in what was sent.
        remedy: What to do, where more is known of it than the error tells.
    """
    diagnosis = error.diag
    several = error.pgcode == _SEVERAL_STATEMENTS
    reason = "the query is more than one statement" if several else diagnosis.message_primary
    lines = [f"{failed}: {reason or str(error).strip()}"]
    found = (diagnosis.message_detail, diagnosis.context, diagnosis.message_hint)
    lines += [] if several else [text for text in found if text]
    lines += ["The query:", *_marked(query, _offset(diagnosis, query, start))]
    hidden = None
    if error.pgcode == REFUSED:

        def ask(text: str) -> list[Any]:
            return list(session.exec_driver_sql(text, execution_options={"no_parameters": True}))

        session.exec_driver_sql("ROLLBACK")  # a transaction that has failed answers no question
        hidden = hidden_rows(diagnosis.message_primary, ask, f"{failed} {query}")
    return _with_remedy(lines, error.pgcode or "", hidden, remedy)


def _offset(diagnosis: Any, query: str, start: int) -> int | None:
    """Return the offset of the error in the query, in characters, where PostgreSQL names one."""
    if diagnosis.internal_position and query in (diagnosis.internal_query or ""):
        offset = int(diagnosis.internal_position) - 1 - diagnosis.internal_query.index(query)
    elif diagnosis.statement_position:
        offset = int(diagnosis.statement_position) - 1 - start
    else:
        return None
    return offset if offset >= 0 else None


def _with_remedy(
    lines: list[str], sqlstate: str, hidden: str | None, remedy: str | None
) -> DatabaseError:
    if hidden:
        lines, remedy = [*lines, hidden], ""
    elif remedy is None:
        known = _REMEDIES.get(sqlstate, "").format(instances=project.command("instances"))
        remedy = known or (_LOST if _is_lost(sqlstate) else "")
    last = f"What was committed before is unchanged. {remedy}".rstrip()
    return DatabaseError("\n".join([*lines, last]))


def primary_message(error: object) -> str:
    """Return what PostgreSQL says first in an ADBC error."""
    return _details(error).get(_PRIMARY) or str(error).strip()


def load_refusal(
    connection: "Connection", error: Exception, failed: str
) -> DatabaseError | UnsupportedDataError:
    """Return the error to raise when PostgreSQL refused rows: it may be the data that is at fault.

    Args:
        connection: The ADBC connection.
        error: An ADBC error.
        failed: What failed.
    """
    refused = refusal(connection, error, failed)
    if (getattr(error, "sqlstate", None) or "").startswith(_DATA):
        return UnsupportedDataError(f"PostgreSQL cannot hold the data. {refused}")
    return refused


def _hidden_rows(connection: "Connection", reason: str, about: str) -> str | None:
    connection.rollback()
    with connection.cursor() as cursor:

        def ask(query: str) -> list[tuple[Any, ...]]:
            cursor.execute(query)
            return cursor.fetchall()

        return hidden_rows(reason, ask, about)


def _is_lost(sqlstate: str) -> bool:
    # Class 57P is "operator intervention" (the server shuts down), 08 "connection exception".
    return not sqlstate.strip("\0") or sqlstate.startswith(("57P", "08"))


def _details(error: object) -> Mapping[str, str]:
    found = getattr(error, "details", None) or []
    return {
        _text(key): value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for key, value in found
    }


def _text(key: str | bytes) -> str:
    return key.decode() if isinstance(key, bytes) else key


def _marked(query: str, offset: int | None) -> list[str]:
    """Return the query's lines, with a caret below the place of the error."""
    lines = query.split("\n")
    if offset is None:
        return lines
    # An error behind the query says that something is missing at its end.
    before = query[: min(offset, len(query))].split("\n")
    number, column = len(before), len(before[-1])
    indent = "".join("\t" if character == "\t" else " " for character in before[-1])
    place = f"{indent}^ line {number}, column {column + 1}"
    return [*lines[:number], place, *lines[number:]]


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
_OBJECT = sa.text(stored_query(__file__, "error_messages_object"))


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
            "This server is a standby, on which nobody can write. Name the primary server: "
            f"{project.url_places()}."
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
    if found.kind in ("database", "tablespace"):
        grant = f"GRANT {rights} ON {found.kind.upper()} {quoted(found.name)} TO {role}"
        return f"Role {role} needs {rights} on the {found.kind}: {grant}"
    if found.kind == "schema":
        name, schema = quoted(found.name), quoted(found.name)
        read = f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
        write = f"GRANT {rights} ON SCHEMA {schema} TO {role}"
    else:
        name, schema = quoted(found.schema, found.name), quoted(found.schema)
        read = f"GRANT SELECT ON {name} TO {role}"
        write = f"ALTER {found.kind.upper()} {name} OWNER TO {role}"
    if found.is_own:
        on = f"SCHEMA {name}" if found.kind == "schema" else name
        return (
            f"The {found.kind} {name} belongs to role {quoted(found.owner)} itself, which gave the "
            f"right away: GRANT {rights} ON {on} TO {role}"
        )
    if not found.owner_is_superuser:  # else the role would become one
        write = f"GRANT {quoted(found.owner)} TO {role}"
    return (
        f"The {found.kind} {name} belongs to role {quoted(found.owner)}. To let role {role} write "
        f"there: {write}\nTo let it only read: GRANT USAGE ON SCHEMA {schema} TO {role}; {read}"
    )
