"""Names of tables in the text of a query: where they lie now, and where they will be."""

import re
from collections.abc import Mapping

from data_pipeline.tables.names import DIALECT, RelationName, quoted
from data_pipeline.tables.sql_text import parts

_IDENTIFIER = re.compile(r'"(?:[^"]|"")*"|[A-Za-z_\u0080-\uffff][\w$]*')
_QUALIFIED = re.compile(
    rf"(?<![\w$.\"])(?P<schema>{_IDENTIFIER.pattern})\s*\.\s*(?P<name>{_IDENTIFIER.pattern})"
)


def renamed(sql: str, names: Mapping[RelationName, RelationName]) -> str:
    """Gives a query that reads other relations in place of some; texts and comments stay.

    Args:
        sql: The query, with names that have their schema.
        names: The new names by the old ones.
    """
    if not names:
        return sql
    # Texts and comments are taken out, so that nothing in them looks like a name.
    pieces = list(parts(sql))
    kept: list[str] = []
    text = ""
    for piece in pieces:
        if piece.kind == "code" or piece.text.startswith('"'):
            text += piece.text
        else:
            text += f" \0{len(kept)}\0 "
            kept.append(piece.text)

    def replaced(match: re.Match[str]) -> str:
        old = RelationName(_plain(match["schema"]), _plain(match["name"]))
        new = names.get(old)
        if new is None:
            return match[0]
        return f"{_written(match['schema'], new.schema)}.{_written(match['name'], new.name)}"

    changed = _QUALIFIED.sub(replaced, text)
    if changed == text:
        return sql
    return re.sub(" \0(\\d+)\0 ", lambda match: kept[int(match[1])], changed)


def _written(before: str, name: str) -> str:
    """Writes a name as the one before: a query reads the same, wherever its tables lie."""
    if before.startswith('"'):
        return quoted(name)
    return str(DIALECT.identifier_preparer.quote(name))


def _plain(identifier: str) -> str:
    if identifier.startswith('"'):
        return identifier[1:-1].replace('""', '"')
    return "".join(c.lower() if c.isascii() else c for c in identifier)  # as PostgreSQL does
