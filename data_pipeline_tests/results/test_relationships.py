"""References may dangle as they do in the source, but not more often because of the sampling."""

from importlib.resources import files
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import yaml

from data_pipeline import ForeignKey
from data_pipeline_tests.results.conftest import Execute
from data_pipeline_tests.results.shop import CUSTOMERS, raw_tables, run, sampled

WARN = dg.AssetCheckSeverity.WARN
CHECK = "shop/orders.relationships"


def orders(*customers: int | None) -> pd.DataFrame:
    """Orders 1, 2, 3 and so on of these customers."""
    ids = range(1, len(customers) + 1)
    return pd.DataFrame({"id": list(ids), "customer": pd.array(customers, dtype="Int64")})


def check_orders(instance: str, raw: list[dg.AssetsDefinition]) -> dg.AssetCheckEvaluation:
    """Runs `full`, then the instance's sample of it, and checks its orders."""
    run("full", raw)
    return run(instance, [sampled(raw)], raw)[CHECK]


def record(found: dg.AssetCheckEvaluation) -> dict[str, object]:
    (only,) = found.metadata["relationships"].value.records  # type: ignore[union-attr]
    return dict(only.data)


def test_an_instance_that_loads_for_itself_reports_dangling_references(execute: Execute) -> None:
    raw = raw_tables(orders=orders(1, 8, 9, None, 9))
    results = run("full", [*raw, sampled(raw)])
    for found in (results["shop_raw/orders.relationships"], results[CHECK]):
        assert found.passed
        assert record(found) == {
            "relationship": "customer -> customers (id)",
            "references": 4,
            "dangling": 3,
            "share": 0.75,
            "lost_by_sampling": None,
            "source_share": None,
            "examples": "9; 8",
        }
        assert (found.metadata["references"].value, found.metadata["dangling"].value) == (4, 3)


def test_a_sample_whose_references_all_find_their_row_passes(execute: Execute) -> None:
    found = check_orders("midi", raw_tables(orders=orders(1, 2, 9, 9)))
    assert found.passed
    assert record(found)["dangling"] == 0


def test_a_sample_that_lost_referenced_rows_gets_a_warning_that_names_them(
    execute: Execute,
) -> None:
    found = check_orders("midi", raw_tables(orders=orders(4, 2, 9, None)))
    assert (found.passed, found.severity) == (False, WARN)
    assert found.description == (
        "`customer -> customers (id)` is worse in midi_shop.orders than in its source "
        "full_shop_raw.orders: 1 of 2 references dangle (50.00%) instead of 33.33%. 1 of them lost "
        "their row by the sampling, for example `4`. Keep more rows of `shop/customers` "
        "(`copy_filter_overrides` in the attrs of `midi`)."
    )
    assert record(found)["lost_by_sampling"] == 1
    assert record(found)["source_share"] == 1 / 3


def test_the_warning_names_only_references_that_the_sampling_broke(execute: Execute) -> None:
    found = check_orders("midi", raw_tables(orders=orders(0, 4, 1, 2)))
    assert not found.passed
    assert (record(found)["dangling"], record(found)["examples"]) == (2, "4")


def test_references_that_dangle_in_the_source_as_well_are_no_fault_of_the_sample(
    execute: Execute,
) -> None:
    found = check_orders("mini", raw_tables(orders=orders(9, 1, 2, 3)))
    assert found.passed
    assert (record(found)["share"], record(found)["lost_by_sampling"]) == (1.0, 0)


def test_a_sample_that_dangles_no_more_often_than_its_source_passes(execute: Execute) -> None:
    found = check_orders("midi", raw_tables(orders=orders(4, 1, 9, 9)))
    assert found.passed
    assert (record(found)["share"], record(found)["source_share"]) == (0.5, 0.5)
    assert record(found)["lost_by_sampling"] == 1


