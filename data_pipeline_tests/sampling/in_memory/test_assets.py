"""Sampled input tables as assets in memory: the rows, roles and weights of the database."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
import yaml

from data_pipeline import instance_resources
from data_pipeline_tests.sampling.shop import PROPERTIES, Shop, configured, rows, run

MIDI: dict[str, Any] = {
    "roots": {"customers": {"rate": 0.2}},
    "salt": 3,
    "cover": {"category_limit": 5, "predicates": {"orders": {"dear": "amount > 80"}}},
    "pins": {"orders": [{"number": 4}]},
}
CASES = [
    ("midi", pd.DataFrame),
    ("midi", pl.from_pandas),
    ("midi", pa.Table.from_pandas),
    ("full", pd.DataFrame),
    ("mini", pd.DataFrame),
]


def in_memory(shop: Shop, name: str, config: str, **options: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize_to_memory(
        shop.assets(**options),
        partition_key=name,
        resources=instance_resources(name, config=config, io_manager=False),
    )


def _let_filter(config: Path) -> None:
    """Lets the instance `mini` copy by a rate, in place of a sample."""
    content = yaml.safe_load(config.read_text())
    attrs = content["instances"]["mini"]["attrs"]
    del attrs["sample"]
    attrs |= {
        "copy_filter_rate": 0.3,
        "copy_filter_overrides": {"inputs/clicks": {"copy_filter_cnt": 7}},
    }
    config.write_text(yaml.safe_dump(content))


def values(frame: Any) -> list[tuple[Any, ...]]:
    """Gives the rows of a frame in any order, with None for what is missing."""
    table = frame if isinstance(frame, pa.Table) else pl.DataFrame(frame).to_arrow()
    return sorted((tuple(row.values()) for row in table.to_pylist()), key=repr)


def stored(engine: sa.Engine, name: str) -> list[tuple[Any, ...]]:
    return sorted(rows(engine, f"SELECT * FROM {name}"), key=repr)


@pytest.mark.parametrize(("name", "wrap"), CASES)
def test_the_outputs_are_those_of_the_database(
    pipeline_database: sa.Engine,
    tmp_path: Path,
    name: str,
    wrap: Callable[[pd.DataFrame], Any],
) -> None:
    shop = Shop(customers=100)
    shop.frames = {table: wrap(frame) for table, frame in shop.frames.items()}
    config = configured(tmp_path, midi=MIDI, mini=MIDI)
    _let_filter(Path(config))
    for loaded in dict.fromkeys(["full", name]):
        run(shop.assets(weights=True), loaded, config)
    found = in_memory(shop, name, config, weights=True)
    for table in PROPERTIES:
        rows_frame = found.asset_value(dg.AssetKey(["inputs", table]))
        assert type(rows_frame) is type(shop.frames[table])
        assert values(rows_frame) == stored(pipeline_database, f"{name}_inputs.{table}")
        for suffix in ("", "_weighted"):
            key = ["sample", f"inputs__{table}{suffix}"]
            frame = found.asset_value(dg.AssetKey(key))
            assert type(frame) is type(shop.frames[table])
            assert values(frame) == stored(pipeline_database, f"{name}_{'.'.join(key)}")


def test_filters_and_their_weights_need_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("DATA_PIPELINE_DATABASE_URL", "DATA_PIPELINE_TEST_URL"):
        monkeypatch.setenv(variable, "postgresql://nobody@127.0.0.1:1/nowhere")
    shop = Shop(customers=100)
    shop.frames["regions"] = shop.frames["regions"].astype("category")
    config = configured(tmp_path, mini=MIDI)
    _let_filter(Path(config))
    found = in_memory(shop, "mini", config, weights=True)
    rows, roles, weighted = (
        found.asset_value(dg.AssetKey(key))
        for key in (
            ["inputs", "regions"],
            ["sample", "inputs__regions"],
            ["sample", "inputs__regions_weighted"],
        )
    )
    assert rows["region"].dtype == weighted["region"].dtype == "category"
    assert list(roles["region"]) == list(rows["region"])
    assert set(roles["role"]) <= {"sampled"}
    assert set(weighted["weight"]) <= {1 / 0.3}


def test_beside_a_column_that_is_called_like_a_weight_weights_have_a_prefix(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    shop = Shop(customers=20)
    shop.frames["notes"]["weight"] = 1.0
    config = configured(tmp_path, midi=MIDI)
    for name in ("full", "midi"):
        run(shop.assets(weights=True), name, config)
    found = in_memory(shop, "midi", config, weights=True)
    weighted = found.asset_value(dg.AssetKey(["sample", "inputs__notes_weighted"]))
    assert {"weight", "sample_weight"} <= set(weighted.columns)
    assert values(weighted) == stored(pipeline_database, "midi_sample.inputs__notes_weighted")
