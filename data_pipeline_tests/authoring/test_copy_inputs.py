"""`copy_inputs`: which rows an instance takes is a function of the user."""

import functools
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pytest
import sqlalchemy as sa
import yaml
from click.testing import CliRunner

from data_pipeline import (
    ForeignKey,
    InputCopy,
    Stage,
    copy_inputs,
    instance_definitions,
    instance_resources,
)
from data_pipeline.cli.command_line import main
from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.io_manager.runs import rows

CUSTOMERS = pd.DataFrame({"id": [1, 2, 3, 4], "country": ["de", "fr", "de", "it"]})
ORDERS = pl.DataFrame({"id": [1, 2, 3, 4, 5], "customer": [1, 1, 2, 3, 4]})


@pytest.fixture(autouse=True)
def _configured(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copying = {"copy_filtered_input": True, "copy_filter_cnt": 1}
    instances = {
        "full": {},
        "midi": {"attrs": {**copying, "copy_source": "full", "countries": ["de", "fr"]}},
        "mini": {"attrs": {**copying, "copy_source": "midi", "countries": ["de"]}},
    }
    file = tmp_path / "instances.yaml"
    file.write_text(yaml.safe_dump({"instances": instances}))
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))


def by_country(copy: InputCopy) -> Mapping[str, Any]:
    """The customers of some countries, and their orders."""
    customers, orders = copy.tables["customers"], copy.tables["orders"]
    assert copy.source.name == {"midi": "full", "mini": "midi"}[copy.instance.name]
    chosen = sa.select(customers).where(customers.c.country.in_(copy.attrs["countries"]))
    keys = chosen.with_only_columns(customers.c.id)
    return {"customers": chosen, "orders": sa.select(orders).where(orders.c.customer.in_(keys))}


def pipeline(
    function: Any = by_country, version: str = "1", *, weights: bool = False
) -> list[dg.AssetsDefinition]:
    raw = Stage("source")

    @raw.table(primary_key="id", source=lambda: version, code_version="1")
    def customers() -> pd.DataFrame:
        return CUSTOMERS

    @raw.table(
        primary_key="id",
        foreign_keys=[ForeignKey("customer", "customers", "id")],
        source=lambda: version,
        code_version="1",
    )
    def orders() -> pl.DataFrame:
        return ORDERS

    @raw.table(source=lambda: version, code_version="1")
    def notes() -> pd.DataFrame:
        return pd.DataFrame({"text": ["a", "b"]})

    return [*raw.assets, copy_inputs(stage="inputs", raw=raw.assets, weights=weights)(function)]


def weighted_pipeline() -> list[dg.AssetsDefinition]:
    return pipeline(weights=True)


@functools.lru_cache(maxsize=1)  # a run asks for it several times
def job(name: str, kind: str, _run: str) -> dg.JobDefinition:
    return instance_definitions(pipeline(weights=kind == "weighted")).resolve_job_def(name)


def run(name: str, kind: str = "plain") -> set[str]:
    """Runs the job of an instance and gives what it made."""
    made = dg.build_reconstructable_job(__name__, "job", (name, kind, uuid.uuid4().hex))
    with dg.DagsterInstance.ephemeral() as storage, dg.execute_job(made, storage) as result:
        assert result.success
        return {
            event.asset_key.to_user_string()
            for event in result.all_events
            if event.is_step_materialization and event.asset_key
        }


def test_rows_are_those_of_the_queries(pipeline_database: sa.Engine) -> None:
    assert "source/orders" in run("full")
    assert run("midi") == {"inputs/customers", "inputs/orders", "inputs/notes"}
    run("mini")
    found = {
        name: [
            rows(pipeline_database, f"SELECT count(*) FROM {name}_inputs.{table}")[0][0]
            for table in ("customers", "orders", "notes")
        ]
        for name in ("full", "midi", "mini")
    }
    assert found == {"full": [4, 5, 2], "midi": [3, 4, 2], "mini": [2, 3, 2]}
    keys = rows(
        pipeline_database, "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'p'"
    )
    assert ("mini_inputs.orders",) in keys
    assert run("midi") == run("mini") == set()


