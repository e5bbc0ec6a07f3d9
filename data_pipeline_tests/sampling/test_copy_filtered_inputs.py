"""`copy_filtered_inputs`: what an instance gets of the raw tables, and when it copies again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
import yaml

from data_pipeline import Table, copy_inputs, instance_resources, table_properties
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs

Rows = list[tuple[Any, ...]]


class Source:
    """A source system whose rows a test can change."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame

    def assets(self, **properties: Any) -> list[dg.AssetsDefinition]:
        """Gives raw table `raw/t` and input table `stage_1/t`."""

        @dg.asset(
            key=["raw", "t"],
            partitions_def=INSTANCE_PARTITIONS,
            metadata=table_properties(**properties),
        )
        def t() -> Any:
            return self.frame

        return [t, copy_filtered_inputs(stage="stage_1", raw=[t])]


def configured(path: Path, **attrs: dict[str, Any]) -> str:
    """Writes a configuration with `full` and instances that copy it; gives its path."""
    file = path / f"instances_{len(list(path.iterdir()))}.yaml"
    copies = {
        name: {
            "instance_id": name,
            "attrs": {"copy_filtered_input": True, "copy_source": "full", **own},
        }
        for name, own in attrs.items()
    }
    instances = {"full": {"instance_id": "full"}, **copies}
    setup = {
        "table_store": {"table_store_connection": "here"},
        "blob_store": {"blob_store_connection": "here"},
    }
    content = {
        "name": "test",
        "table_store_connections": {"here": {"url": "embedded", "schema_prefix": "{instance_id}_"}},
        "blob_store_connections": {"here": {"base_path": str(path / "blobs")}},
        "technical_setups": {"default": setup},
        "instances": instances,
    }
    file.write_text(yaml.safe_dump(content))
    return str(file)


def run(assets: Sequence[dg.AssetsDefinition], name: str, config: str) -> None:
    selection = None if name == "full" else dg.AssetSelection.groups("stage_1")
    dg.materialize(
        assets,
        selection=selection,
        partition_key=name,
        resources=instance_resources(name, config=config),
    )


def rows(engine: sa.Engine, table: str) -> Rows:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(f"SELECT * FROM {table}"))]


def file_node(engine: sa.Engine, table: str) -> int:
    """Gives a number that changes when a table is written anew."""
    with engine.connect() as connection:
        query = sa.text("SELECT to_regclass(:table)::oid")
        return int(connection.scalar(query, {"table": table}))


def shuffled(count: int) -> pd.DataFrame:
    frame = pd.DataFrame({"k": range(count), "v": [f"v{number}" for number in range(count)]})
    return frame.sample(frac=1, random_state=1).reset_index(drop=True)


