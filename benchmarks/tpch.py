"""TPC-H as a pipeline: raw tables from `tpchgen-cli`, and input tables that instances sample.

The root is `orders`: line items are sampled with their order, and what they refer to (customers,
and the offers, parts and suppliers of line items) comes by closure. With customers as root, all of
their orders would come together, so that values by order would be less certain at equal size.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
import yaml

from data_pipeline import ForeignKey, instance_resources, table_properties
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import Configuration, Instance, load_configuration
from data_pipeline.instances.partitions import instance_partitions, raw_partition_mapping
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sampling.sample_request import Request
from data_pipeline.store.table_properties import Properties, properties

RAW, INPUTS, ROOT = "tpch_raw", "tpch", "orders"
RATE = 0.05

_DECLARED: dict[str, dict[str, Any]] = {
    "region": {"primary_key": "r_regionkey"},
    "nation": {
        "primary_key": "n_nationkey",
        "foreign_keys": [ForeignKey("n_regionkey", "region", "r_regionkey")],
    },
    "supplier": {
        "primary_key": "s_suppkey",
        "foreign_keys": [ForeignKey("s_nationkey", "nation", "n_nationkey")],
    },
    "customer": {
        "primary_key": "c_custkey",
        "foreign_keys": [ForeignKey("c_nationkey", "nation", "n_nationkey")],
    },
    "part": {"primary_key": "p_partkey"},
    "partsupp": {
        "primary_key": ["ps_partkey", "ps_suppkey"],
        "foreign_keys": [
            ForeignKey("ps_partkey", "part", "p_partkey"),
            ForeignKey("ps_suppkey", "supplier", "s_suppkey"),
        ],
    },
    "orders": {
        "primary_key": "o_orderkey",
        "foreign_keys": [ForeignKey("o_custkey", "customer", "c_custkey")],
    },
    "lineitem": {
        "primary_key": ["l_orderkey", "l_linenumber"],
        "foreign_keys": [
            ForeignKey("l_orderkey", "orders", "o_orderkey"),
            ForeignKey(["l_partkey", "l_suppkey"], "partsupp", ["ps_partkey", "ps_suppkey"]),
        ],
    },
}
DECLARED: dict[str, Properties] = {name: properties(**item) for name, item in _DECLARED.items()}
"""What is declared of each table."""

_SAMPLES: dict[str, dict[str, Any]] = {
    "midi": {"roots": {ROOT: {"rate": RATE}}},
    "midi_bare": {"roots": {ROOT: {"rate": RATE}}, "cover": "off"},
    "hundredth": {"roots": {ROOT: {"rate": 0.01}}},
    "hundredth_bare": {"roots": {ROOT: {"rate": 0.01}}, "cover": "off"},
    "mini": {"roots": {ROOT: {}}, "size": "minimal"},
}
GROWN, MIDI_GROWN = "grown", "midi_grown"
"""An instance with 1 % more orders, written in another order, and its sample like midi."""

_CHANGED = {"orders": "o_totalprice", "lineitem": "l_extendedprice"}
"""The column of a table that gets other values."""

_KEYS_OF_ORDERS = {"orders": "o_orderkey", "lineitem": "l_orderkey"}


@dataclass(frozen=True)
class Tpch:
    """TPC-H in a database, with instances that sample it.

    Attributes:
        files: A directory with a Parquet file of each table.
        config: The configuration of the instances.
    """

    files: Path
    config: Path

    @classmethod
    def make(cls, folder: Path, scale: float) -> "Tpch":
        """Make the data and the configuration in a directory."""
        files = folder / "tpch"
        command = [str(Path(sys.executable).parent / "tpchgen-cli"), "parquet", "-s", str(scale)]
        subprocess.run([*command, "--output-dir", str(files)], check=True, capture_output=True)
        config = folder / "tpch.yaml"
        config.write_text(yaml.safe_dump(_configuration(folder)))
        return cls(files, config)

    def instance(self, name: str) -> Instance:
        """Return an instance."""
        return load_configuration(self.config).instance(name)

    def request(self, name: str, *, forced: bool = False) -> Request:
        """Return what the step of an instance that samples asks for, with roles."""
        tables = frozenset(DECLARED)
        return Request(
            instance=self.instance(name),
            stage=INPUTS,
            raw={table: StageTable(RAW, table) for table in DECLARED},
            declared=DECLARED,
            tables=tables,
            roles=tables,
            forced=forced,
        )

    def run(self, name: str) -> None:
        """Builds an instance that loads for itself, or the input tables of one that samples."""
        configuration = load_configuration(self.config)
        raw = [self._raw(table, configuration) for table in DECLARED]
        inputs = copy_filtered_inputs(
            stage=INPUTS,
            raw=raw,
            partition_mapping=raw_partition_mapping(configuration),
            weights=True,
        )
        result = dg.materialize(
            [*raw, inputs],
            selection=dg.AssetSelection.assets(inputs) if self.instance(name).copies else None,
            partition_key=name,
            resources=instance_resources(name, config=self.config),
        )
        if not result.success:
            raise RuntimeError(f"the run of {name} failed")

    def change(self, name: str) -> None:
        """Give a hundredth of the rows of a raw table of full other values."""
        full, column = self.instance("full"), _CHANGED[name]
        key = DECLARED[name].primary_key[0]
        committed = f"{full.schema(RAW)}.{name}"
        with database(full).begin() as connection:
            schema = full.schema(RAW)
            names = [item["name"] for item in sa.inspect(connection).get_columns(name, schema)]
        number = time.time_ns()
        changed = f"CASE WHEN hashint8extended({key}, {number}) % 100 = 0 THEN -1 * {column}"
        columns = ", ".join(
            f"{changed} ELSE {column} END AS {column}" if c == column else c for c in names
        )

        @dg.asset(
            key=[RAW, name],
            partitions_def=instance_partitions(load_configuration(self.config)),
            metadata=table_properties(**_DECLARED[name]),
        )
        def table() -> Any:
            return sa.text(f"SELECT {columns} FROM {committed}")

        resources = instance_resources("full", config=self.config)
        dg.materialize([table], partition_key="full", resources=resources)

    def _raw(self, name: str, configuration: Configuration) -> dg.AssetsDefinition:
        full = configuration.instance("full").schema(RAW)

        @dg.asset(
            key=[RAW, name],
            partitions_def=instance_partitions(configuration),
            metadata=table_properties(**_DECLARED[name]),
        )
        def table(context: dg.AssetExecutionContext) -> Any:
            file = pq.ParquetFile(self.files / f"{name}.parquet")
            if context.partition_key == GROWN:
                return sa.text(_grown(f"{full}.{name}", name, file.schema_arrow.names))
            return pa.RecordBatchReader.from_batches(file.schema_arrow, _batches(file))

        return table


def _batches(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    yield from file.iter_batches(65_536)


def _grown(relation: str, name: str, columns: list[str]) -> str:
    """Return the query for a table, in another order and with one more order for each hundred."""
    key = _KEYS_OF_ORDERS.get(name)
    if key is None:
        return f"SELECT * FROM {relation}"
    moved = ", ".join(f"{c} + 100000000" if c == key else c for c in columns)
    more = f"SELECT {moved} FROM {relation} WHERE hashint8({key}) % 100 = 0"
    query = f"SELECT * FROM {relation} UNION ALL {more}"
    return f"SELECT * FROM ({query}) AS more ORDER BY hashint8extended({key}, 7)"


def _configuration(folder: Path) -> dict[str, Any]:
    def copying(source: str, sample: dict[str, Any]) -> dict[str, Any]:
        return {"copy_filtered_input": True, "copy_source": source, "sample": sample}

    samples = {name: copying("full", sample) for name, sample in _SAMPLES.items()}
    samples[MIDI_GROWN] = copying(GROWN, _SAMPLES["midi"])
    names = ["full", GROWN, *samples]
    return {
        "name": "tpch",
        "table_store_connections": {
            "embedded": {"url": "embedded", "schema_prefix": "{instance_id}_"}
        },
        "blob_store_connections": {"file": {"base_path": str(folder / "blobs")}},
        "technical_setups": {
            "default": {
                "table_store": {"table_store_connection": "embedded"},
                "blob_store": {"blob_store_connection": "file"},
            }
        },
        "instances": {
            name: {"instance_id": name, "attrs": samples.get(name, {})} for name in names
        },
    }
