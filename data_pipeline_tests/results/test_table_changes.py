"""What the web UI shows of a table that replaces another one."""

import pandas as pd
import sqlalchemy as sa

from data_pipeline import table_properties
from data_pipeline.results.table_changes import KEY
from data_pipeline_tests.io_manager.runs import metadata, run, table_asset


def shown(version: str, frame: pd.DataFrame) -> object:
    properties = table_properties(primary_key="k")
    asset = table_asset("t", lambda: frame, code_version=version, metadata=properties)
    return metadata(run(asset), "t").get(KEY)


def test_rows_and_columns_of_before(pipeline_database: sa.Engine) -> None:
    first = pd.DataFrame({"k": [1, 2, 3], "v": ["a", "b", None]})
    assert shown("1", first) is None
    assert shown("2", first) == "the same rows"
    other = pd.DataFrame({"k": [1, 2, 4, 5], "v": ["a", "B", None, "d"]})
    assert shown("3", other) == (
        "- rows: 3 → 4\n- rows that differ in any byte: 2 added, 1 removed, 1 changed"
    )
    wider = str(shown("4", other.assign(w=1)))
    assert wider.startswith("- rows: 4 → 4\n- new columns: w\n- which rows changed: `data-pipe")