def test_a_copy_of_a_sample_is_compared_with_that_sample(
    execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = files("data_pipeline").joinpath("instances.yaml").read_text(encoding="utf-8")
    settings = yaml.safe_load(text)
    attrs = settings["instances"]["mini"]["attrs"]
    attrs["copy_source"] = "midi"
    del attrs["sample"]  # nobody may sample from a sample
    file = tmp_path / "instances.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
    raw = raw_tables(orders=orders(4, 2, 9, None))
    assert not check_orders("midi", raw).passed
    found = run("mini", [sampled(raw)], raw)[CHECK]
    # The row of customer 4 is missing in midi already.
    assert found.passed
    assert (record(found)["dangling"], record(found)["lost_by_sampling"]) == (1, 0)


def test_references_with_null_in_one_of_several_columns_refer_to_nothing(execute: Execute) -> None:
    customers = CUSTOMERS.assign(shop=["x", "x", "y", "y"])
    key = ForeignKey(
        ["customer", "shop"], references="customers", referenced_columns=["id", "shop"]
    )
    made = orders(1, 1, 1, None).assign(shop=pd.array(["x", "y", None, "x"], dtype="string"))
    raw = raw_tables(customers, made, key)
    found = run("full", raw)["shop_raw/orders.relationships"]
    assert (record(found)["references"], record(found)["dangling"]) == (2, 1)
    assert record(found)["examples"] == "1, y"


def test_a_table_may_refer_to_itself(execute: Execute) -> None:
    key = ForeignKey(["customer"], references="orders", referenced_columns=["id"])
    raw = raw_tables(orders=orders(None, 1, 1, 7), foreign_key=key)
    found = run("full", raw)["shop_raw/orders.relationships"]
    assert (record(found)["references"], record(found)["dangling"]) == (3, 1)


def test_a_sampled_table_refers_to_sampled_tables_also_when_its_key_names_the_raw_stage(
    execute: Execute,
) -> None:
    key = ForeignKey(["customer"], references="shop_raw/customers", referenced_columns=["id"])
    found = check_orders("midi", raw_tables(orders=orders(4, 2, 9, None), foreign_key=key))
    assert (found.passed, found.severity) == (False, WARN)
    assert "`shop/customers`" in str(found.description)


def test_a_relationship_to_a_table_that_does_not_exist_says_so(execute: Execute) -> None:
    raw = raw_tables(foreign_key=ForeignKey(["customer"], references="clients"))
    found = run("full", raw)["shop_raw/orders.relationships"]
    assert not found.passed
    assert "full_shop_raw.clients does not exist. Correct the ForeignKey" in str(found.description)


def test_a_relationship_between_columns_that_cannot_be_compared_says_so(execute: Execute) -> None:
    key = ForeignKey(["customer"], references="customers", referenced_columns=["name"])
    raw = raw_tables(foreign_key=key)
    found = run("full", raw)["shop_raw/orders.relationships"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "full_shop_raw.orders does not fit what its asset declares" in str(found.description)
    assert "operator does not exist: text = bigint" in str(found.description)


# What orders refer to: `midi` keeps the first two of them, and the customers 1 and 2.
FOUND, LOST, NULLS, UNKNOWN, UNLIKE, FAILING = (
    ForeignKey("found", "customers", "id"),
    ForeignKey("lost", "customers", "id"),
    ForeignKey("nulls", "customers", "id"),
    ForeignKey("found", "clients", "id"),
    ForeignKey("found", "customers", "name"),
    ForeignKey("found", "customers", "id", where="1 / (id - id) > 0"),
)


def with_keys(*keys: ForeignKey) -> list[dg.AssetsDefinition]:
    """Gives customers, and orders that refer to them by several keys."""
    numbers = {"id": [1, 2, 3, 4], "found": [2, 1, 1, 1], "lost": [4, 2, 1, 1], "nulls": [None] * 4}
    made = pd.DataFrame({name: pd.array(row, dtype="Int64") for name, row in numbers.items()})
    return raw_tables(CUSTOMERS, made, *keys)


def counts(found: dg.AssetCheckEvaluation) -> list[tuple[object, ...]]:
    """Gives references, dangling ones, and those lost by sampling, of each relationship."""
    records = found.metadata["relationships"].value.records  # type: ignore[union-attr]
    return [tuple(item.data[name] for name in NAMES) for item in records]


NAMES = ("references", "dangling", "lost_by_sampling")
OF_A_SAMPLE = {FOUND: (2, 0, 0), LOST: (2, 1, 1), NULLS: (0, 0, 0)}


@pytest.mark.parametrize(
    "keys",
    [(LOST, FOUND), (FOUND, LOST), (NULLS, LOST), (FOUND, NULLS, LOST)],
    ids=lambda keys: ", ".join(key.columns[0] for key in keys),
)
def test_keys_of_a_sample_that_fare_differently_are_told_apart(
    execute: Execute, keys: tuple[ForeignKey, ...]
) -> None:
    raw = with_keys(*keys)
    run("full", raw)
    found = run("midi", [sampled(raw)], raw)[CHECK]
    assert (found.passed, found.severity) == (False, WARN)
    assert str(found.description).startswith("`lost -> customers (id)` is worse in midi_shop.order")
    assert counts(found) == [OF_A_SAMPLE[key] for key in keys]
    assert found.metadata["references"].value == sum(OF_A_SAMPLE[key][0] for key in keys)


@pytest.mark.parametrize(
    ("key", "reason", "severity"),
    [
        (UNKNOWN, "full_shop_raw.clients does not exist", WARN),
        (UNLIKE, "operator does not exist: text = bigint", dg.AssetCheckSeverity.ERROR),
        (FAILING, "division by zero", dg.AssetCheckSeverity.ERROR),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_cannot_be_evaluated_hides_nothing_of_other_keys(
    execute: Execute, key: ForeignKey, reason: str, severity: dg.AssetCheckSeverity, place: int
) -> None:
    keys = [FOUND, NULLS]
    keys.insert(place, key)
    found = run("full", with_keys(*keys))["shop_raw/orders.relationships"]
    assert (found.passed, found.severity) == (False, severity)
    assert reason in str(found.description)
    expected: list[tuple[object, ...]] = [(4, 0, None), (0, 0, None)]
    expected.insert(place, (None, None, None))
    assert counts(found) == expected


def test_keys_of_a_table_without_rows_are_counted(execute: Execute) -> None:
    made = orders().assign(found=orders()["customer"])
    raw = raw_tables(CUSTOMERS, made, ForeignKey("customer", "customers", "id"), FOUND, UNKNOWN)
    found = run("full", raw)["shop_raw/orders.relationships"]
    assert not found.passed
    assert counts(found) == [(0, 0, None), (0, 0, None), (None, None, None)]
