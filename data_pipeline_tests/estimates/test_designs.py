"""Rows with weights say how their units were drawn, such that estimates need not be told."""

from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.estimates import total
from data_pipeline_tests.sampling.shop import Shop, configured, rows, run

SALTS = range(3)


@pytest.fixture
def shop() -> Shop:
    """A shop with a hub, with orders of unknown customers, and with such of none."""
    shop = Shop(customers=200)
    orders = shop.frames["orders"]
    hub = pd.DataFrame({"number": range(2000, 2600), "customer": 3, "amount": 1.0})
    unknown = pd.DataFrame({"number": range(5000, 5100), "customer": range(9000, 9100)})
    nobody = pd.DataFrame({"number": range(6000, 6100), "customer": [None] * 100})
    added = [hub, unknown.assign(amount=2.0), nobody.assign(amount=3.0)]
    shop.frames["orders"] = pd.concat([orders, *added]).astype({"customer": "Int64"})
    return shop


@pytest.mark.parametrize("salt", SALTS)
def test_a_number_of_rows_is_a_simple_random_sample_and_all_else_is_drawn_by_itself(
    pipeline_database: sa.Engine, tmp_path: Path, shop: Shop, salt: int
) -> None:
    config = configured(tmp_path, midi={"roots": {"customers": {"rows": 41}}, "salt": salt})
    for name in ("full", "midi"):
        run(shop.assets(weights=True), name, config)
    assert rows(
        pipeline_database,
        "SELECT DISTINCT role, design, sample_size FROM midi_sample.inputs__customers "
        "WHERE probability IS NOT NULL ORDER BY role",
    ) == [("certain", "poisson", None), ("sampled", "srs", 40)]
    designs = rows(
        pipeline_database,
        "SELECT DISTINCT design, sample_size, customer = 3, customer IS NULL OR customer >= 9000 "
        "FROM midi_sample.inputs__orders_weighted WHERE weight > 0",
    )
    assert ("srs", 40, False, False) in designs
    assert ("poisson", None, True, False) in designs
    assert all(
        (design == "poisson") == bool(hub or alone)
        for design, _, hub, alone in designs
        if alone is not None
    )
    assert rows(
        pipeline_database,
        "SELECT DISTINCT design, sample_size FROM midi_sample.inputs__orders "
        "WHERE probability IS NULL",
    ) in ([], [(None, None)])


@pytest.mark.parametrize("root", [{"rows": 41}, {"rate": 0.2}])
def test_totals_are_estimated_from_the_weighted_view_alone(
    pipeline_database: sa.Engine, tmp_path: Path, shop: Shop, root: dict[str, float]
) -> None:
    config = configured(tmp_path, midi={"roots": {"customers": root}, "salt": 5})
    for name in ("full", "midi"):
        run(shop.assets(weights=True), name, config)
    for name in ("full", "midi"):
        with pipeline_database.connect() as connection:
            view = sa.Table(
                "inputs__orders_weighted",
                sa.MetaData(),
                schema=f"{name}_sample",
                autoload_with=connection,
            )
            estimate = total(view, "amount", connection=connection)
        truth = shop.frames["orders"]["amount"].sum()
        assert estimate.low <= truth <= estimate.high
        assert (estimate.standard_error == 0) == (name == "full")
