"""Rows from outside that come in ranges, as an asset returns them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from data_pipeline.database.connection import Database
from data_pipeline.database.identifiers import RelationName
from data_pipeline.results.ranges.range_sessions import RangeSession, SqlSession


@dataclass(frozen=True)
class LoadedRange:
    """A range that is loaded.

    Attributes:
        name: What it is called.
        rows: Its rows.
        seen: What the source said of its state when they were read.
        writer: The transaction that wrote them.
    """

    name: str
    rows: int
    seen: Mapping[str, Any]
    writer: str


class RangedRows(ABC):
    """Rows in ranges, which have the same names and rows for as long as the source is unchanged.

    Attributes:
        named: Whose rows they are, for messages.
        identity: What the rows look like, and how they are cut.
        columns: The types as which values come, by column.
        ranges: The names of the ranges.
        at_once: How many are loaded at once.
        ended: Called when nothing more is read.
        uncertain: Why a later attempt cannot tell whether the source is as it was; empty: it can.
    """

    named: str
    identity: str
    columns: Mapping[str, str]
    ranges: Sequence[str]
    at_once: int
    ended: Callable[[], None]
    uncertain: str = ""

    @abstractmethod
    def is_unchanged(self, loaded: Iterable[LoadedRange]) -> bool:
        """Whether ranges that were read before have the same rows now.

        Raises:
            DatabaseError: The source cannot be reached.
        """

    @contextmanager
    def writing(self, database: Database) -> Iterator[RangeSession]:
        """Open the session that writes a range, whose transaction ends with the block."""
        with database.begin() as connection:
            yield SqlSession(database, connection)

    @abstractmethod
    def load(
        self, name: str, session: Any, relation: RelationName
    ) -> tuple[int, Mapping[str, Any]]:
        """Write a range in the transaction of a session; may be called in several threads at once.

        Args:
            name: The range.
            session: What `writing` gives.
            relation: The relation, which has `columns`.

        Returns:
            The number of rows, and the state of the source, as `is_unchanged` needs it.

        Raises:
            DatabaseError: The source or the target failed.
        """
