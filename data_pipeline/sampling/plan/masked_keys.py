"""Masks of keys: what refers to a row must still find it, so both ends are masked alike."""

import re
from collections.abc import Iterator, Mapping

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.plan.schema_graph import Relationship, SchemaGraph

Masks = Mapping[str, Mapping[str, str]]
"""Expressions by table and column."""

_TOKEN = re.compile(r"""\s+|'(?:[^']|'')*'|"(?:[^"]|"")*"|[^\W\d]\w*|\d[\w.]*|.""", re.DOTALL)


def check_alike(graph: SchemaGraph, masks: Masks) -> None:
    """Check that the columns of each relationship are masked alike, or not at all.

    Raises:
        ConfigurationError: They are not.
    """
    for item in graph.relationships:
        for own, other in zip(item.columns, item.referenced_columns, strict=True):
            texts = masks.get(item.child, {}).get(own), masks.get(item.parent, {}).get(other)
            if texts == (None, None):
                continue
            if None in texts or _form(str(texts[0]), own) != _form(str(texts[1]), other):
                raise ConfigurationError(
                    f"sample.mask: `{item.child}.{own}` refers to `{item.parent}.{other}`, so both "
                    "have to be masked by the same expression of their own column, or neither: "
                    f"{_said(item, own, texts[0])}, {_said_of(item.parent, other, texts[1])}."
                )


def key_columns(graph: SchemaGraph, table: str) -> frozenset[str]:
    """Name the columns of a table that tell its rows, or refer to others, or are referred to."""
    own = (name for item in graph.of_child(table) for name in item.columns)
    referred = (name for item in graph.of_parent(table) for name in item.referenced_columns)
    return frozenset([*graph.keys[table], *own, *referred])


def _said(item: Relationship, column: str, text: str | None) -> str:
    return _said_of(item.child, column, text)


def _said_of(table: str, column: str, text: str | None) -> str:
    return f"{table}: {{{column}: {text!r}}}" if text else f"{table}.{column} is not masked"


def _form(text: str, column: str) -> list[str]:
    """Return the parts of an expression, with its column by one name, whatever its own is."""
    return list(_parts(text, column))


def _parts(text: str, column: str) -> Iterator[str]:
    for part in _TOKEN.findall(text):
        if part.isspace():
            continue
        if part.startswith('"'):
            name, shown = part[1:-1].replace('""', '"'), part
        else:
            name = shown = part if part.startswith("'") else part.lower()
        yield "the column" if name == column else shown
