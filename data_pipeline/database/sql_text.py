"""The parts of a SQL text: code, and what only looks like it (texts, quoted names, comments)."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_pipeline.database.identifiers import DIALECT, RelationName, quoted


def stored_query(module_file: str, name: str) -> str:
    """Return a query of more than a few lines, which stands in the folder `sql` beside a module.

    Args:
        module_file: The `__file__` of the module.
        name: The name of the file, without `.sql`.
    """
    return (Path(module_file).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8")


_OPENING = re.compile(
    r"""--|/\*|(?<![\w$])(?:[eE]'|\$(?:[^\W\d]\w*)?\$)|['"]""",
)
_ESCAPE_TEXT = re.compile(r"(?:[^'\\]|''|\\.)*'", re.DOTALL)
_COMMENT_MARK = re.compile(r"/\*|\*/")


@dataclass(frozen=True)
class Part:
    """A piece of a SQL text; all pieces together are the text."""

    kind: Literal["code", "quoted", "comment"]
    text: str


def parts(sql: str) -> Iterator[Part]:
    """Cut a SQL text as PostgreSQL's scanner does; an unclosed part reaches to the end."""
    position = 0
    while opening := _OPENING.search(sql, position):
        if opening.start() > position:
            yield Part("code", sql[position : opening.start()])
        position = _end(sql, opening)
        kind: Literal["quoted", "comment"] = "comment" if opening[0] in ("--", "/*") else "quoted"
        yield Part(kind, sql[opening.start() : position])
    if position < len(sql):
        yield Part("code", sql[position:])


def with_code(sql: str, change: Callable[[str], str]) -> str:
    """Return a SQL text with its code changed, and the rest as it stands."""
    return "".join(change(part.text) if part.kind == "code" else part.text for part in parts(sql))


def without_final_semicolon(sql: str) -> str:
    """Return a SQL text without the semicolons behind its last statement; comments stay."""
    kept: list[str] = []
    ended = False
    for part in reversed(list(parts(sql))):
        text = part.text
        if part.kind == "code" and not ended:
            code = text.rstrip("; \t\r\n\f\v")
            text = code + text[len(code) :].replace(";", "")
        ended = ended or (part.kind != "comment" and bool(text.strip()))
        kept.append(text)
    return "".join(reversed(kept)).strip()


def _end(sql: str, opening: re.Match[str]) -> int:
    mark, start = opening[0], opening.end()
    if mark == "/*":
        return _end_of_comment(sql, start)
    if mark in ("e'", "E'"):
        closed = _ESCAPE_TEXT.match(sql, start)
        return closed.end() if closed else len(sql)
    closing = "\n" if mark == "--" else mark
    found = sql.find(closing, start)
    return len(sql) if found < 0 else found + len(closing)


def _end_of_comment(sql: str, start: int) -> int:
    depth = 1
    for mark in _COMMENT_MARK.finditer(sql, start):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(sql)


_IDENTIFIER = re.compile(r'"(?:[^"]|"")*"|[A-Za-z_\u0080-\uffff][\w$]*')
_QUALIFIED = re.compile(
    rf"(?<![\w$.\"])(?P<schema>{_IDENTIFIER.pattern})\s*\.\s*(?P<name>{_IDENTIFIER.pattern})"
)


def renamed(sql: str, names: Mapping[RelationName, RelationName]) -> str:
    """Return a query that reads other relations in place of some; texts and comments stay.

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
    """Write a name as the one before: a query reads the same, wherever its tables lie."""
    if before.startswith('"'):
        return quoted(name)
    return str(DIALECT.identifier_preparer.quote(name))


def _plain(identifier: str) -> str:
    if identifier.startswith('"'):
        return identifier[1:-1].replace('""', '"')
    return "".join(c.lower() if c.isascii() else c for c in identifier)  # as PostgreSQL does
