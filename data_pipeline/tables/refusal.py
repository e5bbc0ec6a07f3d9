"""What PostgreSQL refused, in words: the message, its detail, and the place in a query."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data_pipeline.errors import DatabaseError, UnsupportedDataError
from data_pipeline.tables.row_security import REFUSED, hidden_rows

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection

_PRIMARY = "PG_DIAG_MESSAGE_PRIMARY"
_DETAIL = "PG_DIAG_MESSAGE_DETAIL"
_HINT = "PG_DIAG_MESSAGE_HINT"
_CONTEXT = "PG_DIAG_CONTEXT"
_POSITION = "PG_DIAG_STATEMENT_POSITION"

_REMEDIES = {
    "53100": "The server's disk is full. Free space there (see `data-pipeline instances` for the "
    "sizes of what exists), then run again.",
    "23505": "The declared primary key is not unique. Correct the key or remove the duplicates.",
    "23502": "A column that must not be NULL has NULLs. Correct the data or the declaration.",
    "42501": "Grant the pipeline's database user what is missing, then run again.",
    "42601": "Correct the query, then run again.",
}
_LOST = "The connection broke: look into the server's log, then run again."
# "Data exception" and "program limit exceeded" (a row over 8 kB, for instance).
_DATA = ("22", "54")


def refusal(
    connection: "Connection",
    error: Exception,
    failed: str,
    query: str | None = None,
    prefix: str = "",
    remedy: str | None = None,
) -> DatabaseError:
    """Gives the error to raise for what ADBC reported.

    Args:
        connection: The ADBC connection, whose transaction has failed.
        error: An ADBC error.
        failed: What failed, such as "Table s.t could not be built".
        query: The user's query, where there is one.
        prefix: What stands before the query in the statement that was sent.
        remedy: What to do, where more is known of it than the error tells.
    """
    details = _details(error)
    reason = primary_message(error)
    lines = [f"{failed}: {reason}"]
    lines += [details[key] for key in (_DETAIL, _CONTEXT, _HINT) if key in details]
    if query is not None:
        lines += ["The query:", *_marked(query, _position(details, prefix))]
    sqlstate = getattr(error, "sqlstate", None) or ""
    if sqlstate == REFUSED and (hidden := _hidden_rows(connection, reason, f"{failed} {query}")):
        lines.append(hidden)
        remedy = ""
    elif remedy is None:
        remedy = _REMEDIES.get(sqlstate) or (_LOST if _is_lost(sqlstate) else "")
    lines.append(f"What was committed before is unchanged. {remedy}".rstrip())
    return DatabaseError("\n".join(lines))


def primary_message(error: object) -> str:
    """Gives what PostgreSQL says first in an ADBC error."""
    return _details(error).get(_PRIMARY) or str(error).strip()


def load_refusal(
    connection: "Connection", error: Exception, failed: str
) -> DatabaseError | UnsupportedDataError:
    """Gives the error to raise when PostgreSQL refused rows: it may be the data that is at fault.

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


def _position(details: Mapping[str, str], prefix: str) -> int | None:
    """Gives the offset of the error in the query, in characters, where PostgreSQL names one."""
    if _POSITION not in details:
        return None
    offset = int(details[_POSITION]) - 1 - len(prefix)
    return offset if offset >= 0 else None


def _marked(query: str, offset: int | None) -> list[str]:
    """Gives the query's lines, with a caret below the place of the error."""
    lines = query.split("\n")
    if offset is None:
        return lines
    # An error behind the query says that something is missing at its end.
    before = query[: min(offset, len(query))].split("\n")
    number, column = len(before), len(before[-1])
    indent = "".join("\t" if character == "\t" else " " for character in before[-1])
    place = f"{indent}^ line {number}, column {column + 1}"
    return [*lines[:number], place, *lines[number:]]
