"""The quickstart pipeline gives the numbers of its origin, on every instance, in every way."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.pipelines.quickstart import assets

ROWS = {"full": 4, "midi": 2, "mini": 1}
SOURCE = {"a": [0, 1, 2, 4], "b": [9, 8, 7, 6]}


def built(engine: sa.Engine, table: str) -> list[tuple[int, int]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(f"SELECT a, b FROM {table}"))]


def expected(rows: int, factor: int) -> list[tuple[int, int]]:
    return [(a * factor, b * factor) for a, b in zip(*SOURCE.values(), strict=True)][:rows]


def materialize(name: str) -> dg.ExecuteInProcessResult:
    return dg.materialize(assets, partition_key=name, resources=instance_resources(name))


def test_every_instance_holds_the_head_of_the_source(pipeline_database: sa.Engine) -> None:
    for name, rows in ROWS.items():
        assert materialize(name).success
        assert built(pipeline_database, f"{name}_stage_1.dfa") == expected(rows, 1)
        assert built(pipeline_database, f"{name}_stage_1.dfb") == expected(rows, 1)
        assert built(pipeline_database, f"{name}_stage_1.a2") == expected(rows, 2)
        assert built(pipeline_database, f"{name}_stage_2.b2") == expected(rows, 2)
        assert built(pipeline_database, f"{name}_stage_2.a3") == expected(rows, 4)


def test_an_instance_that_loads_for_itself_copies_nothing(pipeline_database: sa.Engine) -> None:
    materialize("full")
    inspector = sa.inspect(pipeline_database)
    assert set(inspector.get_view_names(schema="full_stage_1")) == {"dfa", "dfb"}
    assert set(inspector.get_table_names(schema="full_raw")) == {"dfa", "dfb"}


@pytest.mark.parametrize("name", ROWS)
def test_in_memory_no_database_is_needed(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("DATA_PIPELINE_DATABASE_URL", "DATA_PIPELINE_TEST_URL"):
        monkeypatch.setenv(variable, "postgresql://nobody@127.0.0.1:1/nowhere")
    monkeypatch.setenv("DATA_PIPELINE_HOME", str(tmp_path / "home"))
    result = dg.materialize_to_memory(
        assets, partition_key=name, resources=instance_resources(name, io_manager=False)
    )
    for key, factor in {("stage_2", "b2"): 2, ("stage_2", "a3"): 4}.items():
        frame = result.asset_value(dg.AssetKey(key))
        assert isinstance(frame, pd.DataFrame)
        assert list(frame.itertuples(index=False, name=None)) == expected(ROWS[name], factor)
    assert not (tmp_path / "home").exists()