def test_a_count_keeps_the_first_rows_by_primary_key(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    assets = Source(shuffled(50)).assets(primary_key="k")
    config = configured(tmp_path, mini={"copy_filter_cnt": 3})
    run(assets, "full", config)
    run(assets, "mini", config)
    assert rows(pipeline_database, "mini_stage_1.t") == [(0, "v0"), (1, "v1"), (2, "v2")]


def test_text_keys_are_ordered_by_code_point(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    frame = pd.DataFrame({"k": ["b", "Z", "ä", "a", "B"]})
    assets = Source(frame).assets(primary_key="k")
    config = configured(tmp_path, mini={"copy_filter_cnt": 3})
    run(assets, "full", config)
    run(assets, "mini", config)
    assert rows(pipeline_database, "mini_stage_1.t") == [("B",), ("Z",), ("a",)]


def test_without_a_primary_key_a_count_keeps_the_first_rows_in_load_order(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    frame = shuffled(5_000)
    assets = Source(frame).assets()
    config = configured(tmp_path, mini={"copy_filter_cnt": 2_500})
    run(assets, "full", config)
    run(assets, "mini", config)
    kept = list(frame.head(2_500).itertuples(index=False, name=None))
    assert rows(pipeline_database, "mini_stage_1.t") == kept


def test_a_rate_keeps_the_same_rows_when_the_table_is_rewritten_and_grows(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    source = Source(shuffled(1_000))
    assets = source.assets(primary_key="k")
    config = configured(tmp_path, midi={"copy_filter_rate": 0.2})
    run(assets, "full", config)
    run(assets, "midi", config)
    before = set(rows(pipeline_database, "midi_stage_1.t"))
    source.frame = shuffled(1_500)
    run(assets, "full", config)
    run(assets, "midi", config)
    after = set(rows(pipeline_database, "midi_stage_1.t"))
    assert 150 < len(before) < 250
    assert {row for row in after if row[0] < 1_000} == before
    assert any(row[0] >= 1_000 for row in after)


def test_a_larger_rate_keeps_all_earlier_rows(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    assets = Source(shuffled(1_000)).assets(primary_key="k")
    small = configured(tmp_path, midi={"copy_filter_rate": 0.1})
    large = configured(tmp_path, midi={"copy_filter_rate": 0.3})
    run(assets, "full", small)
    run(assets, "midi", small)
    fewer = set(rows(pipeline_database, "midi_stage_1.t"))
    run(assets, "midi", large)
    assert fewer < set(rows(pipeline_database, "midi_stage_1.t"))


def test_no_filter_copies_every_row(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    assets = Source(shuffled(10)).assets()
    config = configured(tmp_path, midi={})
    run(assets, "full", config)
    run(assets, "midi", config)
    assert sorted(rows(pipeline_database, "midi_stage_1.t")) == sorted(
        rows(pipeline_database, "full_raw.t")
    )


def test_the_copy_has_the_properties_of_its_source(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    assets = Source(shuffled(10)).assets(primary_key="k", indexes=["v"])
    config = configured(tmp_path, mini={"copy_filter_cnt": 2})
    run(assets, "full", config)
    run(assets, "mini", config)
    inspector = sa.inspect(pipeline_database)
    key = inspector.get_pk_constraint("t", schema="mini_stage_1")
    assert key["constrained_columns"] == ["k"]
    assert [i["column_names"] for i in inspector.get_indexes("t", schema="mini_stage_1")] == [["v"]]


def test_an_unchanged_source_is_not_copied_again(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    assets = Source(shuffled(10)).assets(primary_key="k")
    config = configured(tmp_path, mini={"copy_filter_cnt": 2})
    run(assets, "full", config)
    run(assets, "mini", config)
    before = file_node(pipeline_database, "mini_stage_1.t")
    run(assets, "full", config)  # the same rows, written anew
    run(assets, "mini", config)
    assert file_node(pipeline_database, "mini_stage_1.t") == before


def changed_source(source: Source) -> None:
    source.frame = source.frame.assign(v="new")


def dropped_copy(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE mini_stage_1.t"))


def test_a_changed_source_is_copied_again(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    source = Source(shuffled(10))
    assets = source.assets(primary_key="k")
    config = configured(tmp_path, mini={"copy_filter_cnt": 2})
    run(assets, "full", config)
    run(assets, "mini", config)
    changed_source(source)
    run(assets, "full", config)
    run(assets, "mini", config)
    assert rows(pipeline_database, "mini_stage_1.t") == [(0, "new"), (1, "new")]


def test_changed_attrs_copy_again(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    assets = Source(shuffled(10)).assets(primary_key="k")
    config = configured(tmp_path, mini={"copy_filter_cnt": 2})
    run(assets, "full", config)
    run(assets, "mini", config)
    run(assets, "mini", configured(tmp_path, mini={"copy_filter_cnt": 4}))
    assert len(rows(pipeline_database, "mini_stage_1.t")) == 4


def test_a_dropped_copy_comes_back(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    assets = Source(shuffled(10)).assets(primary_key="k")
    config = configured(tmp_path, mini={"copy_filter_cnt": 2})
    run(assets, "full", config)
    run(assets, "mini", config)
    dropped_copy(pipeline_database)
    run(assets, "mini", config)
    assert len(rows(pipeline_database, "mini_stage_1.t")) == 2


def test_a_copy_of_a_copy_reads_that_copy_and_follows_it(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    assets = Source(shuffled(100)).assets(primary_key="k")

    def config(rate: float) -> str:
        return configured(
            tmp_path,
            midi={"copy_filter_rate": rate},
            mini={"copy_source": "midi", "copy_filter_cnt": 5},
        )

    for rate in (0.2, 0.1):
        run(assets, "full", config(rate))
        run(assets, "midi", config(rate))
        run(assets, "mini", config(rate))
        midi = sorted(rows(pipeline_database, "midi_stage_1.t"))
        assert rows(pipeline_database, "mini_stage_1.t") == midi[:5]


def test_a_source_that_is_not_built_names_the_command_that_builds_it(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    assets = Source(shuffled(10)).assets()
    config = configured(tmp_path, mini={"copy_filter_cnt": 2})
    with pytest.raises(Exception, match="raw/t") as error:
        run(assets, "mini", config)
    text = str(error.value.__cause__ or error.value)
    assert "has not been built yet in instance `full`" in text
    assert "dagster job execute -m data_pipeline.definitions -j full" in text


def test_a_rate_needs_a_primary_key(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    assets = Source(shuffled(10)).assets()
    config = configured(tmp_path, midi={"copy_filter_rate": 0.5})
    run(assets, "full", config)
    with pytest.raises(ConfigurationError, match=r"`stage_1/t` cannot be sampled by rate"):
        run(assets, "midi", config)


@pytest.mark.parametrize("name", ["full", "mini"])
def test_a_raw_asset_that_is_no_table_is_named(
    pipeline_database: sa.Engine, tmp_path: Path, name: str
) -> None:
    assets = Source({"a": "blob"}).assets()
    config = configured(tmp_path, mini={"copy_filter_cnt": 2})
    message = r"Input table `stage_1/t`: its raw asset gives a builtins\.dict, which is no table"
    with pytest.raises(ConfigurationError, match=message):
        in_memory(assets, name, config)
    dg.materialize(
        assets[:1], partition_key="full", resources=instance_resources("full", config=config)
    )
    with pytest.raises(ConfigurationError, match=message):
        dg.materialize(
            assets,
            selection=dg.AssetSelection.groups("stage_1"),
            partition_key=name,
            resources=instance_resources(name, config=config),
        )


@pytest.mark.parametrize("filtered", [{"copy_filter_cnt": 7}, {"copy_filter_rate": 0.3}, {}])
@pytest.mark.parametrize("wrap", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas, Table])
def test_in_memory_the_same_rows_are_chosen(
    pipeline_database: sa.Engine,
    tmp_path: Path,
    filtered: dict[str, Any],
    wrap: Callable[[pd.DataFrame], Any],
) -> None:
    assets = Source(wrap(shuffled(100))).assets(primary_key="k")
    config = configured(tmp_path, midi=filtered)
    run(assets, "full", config)
    run(assets, "midi", config)
    assert in_memory(assets, "midi", config) == sorted(rows(pipeline_database, "midi_stage_1.t"))


@pytest.mark.parametrize("second", [{"copy_filter_cnt": 7}, {"copy_filter_rate": 0.2}])
def test_in_memory_a_copy_of_a_copy_has_the_same_rows(
    pipeline_database: sa.Engine, tmp_path: Path, second: dict[str, Any]
) -> None:
    assets = Source(shuffled(100)).assets(primary_key="k")
    first = {"copy_filter_rate": 0.3} if "copy_filter_cnt" in second else {"copy_filter_cnt": 50}
    config = configured(tmp_path, midi=first, mini={"copy_source": "midi", **second})
    for name in ("full", "midi", "mini"):
        run(assets, name, config)
    assert in_memory(assets, "mini", config) == sorted(rows(pipeline_database, "mini_stage_1.t"))


def in_memory(assets: Sequence[dg.AssetsDefinition], name: str, config: str) -> Rows:
    """Gives the rows of the input table of an instance, sampled without a database."""
    result = dg.materialize_to_memory(
        assets,
        partition_key=name,
        resources=instance_resources(name, config=config, io_manager=False),
    )
    frame = result.asset_value(dg.AssetKey(["stage_1", "t"]))
    frame = frame.obj if isinstance(frame, Table) else frame
    frame = frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()
    return sorted(frame.itertuples(index=False, name=None))


def raw_table(*key: str, partitioned: bool = True) -> dg.AssetsDefinition:
    @dg.asset(key=key, partitions_def=INSTANCE_PARTITIONS if partitioned else None)
    def table() -> pd.DataFrame:
        return pd.DataFrame()

    return table


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "no raw tables"),
        ([raw_table("a", "t"), raw_table("b", "t")], "two raw tables have the same name"),
        ([raw_table("a", "t", partitioned=False)], "not partitioned by instance"),
    ],
)
def test_declarations_that_cannot_work_are_refused(
    raw: list[dg.AssetsDefinition], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        copy_filtered_inputs(stage="stage_1", raw=raw)


@pytest.mark.parametrize(
    "copying",
    [copy_filtered_inputs, lambda **given: copy_inputs(**given)(lambda copy: {})],
    ids=["copy_filtered_inputs", "copy_inputs"],
)
def test_a_raw_table_with_the_name_of_weights_is_refused_by_stage(copying: Any) -> None:
    raw = [raw_table("raw", "t"), raw_table("raw", "t_weighted")]
    message = "stage 'stage_1', weights=True: the raw tables `t` and `t_weighted` need the same"
    with pytest.raises(ConfigurationError, match=message):
        copying(stage="stage_1", raw=raw, weights=True)
