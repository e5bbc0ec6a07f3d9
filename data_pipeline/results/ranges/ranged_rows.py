"""Rows from outside that come in ranges, as an asset returns them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa


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
    """

    named: str
    identity: str
    columns: Mapping[str, str]
    ranges: Sequence[str]
    at_once: int
    ended: Callable[[], None]

    @abstractmethod
    def is_unchanged(self, loaded: Iterable[LoadedRange]) -> bool:
        """Whether ranges that were read before have the same rows now.

        Raises:
            DatabaseError: The source cannot be reached.
        """

    @abstractmethod
    def load(self, name: str, session: sa.Connection, into: str) -> tuple[int, Mapping[str, Any]]:
        """Write a range in the transaction of a session; may be called in several threads at once.

        Args:
            name: The range.
            session: The session.
            into: The SQL of the relation with the list of its columns.

        Returns:
            The number of rows, and the state of the source, as `is_unchanged` needs it.

        Raises:
            DatabaseError: The source or the target failed.
        """
