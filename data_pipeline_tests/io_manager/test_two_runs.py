"""Two runs that write at the same time."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from data_pipeline.instances import load_configuration
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.store import Origin, Store
from data_pipeline.tables.table import Properties
from data_pipeline_tests.io_manager.runs import rows

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


def writer(name: str, rows: Iterator[Any], log: logging.Handler) -> threading.Thread:
    logger = logging.Logger(name, logging.INFO)
    logger.addHandler(log)
    store = Store(load_configuration().instance("full"), logger)
    frame = pa.RecordBatchReader.from_batches(SCHEMA, rows)
    arguments = [StageTable("s", name), frame, Properties(), Origin("run")]
    return threading.Thread(target=store.put, args=arguments)


def batch(value: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"a": [value]}, schema=SCHEMA)


def test_a_second_run_of_the_same_table_waits_and_says_so(pipeline_database: sa.Engine) -> None:
    second_waits = Listening()
    started = threading.Event()

    def first() -> Iterator[pa.RecordBatch]:
        started.set()
        yield batch(1)
        assert second_waits.heard.wait(30)
        yield batch(1)

    threads = [writer("t", first(), Listening()), writer("t", iter([batch(2)]), second_waits)]
    threads[0].start()
    assert started.wait(30)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert second_waits.messages == ["Waiting for another run that is building full_s.t"]
    assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(2,)]
    assert rows(pipeline_database, "SELECT row_count FROM full_catalog.tables") == [(1,)]


def test_runs_of_different_tables_do_not_wait_for_each_other(pipeline_database: sa.Engine) -> None:
    # All four create the schemas and the catalog at the same time.
    together = threading.Barrier(4, timeout=30)
    log = Listening()

    def waiting(value: int) -> Iterator[pa.RecordBatch]:
        together.wait()
        yield batch(value)

    threads = [writer(f"t{number}", waiting(number), log) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not log.heard.is_set()
    assert rows(pipeline_database, "SELECT count(*) FROM full_catalog.tables") == [(4,)]


@pytest.mark.usefixtures("pipeline_database")
@pytest.mark.parametrize("annotation", [pa.Table, pa.RecordBatchReader])
def test_no_connection_is_left_open(pipeline_database: sa.Engine, annotation: type) -> None:
    from data_pipeline.tables.fetch import fetch

    silent = logging.getLogger("silent")
    instance = load_configuration().instance("full")
    store = Store(instance, silent)
    table = StageTable("s", "t")

    def sessions() -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        return rows(pipeline_database, query)[0][0]

    def once(rows: int) -> None:
        store.put(table, pa.table({"a": range(rows)}), Properties(), Origin("run"))
        value, _ = fetch(instance, table, annotation, silent)
        del value  # a stream that nobody reads to its end

    once(1)
    before = sessions()
    for _ in range(3):
        once(100_000)
        with pytest.raises(ValueError, match="broken"):
            store.put(table, _broken(), Properties(), Origin("run"))
    assert sessions() == before


def _broken() -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        yield batch(1)
        raise ValueError("broken")

    return pa.RecordBatchReader.from_batches(SCHEMA, batches())
