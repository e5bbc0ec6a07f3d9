"""Several tables are read at once, each a few batches ahead, and nothing is left behind."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pytest

from data_pipeline.sources.read_ahead import ReadAhead, watched
from data_pipeline.sources.source import SourceError
from data_pipeline.sources.source_catalog import SourceRelation
from data_pipeline_tests.io_manager.runs import wait_until

SCHEMA = pa.schema([("n", pa.int64())])


class Reading:
    """Tables of many batches, of which it counts those that were read."""

    def __init__(self, batches: int = 50) -> None:
        self.read = dict.fromkeys(["a", "b", "c"], 0)
        self.is_open = False
        self.failing = ""
        self._batches = batches

    @contextmanager
    def __call__(self) -> Iterator[object]:
        self.is_open = True
        yield self._open
        self.is_open = False

    def ahead(self, at_once: int = 2) -> ReadAhead:
        tables = [SourceRelation(name, "table", ()) for name in self.read]
        return ReadAhead(self(), tables, at_once)  # type: ignore[arg-type]

    def _open(self, table: SourceRelation) -> pa.RecordBatchReader:
        def batches() -> Iterator[pa.RecordBatch]:
            for number in range(self._batches):
                if table.name == self.failing and number == 3:
                    raise ValueError("broken")
                self.read[table.name] += 1
                yield pa.record_batch({"n": [number]})

        return pa.RecordBatchReader.from_batches(SCHEMA, batches())


def reading_threads() -> int:
    return sum(thread.name == "reading" for thread in threading.enumerate())


def test_tables_are_read_at_once_and_only_some_batches_ahead() -> None:
    reading = Reading()
    ahead = reading.ahead()
    wait_until(lambda: reading.read["a"] >= 4 and reading.read["b"] >= 4)
    assert max(reading.read.values()) <= 5
    assert reading.read["c"] == 0
    # Taken in another order than they are read in.
    for name in ("c", "a", "b"):
        assert ahead.take(name).read_all().num_rows == 50
    assert not reading.is_open
    assert reading_threads() == 0


def test_what_nobody_takes_is_closed() -> None:
    reading = Reading()
    ahead = reading.ahead()
    rows = ahead.take("a")
    rows.read_next_batch()
    ahead.close()
    assert not reading.is_open
    assert reading_threads() == 0


def test_an_error_comes_with_its_table() -> None:
    reading = Reading()
    reading.failing = "b"
    ahead = reading.ahead()
    assert ahead.take("a").read_all().num_rows == 50
    with pytest.raises(ValueError, match="broken"):
        ahead.take("b").read_all()
    assert ahead.take("c").read_all().num_rows == 50
    ahead.close()


def test_the_error_of_a_stream_says_that_nothing_of_it_is_kept() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"n": [1, 2]})
        raise SourceError("the source is gone")

    rows = pa.RecordBatchReader.from_batches(SCHEMA, batches())
    with pytest.raises(SourceError, match=r"gone\n`a` comes in one stream, of which 2 rows"):
        watched(rows, "a", lambda *_: None).read_all()
