"""Transfers are streams: bounded memory, all or nothing, progress, and a clean end."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import adbc_driver_postgresql.dbapi
import pandas as pd
import pyarrow as pa
import pytest

from data_pipeline.errors import DatabaseError, UnsupportedDataError
from data_pipeline.transfer.copy_out import read
from data_pipeline.transfer.frames import from_reader, is_frame, is_frame_type
from data_pipeline_tests.transfer.conftest import Transfer

SCHEMA = pa.schema([("x", pa.int64())])

# 300 MB in 60 batches there and back; the process may grow by a fraction of that.
STREAM = """
import resource, sys
import adbc_driver_postgresql.dbapi, numpy as np, pyarrow as pa, pyarrow.compute
from data_pipeline.transfer.copy_in import load
from data_pipeline.transfer.copy_out import read

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

text = pa.array(["x" * 5_000]).take(pa.array(np.zeros(1_000, dtype=np.int64)))
batch = pa.record_batch({"n": pa.array(np.arange(1_000)), "s": text})
with adbc_driver_postgresql.dbapi.connect(sys.argv[1]) as connection:
    few = pa.RecordBatchReader.from_batches(batch.schema, [batch] * 2)
    load(connection, "public", "warm", few)
    read(connection, "public", "warm").read_all()
    before = peak()
    many = pa.RecordBatchReader.from_batches(batch.schema, (batch for _ in range(60)))
    result = load(connection, "public", "t", many, unlogged=True)
    size = sum(part.nbytes for part in read(connection, "public", "t"))
    connection.rollback()
print(result.rows, size >> 20, round(peak() - before))
"""


def test_memory_does_not_grow_with_the_table(transfer_dsn: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STREAM, transfer_dsn], capture_output=True, text=True, check=True
    )
    rows, size, growth = (int(part) for part in done.stdout.split())
    assert rows == 60_000
    assert size > 280
    assert growth < 100


def endless(failure: BaseException) -> Iterator[pa.RecordBatch]:
    yield from [pa.record_batch({"x": [1, 2]}), pa.record_batch({"x": [3]})]
    raise failure


def test_a_source_that_fails_is_reported_as_itself(transfer: Transfer) -> None:
    reader = pa.RecordBatchReader.from_batches(SCHEMA, endless(ValueError("the source broke")))
    with pytest.raises(ValueError, match="the source broke"):
        transfer.write(reader)
    assert not transfer.exists()


def test_a_failed_load_leaves_what_was_committed(transfer_dsn: str) -> None:
    with adbc_driver_postgresql.dbapi.connect(transfer_dsn) as connection:
        transfer = Transfer(connection)
        transfer.write(pa.table({"x": [1]}))
        connection.commit()
        try:
            with pytest.raises(DatabaseError, match="already exists"):
                transfer.write(pa.table({"x": [2]}))
            assert transfer.read()["x"].to_pylist() == [1]
        finally:
            transfer.execute("DROP TABLE t")
            connection.commit()


def test_a_killed_connection_is_a_database_error(transfer: Transfer, transfer_dsn: str) -> None:
    pid = transfer.execute("SELECT pg_backend_pid()")[0][0]

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"x": [1]})
        with adbc_driver_postgresql.dbapi.connect(transfer_dsn) as other:
            Transfer(other).execute(f"SELECT pg_terminate_backend({pid}, 5000)")
        yield pa.record_batch({"x": [2]})

    with pytest.raises(DatabaseError, match=r"`public\.t` failed, and nothing of it was kept"):
        transfer.write(pa.RecordBatchReader.from_batches(SCHEMA, batches()))


def test_progress_counts_the_rows(transfer: Transfer) -> None:
    seen: list[tuple[int, float]] = []
    batches = [pa.record_batch({"x": [1, 2]}), pa.record_batch({"x": [3]})]

    def remember(rows: int, seconds: float) -> None:
        seen.append((rows, seconds))

    result = transfer.write(
        pa.RecordBatchReader.from_batches(SCHEMA, batches), on_progress=remember
    )
    assert [rows for rows, _ in seen] == [2, 3]
    assert (result.rows, result.bytes) == (3, 24)

    seen.clear()
    read(transfer.connection, "public", "t", on_progress=remember).read_all()
    assert [rows for rows, _ in seen] == [3]


@pytest.mark.parametrize("end", ["exhausted", "dropped", "dropped unread", "failed"])
def test_the_end_of_a_stream_is_announced_once(transfer: Transfer, end: str) -> None:
    transfer.write(pa.table({"x": pa.array([None, 300], pa.duration("us"))}))
    if end == "failed":
        transfer.execute("UPDATE t SET x = '1 month'")
    closed: list[str] = []
    reader = read(transfer.connection, "public", "t", on_close=lambda: closed.append("closed"))
    assert closed == []
    if end == "exhausted":
        reader.read_all()
    elif end == "dropped":
        reader.read_next_batch()
    elif end == "failed":
        with pytest.raises(UnsupportedDataError):
            reader.read_all()
    del reader
    assert closed == ["closed"]


def test_a_reader_passes_through_unread() -> None:
    reader = pa.RecordBatchReader.from_batches(SCHEMA, endless(AssertionError("was read")))
    assert from_reader(reader, pa.RecordBatchReader) is reader


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pd.DataFrame(), True),
        (pa.table({}), True),
        (pa.record_batch({"x": [1]}), True),
        (pd.Series([1]), False),
        (pa.array([1]), False),
        ([], False),
        (None, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_is_frame(value: Any, expected: bool) -> None:
    assert is_frame(value) is expected


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [(pd.DataFrame, True), (pa.Table, True), (int, False), (Any, False), (list[int], False)],
)
def test_is_frame_type(annotation: Any, expected: bool) -> None:
    assert is_frame_type(annotation) is expected


def test_polars_is_not_imported_on_the_way() -> None:
    code = (
        "import sys, pandas as pd\n"
        "from data_pipeline.transfer import copy_in, copy_out, frames\n"
        "assert frames.is_frame(pd.DataFrame()) and not frames.is_frame(1)\n"
        "frames.from_reader(frames.to_reader(pd.DataFrame({'x': [1]})), pd.DataFrame)\n"
        "assert 'polars' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
