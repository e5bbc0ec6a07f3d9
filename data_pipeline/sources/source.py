"""A source: what gives a catalog, fingerprints and rows of its tables, whatever it is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError, DataPipelineError
from data_pipeline.instances import Instance
from data_pipeline.results.ranges.ranged_rows import RangedRows
from data_pipeline.sources.source_catalog import SourceCatalog, SourceRelation

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Union["pa.RecordBatchReader", RangedRows]
"""The rows of a table: a stream, or ranges that are loaded on their own."""

Open = Callable[[SourceRelation], Rows]
"""Opens the rows of a table; it may be called in several threads at once."""


class SourceError(DataPipelineError):
    """A source cannot be reached, or is not what its catalog file says."""


@dataclass(frozen=True)
class Reading:
    """How the rows of a table are wanted.

    Attributes:
        as_frames: Whether they become frames in memory, with the types that a stage's table reads
            as; else they go into a table, exactly as they are.
        at_once: How many ranges of a table are read at once.
        as_text: Columns that travel as text, by table: those whose type the user has named.
    """

    as_frames: bool = False
    at_once: int = 4
    as_text: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Source(ABC):
    """A database or folder with tables."""

    named: str
    """What it is called in messages; no password is in it."""

    wanted: Collection[str] | None = None
    """The tables that are loaded; None: all. What cannot be described of others is left out."""

    @abstractmethod
    def catalog(self) -> SourceCatalog:
        """Return its tables.

        Raises:
            DataPipelineError: It cannot be reached.
        """

    @abstractmethod
    def present(self, known: SourceRelation) -> SourceRelation | None:
        """Return a table as it is now; None where it is gone.

        Raises:
            DataPipelineError: The source cannot be reached.
        """

    def now(self, known: SourceCatalog) -> SourceCatalog:
        """Return its tables as they are now, as far as that takes no long look."""
        return self.catalog()

    def described(self, tables: Mapping[str, Callable[[], SourceRelation]]) -> SourceCatalog:
        """Return the catalog of tables that are described one by one.

        Raises:
            DataPipelineError: A table that is loaded cannot be described.
        """
        found = {}
        for name, describe in tables.items():
            try:
                found[name] = describe()
            except DataPipelineError as error:
                if self.wanted is None or name in self.wanted:
                    advice = "To load other tables alone, name these: tables=[...]."
                    raise type(error)(f"{error} {advice}") from error
        return SourceCatalog(found)

    @abstractmethod
    def fingerprint(self, table: SourceRelation, updated_at: str | None) -> Any:
        """Return what changes when the rows of a table do.

        Args:
            table: The table.
            updated_at: The column with the time of a row's last change; None: without one.

        Raises:
            DataPipelineError: It cannot be told, or the source cannot be reached.
        """

    @abstractmethod
    def reading(self, how: Reading) -> AbstractContextManager[Open]:
        """Open the source for the rows of several tables."""

    def within(
        self, table: SourceRelation, instance: Instance, how: Reading
    ) -> sa.TextClause | RangedRows | None:
        """Return the rows of a table that lies in the database of an instance: they stay there.

        A query, or ranges of a large table. None where the rows have to come from outside.
        """
        return None


def uncounted(named: str, table: SourceRelation, why: str) -> ConfigurationError:
    """Return the error to raise for a table whose changes nothing tells."""
    return ConfigurationError(
        f"{named}: nothing tells whether `{table.name}` has new rows, since {why}. "
        f"{uncounted_remedy([table])}"
    )


def uncounted_remedy(tables: list[SourceRelation]) -> str:
    """Return what to name for tables whose changes nothing tells."""
    named = {table.name: times[0] for table in tables if (times := _times(table))}
    others = [table.name for table in tables]
    first = f"updated_at={named!r}" if named else 'updated_at={"table": "column"}'
    return (
        f"Name the column with the time of a row's last change, {first}, or load it in every run: "
        f"every_run={others!r}."
    )


def _times(table: SourceRelation) -> list[str]:
    """Name the columns that may hold the time of a change, the likeliest first."""
    found = [c.name for c in table.columns if c.type.startswith("timestamp")]
    likely = ("update", "modif", "chang")
    return sorted(found, key=lambda name: not any(word in name.lower() for word in likely))
