"""Chains of instances that copy from each other, and a small pipeline that runs on them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import yaml

from data_pipeline import table_properties
from data_pipeline.instances import load_configuration
from data_pipeline.instances.partitions import instance_partitions, raw_partition_mapping
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sources.fingerprints import (
    fingerprint_of_frame,
    outside_input,
)
from data_pipeline_tests.memo.jobs import called

STABLE = ("assert_no_fresh_input", "ignore_fresh_input")


def copy_of(source: str, *, mode: str = "normal", **settings: Any) -> dict[str, Any]:
    """Gives the settings of an instance that copies; what it copies is in `settings`."""
    per_user = settings.pop("per_user", False)
    attrs = {"copy_filtered_input": True, "copy_source": source, **settings}
    return {"attrs": attrs, "cache_validation": {"mode": mode}, "per_user": per_user}


def configured(
    folder: Path, monkeypatch: pytest.MonkeyPatch, **instances: Mapping[str, Any] | None
) -> None:
    """Lets these be all instances."""
    file = folder / "chain.yaml"
    file.write_text(yaml.safe_dump({"instances": {k: dict(v or {}) for k, v in instances.items()}}))
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))


class Desk:
    """The raw tables `orders`, with a key, and `visits`, without; and what is made of each.

    Attributes:
        tables: The rows that the source system has now.
        options: More for `copy_filtered_inputs`.
    """

    def __init__(self, **options: Any) -> None:
        self.tables = {
            "orders": pd.DataFrame({"id": range(8), "day": [1] * 8}),
            "visits": pd.DataFrame({"page": ["a", "b", "b", "c", "c", "c"], "day": [1] * 6}),
        }
        self.options = options

    def new_day(self, *names: str) -> None:
        """Lets the source system have new data."""
        for name in names:
            self.tables[name] = self.tables[name].assign(day=self.tables[name]["day"] + 1)

    def assets(self, *more: dg.AssetsDefinition) -> list[Any]:
        """Gives `raw/...`, `desk/...` and `result/...` of each table."""
        configuration = load_configuration()
        partitions = instance_partitions(configuration)
        raw = [self._raw(name, partitions) for name in self.tables]
        inputs = copy_filtered_inputs(
            stage="desk",
            raw=raw,
            partition_mapping=raw_partition_mapping(configuration),
            **self.options,
        )
        results = [result(f"result/{name}", f"desk/{name}", partitions) for name in self.tables]
        return [*raw, inputs, *results, *more]

    def _raw(self, name: str, partitions: dg.PartitionsDefinition) -> dg.AssetsDefinition:
        declared = table_properties(primary_key="id") if name == "orders" else {}

        @dg.asset(
            key=["raw", name],
            partitions_def=partitions,
            code_version="1",
            metadata={**declared, **outside_input(lambda: fingerprint_of_frame(self.tables[name]))},
        )
        def table() -> pd.DataFrame:
            called(f"raw/{name}")
            return self.tables[name]

        return table


def result(
    key: str, reads: str, partitions: dg.PartitionsDefinition, **options: Any
) -> dg.AssetsDefinition:
    """Gives an asset that is a copy of another one, and notes when it is computed."""

    @dg.asset(
        key=key.split("/"),
        ins={"found": dg.AssetIn(key=reads.split("/"), **options)},
        partitions_def=partitions,
        code_version="1",
    )
    def table(found: pd.DataFrame) -> pd.DataFrame:
        called(key)
        return found

    return table


def results(*names: str) -> dict[str, int]:
    """Gives the calls of a run that computes the results of some tables."""
    return {f"result/{name}": 1 for name in names}


def days(found: Sequence[tuple[Any, ...]]) -> set[Any]:
    return {row[0] for row in found}
