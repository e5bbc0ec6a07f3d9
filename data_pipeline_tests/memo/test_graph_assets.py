"""The ops of a graph asset run together, or not at all."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.world import World

PARTS = {"out": dg.Out(io_manager_key="parts")}


@dg.op(**PARTS)
def load() -> int:
    called("load")
    return 1


@dg.op
def frame(x: Any) -> pd.DataFrame:
    called("frame")
    return pd.DataFrame({"v": [x] if isinstance(x, int) else list(x)})


@dg.op(out=dg.DynamicOut(io_manager_key="parts"))
def many() -> Any:
    called("many")
    for number in range(2):
        yield dg.DynamicOutput(number, str(number))


@dg.op(**PARTS)
def each(x: int) -> int:
    called("each")
    return x


@dg.graph_asset(key=["s", "plain"], partitions_def=INSTANCE_PARTITIONS)
def plain() -> Any:
    return frame(load())


@dg.graph_asset(key=["s", "dynamic"], partitions_def=INSTANCE_PARTITIONS)
def dynamic() -> Any:
    return frame(many().map(each).collect())


@dg.graph_multi_asset(
    outs={"one": dg.AssetOut(key=["s", "one"]), "two": dg.AssetOut(key=["s", "two"])},
    partitions_def=INSTANCE_PARTITIONS,
)
def several() -> Any:
    return {
        "one": frame.alias("first")(load()),
        "two": frame.alias("second")(load.alias("other")()),
    }


@pytest.mark.parametrize(
    ("asset", "name", "calls"),
    [
        (plain, "plain", {"load": 1, "frame": 1}),
        (dynamic, "dynamic", {"many": 1, "each": 2, "frame": 1}),
        (several, "one", {"load": 2, "frame": 2}),
    ],
    ids=["plain", "dynamic", "several assets"],
)
def test_ops_run_together_or_not_at_all(
    world: World, tmp_path: Path, asset: dg.AssetsDefinition, name: str, calls: dict[str, int]
) -> None:
    ins = {"x": dg.AssetIn(["s", name])}

    @dg.asset(key=["s", "after"], ins=ins, partitions_def=INSTANCE_PARTITIONS, code_version="1")
    def after(x: pd.DataFrame) -> pd.DataFrame:
        called("after")
        return x

    parts = {"parts": dg.FilesystemIOManager(base_dir=str(tmp_path / "parts"))}
    assert world.made(lambda: [asset, after, parts]).success
    assert world.calls == {**calls, "after": 1}
    assert world.made(lambda: [asset, after, parts]).steps == set()
    tags = {"dagster/partition": "full", "data_pipeline/cache_validation": "force_cache_invalid"}
    assert world.made(lambda: [asset, after, parts], tags=tags).success
    assert world.calls == {**calls, "after": 1}
