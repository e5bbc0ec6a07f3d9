"""What the rows of a sample say of full."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import (
    compared_with,
    diff,
    estimates,
    instance_resources,
    load_configuration,
    table_properties,
)
from data_pipeline.difference.effect_on_full.effect import (
    EffectStratum,
    Powers,
    estimated,
    units_bound,
)
from data_pipeline.difference.result import TableDifference
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.sampling.shop import Shop, configured


def test_the_bound_where_no_change_is_seen() -> None:
    assert units_bound(0, 0.05) == 58
    assert units_bound(0, 1.0) == 0
    assert units_bound(3, 0.5) > units_bound(0, 0.5) >= 1


def test_few_units_give_a_bound_that_holds() -> None:
    # With as many units as the bound, so few in the sample would be seen once in 20 samples.
    from math import comb

    p, most = 0.1, int(units_bound(4, 0.1))
    at_most = [
        sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(5)) for n in (most, most + 1)
    ]
    assert at_most[0] >= 0.05 > at_most[1]


@pytest.mark.parametrize(("design", "size"), [("poisson", None), ("srs", 60)])
def test_powers_tell_what_estimates_tell(design: str, size: int | None) -> None:
    p, fixed = 0.2, design == "srs"
    values = [float(n * n % 17) for n in range(50)]
    frame = pd.DataFrame({"unit": range(50), "probability": p, "y": values}).assign(
        design=design, sample_size=size
    )
    z, f = [value / p for value in values], 1.0 if fixed else 1 - p
    sums = [(f ** (k / 2) if k > 1 else 1.0) * sum(one**k for one in z) for k in (1, 2, 3, 4)]
    stratum = EffectStratum(p if fixed else None, size or 0, 50, 50, 50, [Powers(*sums)] * 2)
    [figure] = estimated([stratum], [("sum of y", None)], p).figures
    expected = estimates.total(frame, "y")
    assert (figure.value, figure.low, figure.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


def derived(version: str, add: float) -> list[dg.AssetsDefinition]:
    """Gives orders, of which every third has another amount, and totals by customer."""
    options = {"partitions_def": INSTANCE_PARTITIONS, "code_version": version}

    @dg.asset(
        key=["clean", "orders"],
        ins={"orders": dg.AssetIn(["inputs", "orders"])},
        metadata=table_properties(primary_key="number"),
        **options,
    )
    def orders(orders: pd.DataFrame) -> pd.DataFrame:
        return orders.assign(amount=orders["amount"] + add * (orders["number"] % 3 == 0))

    @dg.asset(
        key=["clean", "ranks"],
        ins={"orders": dg.AssetIn(["clean", "orders"])},
        metadata=table_properties(primary_key="number", unit=[]),
        **options,
    )
    def ranks(orders: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"number": orders["number"], "rank": orders["amount"].rank()})

    return [orders, ranks]


@pytest.fixture
def config(pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "configuration"
    folder.mkdir()
    file = configured(folder, midi={"roots": {"customers": {"rate": 0.3}}, "cover": "off"})
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", file)
    return file


def built(shop: Shop, name: str, config: str, version: str, add: float) -> None:
    inputs = shop.assets(weights=True)
    assets = [*inputs, *derived(version, add)]
    chosen = dg.AssetSelection.groups("clean") | dg.AssetSelection.key_prefixes("clean")
    if version == "1":
        chosen |= dg.AssetSelection.assets(*(assets if name == "full" else [inputs[-1]]))
    result = dg.materialize(
        assets,
        selection=chosen,
        partition_key=name,
        resources=instance_resources(name, config=config),
    )
    assert result.success


def test_paired_rows_estimate_the_effect_on_full(config: str) -> None:
    shop = Shop(customers=400)
    for name in ("full", "midi"):
        built(shop, name, config, "1", 0)
    built(shop, "midi", config, "2", 10)
    found = {table.table: table for table in diff("midi").tables}
    orders, ranks = found["clean/orders"], found["clean/ranks"]
    figures = {item.what: item for item in orders.effect.figures} if orders.effect else {}
    truth = len(range(0, 1600, 3))
    assert figures["rows changed"].low < truth < figures["rows changed"].high
    assert figures["sum of amount"].low < 10 * truth < figures["sum of amount"].high
    # Orders have 10 more of the amount in each third row, whatever is in the sample.
    mean = figures["mean of amount"]
    assert mean.low < 10 * truth / 1600 < mean.high
    assert mean.high - mean.low < 2
    assert ranks.effect is not None
    assert "of the sample only" in ranks.effect.text
    _compare_with_full(diff("full", "midi", ["clean"]).tables)
    _check_against_full()


def _compare_with_full(tables: tuple[TableDifference, ...]) -> None:
    # full has still the amounts of before, which midi has not.
    orders, ranks = tables
    assert (orders.status, ranks.status) == ("changed", "sample only")
    assert orders.sample is not None
    assert [f.what for f in orders.sample.figures if f.is_off] == ["mean of amount"]
    assert load_configuration().instance("midi").sample is not None


def _check_against_full() -> None:
    checks = compared_with("full", derived("2", 10))
    context = dg.build_asset_check_context(resources=instance_resources("midi", io_manager=False))
    [orders], [ranks] = (list(check(context)) for check in checks)
    assert not orders.passed
    assert "differs from `full` by more than chance: mean of amount" in str(orders.description)
    assert ranks.passed
