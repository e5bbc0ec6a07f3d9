"""What the data show to be wrong in a sample's settings: messages name file and instance."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline import (
    copy_filtered_inputs,
    definitions,
    instance_definitions,
    instance_resources,
)
from data_pipeline.cli import main
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import load_configuration
from data_pipeline.instances.partitions import instance_partitions, raw_partition_mapping
from data_pipeline.sampling.prediction import dry_run
from data_pipeline_tests.memo.chains import configured, copy_of
from data_pipeline_tests.sampling.shop import Shop
from data_pipeline_tests.sampling.test_samples_of_copies import build, shop_assets

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"where": {"orders": "amoun > 3"}}, "sample.where: PostgreSQL does not"),
    ({"small_table_rows": 1}, "sample: no root reaches `notes`"),
    (
        {"where": {"orders": "amount > 90"}},
        "sample.where: no row of `inputs/orders` meets 'amount > 90'. Correct the condition",
    ),
    (
        {"where": {"customers": "customer < 3", "orders": "customer > 3"}},
        "sample.where: no row of `inputs/orders` meets 'customer > 3' and belongs to",
    ),
    (
        {"where": {"orders": "random() < 0.5 OR amount > 9"}},
        "sample.where: the condition of `inputs/orders`, 'random() < 0.5 OR amount > 9', calls",
    ),
    (
        {"mask": {"orders": {"amount": "random()"}}},
        "sample.mask: `amount` of `inputs/orders`, 'random()', calls `random()`, which may",
    ),
    (
        {"cover": {"predicates": {"orders": {"now": "clock_timestamp() > now()"}}}},
        "sample.cover.predicates: the predicate `now` of `inputs/orders`, 'clock_timestamp()",
    ),
]


def test_a_run_and_a_dry_run_say_where_a_mistake_stands(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(tmp_path, monkeypatch, base=None, part=copy_of("base"))
    assets = shop_assets(Shop(customers=20))
    monkeypatch.setattr(definitions, "defs", instance_definitions(assets))
    build(assets, "base")
    copied = dg.AssetSelection.groups("inputs", "sample")
    for mistake, message in MISTAKES:
        sample = {"roots": {"customers": {"rate": 0.5}}, **mistake}
        configured(tmp_path, monkeypatch, base=None, part=copy_of("base", sample=sample))
        said = f"{tmp_path / 'chain.yaml'}: instances.part.attrs.{message}"
        for tried in (200_000, 0):
            monkeypatch.setattr(dry_run, "_TRIED_ROWS", tried)
            dry = CliRunner().invoke(main, ["sample", "part"])
            assert (dry.exit_code, said in dry.output) == (1, True), (said, dry.output)
        resources = instance_resources("part")
        with pytest.raises(ConfigurationError) as caught:
            dg.materialize(assets, selection=copied, partition_key="part", resources=resources)
        assert said in str(caught.value)


@pytest.mark.parametrize("tried", [200_000, 0], ids=["tried", "predicted"])
def test_a_dry_run_prints_its_table_before_it_refuses(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: int
) -> None:
    monkeypatch.setattr(dry_run, "_TRIED_ROWS", tried)
    roots = {"orders": {"rate": 0.5}, "clicks": {"rate": 0.5}}
    sample = {"roots": roots, "cover": "off", "closure_limit": 0.1, "small_table_rows": 5}
    configured(tmp_path, monkeypatch, base=None, part=copy_of("base", sample=sample))
    assets = shop_assets(Shop(customers=20))
    monkeypatch.setattr(definitions, "defs", instance_definitions(assets))
    build(assets, "base")
    printed = CliRunner().invoke(main, ["sample", "part"])
    assert printed.exit_code == 1
    assert "  customers " in printed.stdout
    said = f"{tmp_path / 'chain.yaml'}: instances.part.attrs.sample.closure_limit: "
    assert said in printed.stderr
    as_json = CliRunner().invoke(main, ["sample", "part", "--json"])
    assert as_json.exit_code == 1
    [refused] = json.loads(as_json.stdout)["inputs"]["refused"]
    assert "Cut them (the reference is NULL where its row is missing), `cut: [" in refused


def test_a_dry_run_refuses_masks_of_rows_that_have_weights_and_no_key(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = {"roots": {"visits": {"rate": 0.5}}, "mask": {"visits": {"who": "'x'"}}}
    configured(tmp_path, monkeypatch, base=None, part=copy_of("base", sample=sample))
    configuration = load_configuration()

    @dg.asset(key=["raw", "visits"], partitions_def=instance_partitions(configuration))
    def visits() -> Any:
        return sa.text("SELECT g AS day, 'secret' AS who FROM generate_series(1, 50) g")

    mapping = raw_partition_mapping(configuration)
    for weights in (True, False):
        inputs = copy_filtered_inputs(
            stage="inputs", raw=[visits], weights=weights, partition_mapping=mapping
        )
        assets = [visits, inputs]
        monkeypatch.setattr(definitions, "defs", instance_definitions(assets))
        build(assets, "base")
        dry = CliRunner().invoke(main, ["sample", "part"])
        refused = "`inputs/visits` has no primary key" in dry.output
        assert (dry.exit_code, refused) == (int(weights), weights), dry.output
