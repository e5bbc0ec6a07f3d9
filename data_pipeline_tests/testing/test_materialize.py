"""`data_pipeline.testing.materialize` runs assets, SQL too, where nobody else is."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import (
    INSTANCE_PARTITIONS,
    InstanceResource,
    Stage,
    Table,
    copy_filtered_inputs,
    instance_resources,
    load_configuration,
    sql_query,
)
from data_pipeline.errors import ConfigurationError, DatabaseError
from data_pipeline.testing import materialize
from data_pipeline_tests.io_manager.runs import rows

NOWHERE = "postgresql://nobody:secret@127.0.0.1:1/nowhere"


@dataclass(frozen=True)
class Mean:
    of: float


raw = Stage("t_raw")


@raw.table(primary_key="number", source=lambda: "1")
def numbers() -> pd.DataFrame:
    return pd.DataFrame({"number": range(10), "half": [n / 2 for n in range(10)]})


inputs = copy_filtered_inputs(stage="t_inputs", raw=raw.assets)
result = Stage("t_result", reads=inputs)


@result.table(primary_key="number")
def doubled(numbers: sa.Table) -> sa.TextClause:
    return sql_query("SELECT number, half * 4 AS twice FROM {numbers}", numbers=numbers)


@result.blob
def mean(doubled: pd.DataFrame) -> Mean:
    return Mean(float(doubled["twice"].mean()))


@result.table
def attrs(doubled: sa.Table, instance: InstanceResource) -> pd.DataFrame:
    said = load_configuration().instance("mini").instance_id
    return pd.DataFrame({"schema": [doubled.schema], "name": [instance.current.name], "id": [said]})


EVERYTHING = [*raw.assets, inputs, *result.assets]


def schemas(engine: sa.Engine) -> set[str]:
    query = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)'"
    return {name for (name,) in rows(engine, query)}


def test_sql_runs_on_given_frames(pipeline_database: sa.Engine) -> None:
    frame = pd.DataFrame({"number": [1, 2], "half": [0.5, 1.0]})
    made = materialize([doubled, mean], inputs={"t_inputs/numbers": frame})
    assert made["t_result/doubled"].to_dict("list") == {"number": [1, 2], "twice": [2.0, 4.0]}
    assert made["t_result/mean"] == Mean(3.0)
    assert set(made) == {"t_result/doubled", "t_result/mean"}
    assert schemas(pipeline_database) == set()


def test_a_whole_pipeline_copies_as_its_instance_does(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", NOWHERE)
    made = materialize(EVERYTHING, "midi")
    assert len(made["t_raw/numbers"]) == 10
    assert made["t_inputs/numbers"]["number"].tolist() == [0, 1]  # copy_filter_cnt: 2
    [seen] = made["t_result/attrs"].to_dict("records")
    assert seen["name"] == "midi"
    assert seen["id"] != "mini"
    assert seen["schema"].startswith("s")
    assert schemas(pipeline_database) == set()
    assert [*(tmp_path / "home" / "scratch").iterdir()] == []
    assert load_configuration().instance("midi").instance_id == "midi"


def test_a_frame_takes_the_place_of_an_asset(pipeline_database: sa.Engine) -> None:
    frame = Table(pd.DataFrame({"number": [7], "half": [1.5]}), primary_key="number")
    made = materialize(EVERYTHING, inputs={"t_raw/numbers": frame})
    assert made["t_inputs/numbers"]["number"].tolist() == [7]
    assert "t_raw/numbers" not in made


def test_an_input_may_have_any_name(pipeline_database: sa.Engine) -> None:
    lines = dg.AssetIn(key=["Shop", "Order Details"])

    @result.table(ins={"lines": lines})
    def copied(lines: sa.Table) -> sa.Select[tuple[int]]:
        return sa.select(lines)

    frame = pd.DataFrame({"Line No": [1]})
    made = materialize([copied], inputs={"Shop/Order Details": frame})
    assert made["t_result/copied"].to_dict("list") == {"Line No": [1]}


def test_tables_come_in_the_form_that_is_asked_for(pipeline_database: sa.Engine) -> None:
    pa = pytest.importorskip("pyarrow")
    made = materialize(raw.assets, form=pa.Table)
    assert made["t_raw/numbers"].num_rows == 10


def test_what_is_missing_is_named_with_what_to_write(pipeline_database: sa.Engine) -> None:
    with pytest.raises(ConfigurationError) as caught:
        materialize([doubled], inputs={"t_inputs/nubmers": pd.DataFrame({"number": [1]})})
    message = str(caught.value)
    assert "`t_result/doubled` reads `t_inputs/numbers`, which is neither" in message
    assert 'inputs={"t_inputs/numbers": frame}' in message
    assert "'t_inputs/nubmers'" in message
    with pytest.raises(ConfigurationError, match=r"'numbers' is no table\. Write 'stage/table'"):
        materialize([doubled], inputs={"numbers": pd.DataFrame()})


def test_an_error_of_an_asset_arrives_and_leaves_nothing(pipeline_database: sa.Engine) -> None:
    @result.table
    def broken() -> pd.DataFrame:
        raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError, match="on purpose"):
        materialize([broken])
    assert schemas(pipeline_database) == set()


def test_what_a_killed_process_leaves_is_dropped_by_the_next_one(
    pipeline_database: sa.Engine,
) -> None:
    code = (
        "import os, signal, pandas as pd\n"
        "from data_pipeline import Stage\n"
        "from data_pipeline.testing import materialize\n"
        "stage = Stage('t')\n"
        "@stage.table\ndef first() -> pd.DataFrame:\n    return pd.DataFrame({'a': [1]})\n"
        "@stage.table\ndef second(first: pd.DataFrame) -> pd.DataFrame:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "materialize([first, second])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    left = schemas(pipeline_database)
    assert any(name.endswith("_t__staging") for name in left), left
    with pipeline_database.connect() as connection:  # until the server has noticed
        [marker] = [name for name in left if name.startswith("data_pipeline_scratch_")]
        lock = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
        connection.execute(lock, {"name": f"data_pipeline:scratch:{marker}"})
    materialize(raw.assets)
    assert schemas(pipeline_database) == set()


def test_a_server_that_does_not_answer_is_named(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_PIPELINE_TEST_URL", NOWHERE)
    with pytest.raises(DatabaseError) as caught:
        materialize(raw.assets)
    message = str(caught.value)
    assert message.startswith("data_pipeline.testing.materialize runs assets on a PostgreSQL")
    assert "Correct DATA_PIPELINE_TEST_URL" in message
    assert "sample" not in message


def test_in_memory_an_asset_that_wants_a_reference_names_it(pipeline_database: sa.Engine) -> None:
    resources = instance_resources("mini", io_manager=False)
    with pytest.raises(dg.DagsterTypeCheckDidNotPass) as caught:
        dg.materialize_to_memory(EVERYTHING, partition_key="mini", resources=resources)
    message = str(caught.value)
    assert "A pandas.DataFrame is no sa.Table" in message
    assert "data_pipeline.testing.materialize([...]" in message


@pytest.mark.usefixtures("pipeline_database")
def test_tables_with_slices_are_given_or_built_one_slice_at_a_time() -> None:
    days = dg.MultiPartitionsDefinition(
        {"instance": INSTANCE_PARTITIONS, "day": dg.DailyPartitionsDefinition("2026-01-01")}
    )
    stage = Stage("s")

    @stage.table(partitions_def=days)
    def sales() -> pd.DataFrame:
        raise AssertionError

    @stage.table
    def total(sales: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"sold": [int(sales["sold"].sum())]})

    with pytest.raises(ConfigurationError, match=r"asset `s/sales` has slices. Give its rows by"):
        materialize(stage.assets)
    given = {"s/sales": pd.DataFrame({"sold": [1, 2]})}
    assert materialize(stage.assets, inputs=given)["s/total"]["sold"].to_list() == [3]
