"""Reading several tables at once: threads read each a few batches ahead of who takes them."""

import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from data_pipeline.errors import DataPipelineError
from data_pipeline.results.ranges.ranged_rows import RangedRows
from data_pipeline.sources.source import Open, Rows
from data_pipeline.sources.source_catalog import SourceRelation
from data_pipeline.transfer.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

_BATCHES_AHEAD = 4
_END = object()


class _AheadStream:
    """A table on its way: what its thread has read, and how far it may go on."""

    def __init__(self, table: SourceRelation, open_: Open, is_over: Callable[[], bool]) -> None:
        self._table = table
        self._open = open_
        self._is_over = is_over
        self._found: SimpleQueue[Any] = SimpleQueue()
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        self._begun = threading.Lock()

    def begin(self) -> bool:
        """Whether nobody has begun to read it, who then does."""
        return self._begun.acquire(blocking=False)

    def read(self) -> None:
        """Read until the end, or until nobody wants it any more."""
        try:
            if self._is_over():
                return
            reader = self._open(self._table)
            if isinstance(reader, RangedRows):
                self._found.put(reader)
                return
            self._found.put(reader.schema)
            batches = iter(reader)
            while self._has_room() and (batch := next(batches, None)) is not None:
                self._found.put(batch)
            del batches, reader  # closes what an abandoned stream has open
            self._found.put(_END)
        except BaseException as error:
            self._found.put(error)

    def taken(self) -> Rows:
        """Return the rows, as they come; read here where no thread has come to it."""
        import pyarrow as pa

        if self.begin():
            return self._open(self._table)
        first = self._next()
        if isinstance(first, RangedRows):
            return first
        return pa.RecordBatchReader.from_batches(first, self._batches())

    def stop(self) -> None:
        """Let the thread that reads go on to see that it is over."""
        self._room.release()

    def _has_room(self) -> bool:
        self._room.acquire()
        return not self._is_over()

    def _next(self) -> Any:
        found = self._found.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def _batches(self) -> Iterator["pa.RecordBatch"]:
        while (batch := self._next()) is not _END:
            self._room.release()
            yield batch


class ReadAhead:
    """Tables of a source that one run loads, each taken by its own step.

    Memory holds a few batches of as many tables as are read at once, however large these are.

    Args:
        reading: Opens the source.
        tables: The tables, in the order in which they are likely to be taken.
        at_once: How many are read at once.
    """

    def __init__(
        self, reading: AbstractContextManager[Open], tables: Sequence[SourceRelation], at_once: int
    ) -> None:
        self._stack = ExitStack()
        open_ = self._stack.enter_context(reading)
        self._over = threading.Event()
        self._streams = {t.name: _AheadStream(t, open_, self._over.is_set) for t in tables}
        self._all = list(self._streams.values())
        self._waiting = SimpleQueue[_AheadStream]()
        for stream in self._all:
            self._waiting.put(stream)
        context = contextvars.copy_context()  # it names sessions after the step
        self._threads = [
            threading.Thread(
                target=context.copy().run, args=(self._work,), name="reading", daemon=True
            )
            for _ in range(min(at_once, len(tables)) if len(tables) > 1 else 0)
        ]
        for thread in self._threads:
            thread.start()

    def __contains__(self, name: str) -> bool:
        """Whether a table can still be taken."""
        return name in self._streams

    def take(self, name: str) -> Rows:
        """Return the rows of a table, once; with the end of the last one the source is closed."""
        import pyarrow as pa

        rows = self._streams.pop(name).taken()
        if isinstance(rows, RangedRows):
            rows.ended = self._close_after_the_last
            return rows
        return pa.RecordBatchReader.from_batches(rows.schema, self._to_the_end(rows))

    def close(self) -> None:
        """Stop reading, and close the source."""
        self._over.set()
        for stream in self._all:
            stream.stop()
        for thread in self._threads:
            thread.join()
        self._streams.clear()
        self._stack.close()

    def _to_the_end(self, rows: "pa.RecordBatchReader") -> Iterator["pa.RecordBatch"]:
        yield from rows
        self._close_after_the_last()

    def _close_after_the_last(self) -> None:
        if not self._streams:
            self.close()

    def _work(self) -> None:
        with suppress(Empty):
            while True:
                stream = self._waiting.get_nowait()
                if stream.begin():
                    stream.read()


def watched(rows: "pa.RecordBatchReader", name: str, report: Progress) -> "pa.RecordBatchReader":
    """Return the rows of a table that are reported as they go by; an error says what is kept."""
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        started, count = time.monotonic(), 0
        try:
            for batch in rows:
                count += batch.num_rows
                report(count, time.monotonic() - started)
                yield batch
        except DataPipelineError as error:
            if not count:
                raise
            raise type(error)(
                f"{error}\n`{name}` comes in one stream, of which {count:,} rows had been read. "
                "None of them is kept, and the next run begins anew: nothing tells whether a part "
                "of it stays as it was."
            ) from error

    return pa.RecordBatchReader.from_batches(rows.schema, batches())