@pytest.mark.parametrize(("name", "counts"), [("full", [4, 5]), ("midi", [3, 4]), ("mini", [2, 3])])
def test_in_memory_it_is_the_same(name: str, counts: list[int]) -> None:
    resources = instance_resources(name, io_manager=False)
    assets = pipeline()
    result = dg.materialize_to_memory(assets, partition_key=name, resources=resources)
    customers, orders = (
        result.asset_value(dg.AssetKey(["inputs", table])) for table in ("customers", "orders")
    )
    assert [len(customers), len(orders)] == counts
    assert isinstance(customers, pd.DataFrame)
    assert isinstance(orders, pl.DataFrame)


def test_the_code_of_the_function_is_that_of_the_tables() -> None:
    def others(copy: InputCopy) -> Mapping[str, Any]:
        return {}

    versions = {
        next(iter(pipeline(function)[-1].code_versions_by_key.values()))
        for function in (by_country, by_country, others)
    }
    assert len(versions) == 2


def test_a_sample_is_drawn_from_the_rows_of_the_queries(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copying = {"copy_filtered_input": True, "copy_source": "full"}
    sample = {"roots": {"orders": {"rows": 2}}, "cover": "off"}
    sampled = {"attrs": {**copying, "countries": ["de", "fr"], "sample": sample}}
    file = tmp_path / "instances.yaml"
    file.write_text(yaml.safe_dump({"instances": {"full": {}, "midi": sampled, "mini": sampled}}))
    run("full", "weighted")
    (tmp_path / "with_own_queries.py").write_text(
        "from data_pipeline import instance_definitions\n"
        f"from {__name__} import weighted_pipeline\n"
        "defs = instance_definitions(weighted_pipeline())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    said = CliRunner().invoke(main, ["-m", "with_own_queries", "sample", "midi"])
    assert "`copy_inputs` has queries for this stage" in said.output
    assert "sample/inputs__orders" in run("midi", "weighted")
    orders = rows(
        pipeline_database,
        "SELECT id, customer, probability, weight FROM midi_sample.inputs__orders_weighted "
        "WHERE weight > 0",  # others come for each customer to have one
    )
    # Two of the four orders that customers of these countries have: each stands for two.
    assert [row[2:] for row in orders] == [(0.5, 2.0)] * 2
    customers = rows(pipeline_database, "SELECT id FROM midi_inputs.customers")
    assert {row[1] for row in orders} <= {row[0] for row in customers} <= {1, 2, 3}
    assert run("midi", "weighted") == set()
    file.write_text(file.read_text().replace("- fr", "- it"))
    assert "inputs/orders" in run("midi", "weighted")
    again = rows(pipeline_database, "SELECT customer FROM midi_inputs.orders")
    assert {row[0] for row in again} <= {1, 3, 4}
    resources = instance_resources("midi", io_manager=False)
    assets = weighted_pipeline()
    result = dg.materialize_to_memory(assets, partition_key="midi", resources=resources)
    in_memory = result.asset_value(dg.AssetKey(["inputs", "orders"]))
    assert sorted(in_memory["customer"].to_list()) == sorted(row[0] for row in again)


def test_weights_without_a_sample_are_those_of_all_rows(pipeline_database: sa.Engine) -> None:
    run("full", "weighted")
    run("midi", "weighted")
    query = "SELECT count(*), sum(weight) FROM {}_sample.inputs__orders_weighted"
    assert rows(pipeline_database, query.format("midi")) == [(4, 4.0)]
    assert rows(pipeline_database, query.format("full")) == [(5, 5.0)]


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ({"order": sa.text("SELECT 1")}, "'order' is for no table of `raw`. Did you mean 'orders'"),
        ({"orders": 7}, "for 'orders' is no query"),
    ],
)
def test_what_it_returns_is_checked(returned: Any, told: str) -> None:
    assets = pipeline(lambda copy: returned)
    resources = instance_resources("midi", io_manager=False)
    with pytest.raises(ConfigurationError, match=told):
        dg.materialize_to_memory(assets, partition_key="midi", resources=resources)
