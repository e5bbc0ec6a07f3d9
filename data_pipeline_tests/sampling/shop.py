"""A shop with raw tables, sampled input tables and weights, on the instances of a test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
import pandas as pd
import sqlalchemy as sa
import yaml

from data_pipeline import ForeignKey, instance_resources, table_properties
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs

Rows = list[tuple[Any, ...]]

PROPERTIES: dict[str, dict[str, Any]] = {
    "regions": {"primary_key": "region"},
    "customers": {
        "primary_key": "customer",
        "foreign_keys": [ForeignKey(["region"], "regions")],
    },
    "orders": {
        "primary_key": "number",
        "foreign_keys": [ForeignKey(["customer"], "customers")],
    },
    "clicks": {"foreign_keys": [ForeignKey(["customer"], "customers")]},
    "notes": {"primary_key": "note"},
}


class RunFull(Protocol):
    def __call__(self, shop: "Shop", config: str, *, weights: bool = False) -> None: ...


class Shop:
    """A source system whose rows a test can change."""

    def __init__(self, customers: int = 400) -> None:
        numbers = range(customers * 4)
        self.frames = {
            "regions": pd.DataFrame({"region": ["north", "south", "none"]}),
            "customers": pd.DataFrame(
                {
                    "customer": range(customers),
                    "region": [("north", "south")[number % 2] for number in range(customers)],
                }
            ),
            "orders": pd.DataFrame(
                {
                    "number": numbers,
                    "customer": [(number * 7) % customers for number in numbers],
                    "amount": [float(number % 90) for number in numbers],
                }
            ),
            "clicks": pd.DataFrame(
                {
                    "customer": [number % (customers // 2) for number in numbers],
                    "page": [("home", None)[number % 2] for number in numbers],
                }
            ),
            "notes": pd.DataFrame({"note": ["a", "b"]}),
        }
        self.loads = 0

    def content(self) -> str:
        """Gives all rows with their types."""
        return "".join(f"{name} {f.dtypes} {f.to_csv()}" for name, f in self.frames.items())

    def assets(self, **options: Any) -> list[dg.AssetsDefinition]:
        """Gives the raw tables, and the input tables in stage `inputs`."""
        raw = [self._raw(name, properties) for name, properties in PROPERTIES.items()]
        return [*raw, copy_filtered_inputs(stage="inputs", raw=raw, **options)]

    def _raw(self, name: str, properties: dict[str, Any]) -> dg.AssetsDefinition:
        @dg.asset(
            key=["raw", name],
            partitions_def=INSTANCE_PARTITIONS,
            metadata=table_properties(**properties),
        )
        def table() -> Any:
            return self.frames[name]

        return table


def configured(path: Path, **samples: dict[str, Any]) -> str:
    """Writes a configuration with `full` and instances that sample it; gives its path."""
    file = path / f"instances_{len(list(path.iterdir()))}.yaml"
    copies = {
        name: {
            "instance_id": name,
            "attrs": {"copy_filtered_input": True, "copy_source": "full", "sample": sample},
        }
        for name, sample in samples.items()
    }
    connection = {"url": "embedded", "schema_prefix": "{instance_id}_"}
    content = {
        "name": "test",
        "table_store_connections": {"here": connection},
        "blob_store_connections": {"here": {"base_path": str(path / "blobs")}},
        "technical_setups": {
            "default": {
                "table_store": {"table_store_connection": "here"},
                "blob_store": {"blob_store_connection": "here"},
            }
        },
        "instances": {"full": {"instance_id": "full"}, **copies},
    }
    file.write_text(yaml.safe_dump(content))
    return str(file)


def run(assets: Sequence[dg.AssetsDefinition], name: str, config: str) -> dg.ExecuteInProcessResult:
    """Materializes all tables of `full`, or the input tables of an instance that samples."""
    return dg.materialize(
        assets,
        selection=None if name == "full" else dg.AssetSelection.assets(assets[-1]),
        partition_key=name,
        resources=instance_resources(name, config=config),
    )


def rows(engine: sa.Engine, query: str) -> Rows:
    with engine.connect() as connection:
        run = connection.execution_options(no_parameters=True).exec_driver_sql
        return [tuple(row) for row in run(query)]
