"""Two runs that write at the same time."""

import logging
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import close_databases
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import load_configuration
from data_pipeline_tests.io_manager.runs import rows, wait_until, write
from data_pipeline_tests.patience import PATIENCE

SCHEMA = pa.schema([("a", pa.int64())])


class Listening(logging.Handler):
    """Sets an event at the first message."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = threading.Event()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.heard.set()


def writer(
    name: str, table: str, rows: Iterator[Any], log: logging.Handler, on: str = "full"
) -> threading.Thread:
    logger = logging.Logger(name, logging.INFO)
    logger.addHandler(log)
    frame = pa.RecordBatchReader.from_batches(SCHEMA, rows)
    return threading.Thread(
        target=write, args=[table, frame, logger], kwargs={"run_id": name, "on": on}
    )


def batch(value: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"a": [value]}, schema=SCHEMA)


def test_a_second_run_of_the_same_table_waits_and_says_so(pipeline_database: sa.Engine) -> None:
    second_waits = Listening()
    started = threading.Event()

    def first() -> Iterator[pa.RecordBatch]:
        started.set()
        yield batch(1)
        assert second_waits.heard.wait(PATIENCE)
        yield batch(1)

    threads = [
        writer("run 1", "t", first(), Listening()),
        writer("run 2", "t", iter([batch(2)]), second_waits),
    ]
    threads[0].start()
    assert started.wait(PATIENCE)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert re.fullmatch(
        rf"Waiting for run run 1 of \S+ on {re.escape(socket.gethostname())} \(since .+\), "
        "which is at work on stage `s` of instance `full`: `s/t`",
        second_waits.messages[0],
    )
    assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(2,)]
    assert rows(pipeline_database, "SELECT row_count FROM full_catalog.tables") == [(1,)]


def test_runs_of_different_instances_do_not_wait_for_each_other(
    pipeline_database: sa.Engine,
) -> None:
    # All three create schemas and catalogs at the same time.
    together = threading.Barrier(3, timeout=PATIENCE)
    log = Listening()

    def waiting(value: int) -> Iterator[pa.RecordBatch]:
        together.wait()
        yield batch(value)

    threads = [writer(name, "t", waiting(1), log, on=name) for name in ("full", "midi", "mini")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [message for message in log.messages if message.startswith("Waiting")]
    assert rows(pipeline_database, "SELECT (SELECT a FROM midi_s.t), (SELECT a FROM mini_s.t)") == [
        (1, 1)
    ]


@pytest.mark.usefixtures("pipeline_database")
@pytest.mark.parametrize("annotation", [pa.Table, pa.RecordBatchReader])
def test_no_connection_is_left_open(pipeline_database: sa.Engine, annotation: type) -> None:
    from data_pipeline.store.reading import fetch

    silent = logging.getLogger("silent")
    instance = load_configuration().instance("full")
    table = StageTable("s", "t")

    def none_is_left() -> bool:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return rows(pipeline_database, query) == [(0,)]

    def once(rows: int) -> None:
        write("t", pa.table({"a": range(rows)}))
        value, _ = fetch(instance, table, annotation, silent)
        del value  # a stream that nobody reads to its end
        with pytest.raises(ValueError, match="broken"):
            write("t", _broken())

    for count in (1, 100_000, 100_000):
        once(count)
    close_databases(pipeline_database.url.database)  # those that the process keeps for the next
    wait_until(none_is_left)


def _broken() -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        yield batch(1)
        raise ValueError("broken")

    return pa.RecordBatchReader.from_batches(SCHEMA, batches())
