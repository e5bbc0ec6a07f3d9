"""Long transfers say how far they are."""

import re
from typing import Any

import pyarrow as pa
import pytest

from data_pipeline.transfer import progress
from data_pipeline_tests.io_manager.runs import from_inputs, run, table_asset

BATCHES = [pa.RecordBatch.from_pydict({"a": [1, 2]}), pa.RecordBatch.from_pydict({"a": [3]})]


def transfer() -> None:
    def read(t: pa.Table) -> Any:
        return t

    source = table_asset("t", lambda: pa.RecordBatchReader.from_batches(BATCHES[0].schema, BATCHES))
    run(source, from_inputs("again", read, "t"))


@pytest.mark.usefixtures("pipeline_database")
def test_a_long_transfer_logs_rows_and_rate(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "INTERVAL_SECONDS", 0.0)
    transfer()
    logged = capfd.readouterr().err
    assert re.search(r"Writing `s/t`: 2 rows in \d+ s, [\d,]+ rows/s", logged)
    assert re.search(r"Writing `s/t`: 3 rows in \d+ s, [\d,]+ rows/s", logged)
    assert re.search(r"Reading full_s__staging\.t: 3 rows in \d+ s, [\d,]+ rows/s", logged)


@pytest.mark.usefixtures("pipeline_database")
def test_a_short_transfer_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    transfer()
    assert "rows/s" not in capfd.readouterr().err
