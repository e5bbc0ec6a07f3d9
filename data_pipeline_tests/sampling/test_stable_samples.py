"""A sample in a mode that takes no fresh input: what is there stays, what must be made is made."""

from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline_tests.beginnings import BeginWith
from data_pipeline_tests.io_manager.runs import execute
from data_pipeline_tests.memo.chains import configured, copy_of
from data_pipeline_tests.sampling.shop import PROPERTIES, Shop, rows

CONNECTED = {"regions", "customers", "orders", "clicks"}


def built(shop: Shop, name: str) -> None:
    assets = shop.assets(weights=True)
    result = dg.materialize(
        assets,
        selection=None if name == "full" else dg.AssetSelection.assets(assets[-1]),
        partition_key=name,
        resources=instance_resources(name),
    )
    assert result.success


def change(shop: Shop) -> None:
    """Lets every table have other rows, whose references find theirs as before."""
    customers = shop.frames["customers"]
    shop.frames["customers"] = customers.assign(region=customers["region"].to_numpy()[::-1])
    for name in PROPERTIES.keys() - {"customers"}:
        shop.frames[name] = shop.frames[name].iloc[:-1]


def written(engine: sa.Engine) -> dict[str, int]:
    """Gives a number for each input table, its roles included, that changes with the table."""
    query = "SELECT CAST(to_regclass('midi_inputs.{0}') AS bigint), CAST(to_regclass("
    roles = "'midi_sample.inputs__{0}') AS bigint)"
    return {name: rows(engine, (query + roles).format(name))[0] for name in PROPERTIES}


@pytest.fixture
def shop(begin_with: BeginWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop that has changed since `midi` was built, which `full` shows already."""
    sample = {"roots": {"customers": {"rate": 0.4}}}
    stable = copy_of("full", mode="ignore_fresh_input", sample=sample)
    configured(tmp_path, monkeypatch, full=None, midi=stable)
    shop = Shop(customers=40)

    def build() -> None:
        built(shop, "full")
        built(shop, "midi")
        change(shop)
        built(shop, "full")

    begin_with(__name__, build)
    return shop


@pytest.mark.parametrize(
    ("dropped", "expected"),
    [
        (None, set()),
        ("midi_inputs.notes", {"notes"}),
        ("midi_sample.inputs__notes", {"notes"}),
        ("midi_inputs.orders", CONNECTED),
        ("midi_sample.inputs__regions", CONNECTED),
    ],
)
def test_what_is_connected_is_chosen_together_and_the_rest_stays(
    shop: Shop, pipeline_database: sa.Engine, dropped: str | None, expected: set[str]
) -> None:
    before = written(pipeline_database)
    if dropped:
        execute(pipeline_database, f"DROP TABLE {dropped} CASCADE")
    built(shop, "midi")
    after = written(pipeline_database)
    assert {name for name in PROPERTIES if after[name] != before[name]} == expected
    refers = """
        SELECT count(*) - count(c.customer)
        FROM midi_inputs.orders o LEFT JOIN midi_inputs.customers c USING (customer)
    """
    assert rows(pipeline_database, refers) == [(0,)]
    for name in PROPERTIES:
        weighted = f"SELECT count(*) FROM midi_sample.inputs__{name}_weighted"
        own = f"SELECT count(*) FROM midi_inputs.{name}"
        assert rows(pipeline_database, weighted) == rows(pipeline_database, own)


def test_taken_at_last_everything_is_chosen_anew(
    shop: Shop, pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written(pipeline_database)
    built(shop, "midi")
    assert written(pipeline_database) == before
    monkeypatch.setenv("DATA_PIPELINE_CACHE_VALIDATION", "normal")
    built(shop, "midi")
    assert not set(written(pipeline_database).values()) & set(before.values())
