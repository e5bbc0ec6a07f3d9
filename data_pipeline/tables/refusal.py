"""What PostgreSQL refused, in words: the message, its detail, and the place in a query."""

from collections.abc import Mapping

from data_pipeline.errors import DatabaseError
from data_pipeline.tables.connection import Database
from data_pipeline.tables.names import RelationName

_PRIMARY = "PG_DIAG_MESSAGE_PRIMARY"
_DETAIL = "PG_DIAG_MESSAGE_DETAIL"
_HINT = "PG_DIAG_MESSAGE_HINT"
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


def refusal(
    database: Database,
    target: RelationName,
    error: Exception,
    query: str | None = None,
    prefix: str = "",
) -> DatabaseError:
    """Gives the error to raise for what ADBC reported while `target` was built.

    Args:
        database: Where it happened; its password is taken out of the text.
        target: The relation in the staging schema.
        error: An ADBC error.
        query: The user's query, where there is one.
        prefix: What stands before the query in the statement that was sent.
    """
    details = _details(error)
    reason = details.get(_PRIMARY) or database.scrubbed(error)
    lines = [f"Table {target} could not be built: {reason}"]
    lines += [details[key] for key in (_DETAIL, _HINT) if key in details]
    if query is not None:
        lines += ["The query:", *_marked(query, _position(details, prefix))]
    sqlstate = getattr(error, "sqlstate", None)
    remedy = _REMEDIES.get(sqlstate or "") or (None if details else _LOST)
    lines.append(f"What was committed before is unchanged. {remedy or ''}".rstrip())
    return DatabaseError("\n".join(lines))


def _details(error: Exception) -> Mapping[str, str]:
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
    if offset is None or offset > len(query):
        return query.splitlines()
    before = query[:offset].split("\n")
    number, column = len(before), len(before[-1])
    lines = query.splitlines() or [""]
    place = f"{' ' * column}^ line {number}, column {column + 1}"
    return [*lines[:number], place, *lines[number:]]
