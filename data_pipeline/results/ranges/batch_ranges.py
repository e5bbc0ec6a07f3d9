"""Ranges that come as Arrow batches, of files and of databases in files."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from data_pipeline.database.connection import Database
from data_pipeline.database.error_messages import load_refusal
from data_pipeline.database.identifiers import RelationName
from data_pipeline.errors import UnsupportedDataError
from data_pipeline.results.ranges.range_sessions import AdbcSession
from data_pipeline.results.ranges.ranged_rows import LoadedRange, RangedRows
from data_pipeline.transfer.stable_hash import fingerprint

if TYPE_CHECKING:
    import pyarrow as pa


class BatchRanges(RangedRows):
    """A large table whose ranges can be opened one by one.

    Args:
        named: Whose rows they are, for messages.
        schema: What the batches look like.
        ranges: Opens the rows of each range. The name of a range says in which state of the source
            it has these rows, so that a range of the same name is the same.
        at_once: How many are read at once.
        uncertain: Why names of another attempt would say nothing; empty: they do.
    """

    def __init__(
        self,
        named: str,
        schema: "pa.Schema",
        ranges: Mapping[str, Callable[[], "pa.RecordBatchReader"]],
        at_once: int,
        uncertain: str = "",
    ) -> None:
        self.named = named
        self.columns = {field.name: _created(field) for field in schema}
        self.identity = fingerprint("batch-ranges-1", str(schema.remove_metadata()), self.columns)
        self.ranges = [*ranges]
        self.at_once = at_once
        self.ended: Callable[[], None] = lambda: None
        self.uncertain = uncertain
        self._opening = ranges

    def is_unchanged(self, loaded: Iterable[LoadedRange]) -> bool:
        """Whether ranges have the rows that they had: those of the same name do."""
        return not self.uncertain

    @contextmanager
    def writing(self, database: Database) -> Iterator[AdbcSession]:
        """Open the session that writes a range, whose transaction ends with the block."""
        import adbc_driver_manager

        with database.adbc() as connection:
            try:
                yield AdbcSession(connection, is_kept=database.keeps_sessions)
            except adbc_driver_manager.Error as error:
                failed = f"Loading a part of {self.named} failed"
                raise load_refusal(connection, error, failed) from None

    def load(
        self, name: str, session: Any, relation: RelationName
    ) -> tuple[int, Mapping[str, Any]]:
        """Write a range in the transaction of a session."""
        from data_pipeline.transfer.copy_in import append

        try:
            return append(session.connection, relation, self._opening[name]()), {}
        except UnsupportedDataError as error:
            raise UnsupportedDataError(f"Of {self.named}, in `{name}`: {error}") from error


def _created(field: "pa.Field") -> str:
    """Return the type of the column that the values of a field are copied into."""
    from data_pipeline.transfer.arrow_types import AS_TEXT, declared_type

    return "text" if field.metadata == AS_TEXT else declared_type(field.name, field.type)
