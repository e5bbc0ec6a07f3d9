"""Facts of a source that no rate changes: hubs, fan-outs, the core of pairs, and witnesses.

They are taken once for each state of the tables that they are about, and kept. A witness is the
first row, by its hash, that shows something: if it is not drawn, no drawn row shows it. So to add
the witnesses is to add what is missing, whatever the rate.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from data_pipeline.results.sql_query import compiled
from data_pipeline.sampling.engine.source_tables import TID, Tid
from data_pipeline.transfer.stable_hash import fingerprint

Fact = TypeVar("Fact")


@dataclass
class SourceFacts:
    """What is known of the tables of a source.

    Attributes:
        versions: For each table, what changes with its rows and with their places; facts about a
            table that has none are not kept for later.
        known: Facts by their keys, as JSON can hold them.
        kept: The keys of those that the instance keeps itself.
        used: What each fact that was asked for, and may be kept, is about: in words, and which
            tables; by key.
        changing: The tables of whose rows others can be drawn at other times: facts about them are
            not kept.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    used: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    changing: frozenset[str] = frozenset()

    def fact(self, key: str, about: str, tables: Iterable[str], take: Callable[[], Fact]) -> Fact:
        """Return a fact; it is taken where it is not known.

        Args:
            key: The identity of all that it depends on.
            about: What it is, in words.
            tables: The tables that it depends on.
            take: Takes it.
        """
        names = frozenset(tables)
        lasts = not names & self.changing
        if not lasts:
            key = f"{key}, for now"
        if key not in self.known:
            self.known[key] = take()
        if lasts and names <= self.versions.keys():
            self.used[key] = (about, names)
        found: Fact = self.known[key]
        return found

    def answer(
        self, connection: sa.Connection, query: sa.Select[Any], about: str, tables: Iterable[str]
    ) -> list[list[Any]]:
        """Return the rows of a query that reads tables of the source alone, of numbers and texts.

        Args:
            connection: To the database.
            query: The query.
            about: What it asks for, in words.
            tables: The tables that it reads.
        """
        names = sorted(set(tables))
        states = [self.versions.get(name) for name in names]
        text = compiled(query)
        key = fingerprint("answer-1", text, states)
        rows = self.fact(
            key,
            about,
            names,
            lambda: [[_as_json(value) for value in row] for row in connection.execute(query)],
        )
        if any(isinstance(v, float) and not math.isfinite(v) for row in rows for v in row):
            self.used.pop(key, None)  # JSON holds none of these
        return rows


def _as_json(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def listed_rows(rows: Sequence[Sequence[str]], *columns: str) -> sa.Subquery:
    """Return rows that a fact lists: each with its place and texts, in columns of these names."""
    text = sa.literal(json.dumps(rows), sa.Text)
    item = sa.func.jsonb_array_elements(sa.cast(text, JSONB)).column_valued("item")
    place = sa.cast(item.op("->>")(sa.literal_column("0")), Tid()).label(TID)
    texts = (
        sa.cast(item.op("->>")(sa.literal_column(str(number))), sa.Text).label(name)
        for number, name in enumerate(columns, 1)
    )
    return sa.select(place, *texts).subquery("listed")


def place_text(rows: sa.FromClause) -> sa.ColumnElement[str]:
    """Return the place of rows as facts list it."""
    return sa.cast(rows.c[TID], sa.Text)
