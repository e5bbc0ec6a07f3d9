"""Samples of one frame, as assets in memory."""

from pathlib import Path
from typing import Any

import dagster as dg

from data_pipeline import instance_resources, table_properties
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline_tests.sampling.shop import configured

THIRD: dict[str, Any] = {"rate": 0.3}


def sample_of(
    frame: Any,
    path: Path,
    *,
    table: str = "t",
    root: dict[str, Any] = THIRD,
    specification: dict[str, Any] | None = None,
    **declared: Any,
) -> dict[str, Any]:
    """Gives the rows, `roles` and `weighted` rows of a sample of a frame, made in memory.

    Args:
        frame: What the raw asset returns.
        path: Where the configuration is written.
        table: The name of the table.
        root: How many of its rows are sampled.
        specification: More of the specification.
        declared: Properties of the table.
    """

    @dg.asset(
        key=["raw", table],
        partitions_def=INSTANCE_PARTITIONS,
        metadata=table_properties(**declared),
    )
    def raw():
        return frame

    sample = {"roots": {table: root}, "cover": "off", **(specification or {})}
    result = dg.materialize_to_memory(
        [raw, copy_filtered_inputs(stage="inputs", raw=[raw], weights=True)],
        partition_key="midi",
        resources=instance_resources(
            "midi", config=configured(path, midi=sample), io_manager=False
        ),
    )
    return {
        "rows": result.asset_value(dg.AssetKey(["inputs", table])),
        "roles": result.asset_value(dg.AssetKey(["sample", f"inputs__{table}"])),
        "weighted": result.asset_value(dg.AssetKey(["sample", f"inputs__{table}_weighted"])),
    }
