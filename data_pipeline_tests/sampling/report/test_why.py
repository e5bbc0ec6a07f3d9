"""Why a row is in a sample, or is not."""

from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.sampling.key_hash import permanent_random
from data_pipeline.tables import ForeignKey
from data_pipeline_tests.sampling.report.made import Made, explanation, extra

SETTINGS: dict[str, Any] = {"roots": {"customers": {"rate": 0.5}}}
BY_CUSTOMER = ForeignKey(["customer"], "customers", ["id"])
BY_STAFF = ForeignKey(["staff"], "staff", ["id"])
BY_BOSS = ForeignKey(["boss"], "staff", ["id"])

CUSTOMERS = {1: ("certain", 1.0, 1), 2: ("sampled", 0.5, 2), **extra("reference", 3)}
ORDERS = {
    10: ("sampled", 0.5, 10),
    20: ("sampled", 0.5, 2),
    40: ("sampled", 0.5, 40),
    50: ("sampled", 0.5, 50),
    **extra("witness", 30),
}
TABLES = {
    "customers": Made("id int", [(i,) for i in range(1, 5)], CUSTOMERS),
    "orders": Made(
        "id int, customer int, staff int",
        [(10, 1, 7), (11, 1, 7), (20, 2, 8), (30, 3, 8), (31, 3, 8), (40, None, 8), (41, 4, 8),
         (50, 99, 8)],
        ORDERS,
        [BY_CUSTOMER, BY_STAFF],
    ),
    "staff": Made(
        "id int, boss int", [(6, None), (7, 6), (8, None), (9, None)], extra("reference", 6, 7, 8),
        [BY_BOSS],
    ),
}  # fmt: skip


def why(engine: sa.Engine, table: str, key: int, settings: dict[str, Any] = SETTINGS) -> str:
    return explanation(engine, TABLES, settings, table, str(key))


def hash_of(key: int) -> str:
    import pyarrow as pa

    return f"hash {(int(permanent_random([pa.array([key])], 0)[0]) + 2**63) / 2**64:.6f}"


@pytest.mark.parametrize(
    ("table", "key", "parts"),
    [
        ("customers", 1, ["certain, inclusion probability 1", "a hub", "2 of orders rows refer"]),
        ("customers", 2, ["sampled, inclusion probability 0.5, weight 2", hash_of(2), "0.500000"]),
        ("orders", 10, ["belongs to the hub customers (id = 1)", hash_of(10)]),
        ("orders", 20, ["sampled with customers (id = 2), by orders (customer)", hash_of(2)]),
        ("orders", 40, ["refers to nothing by orders (customer)", hash_of(40)]),
        ("orders", 50, ["refers to a row that does not exist"]),
        ("customers", 4, ["is not in the sample", hash_of(4), "no pin names it"]),
        ("orders", 41, ["is not in the sample", "with customers (id = 4), which is not there"]),
        ("orders", 31, ["customers (id = 3) is there as reference only"]),
        ("staff", 9, ["is not in the sample", "no row of the sample refers to it"]),
    ],
)
def test_the_reason_is_said(engine: sa.Engine, table: str, key: int, parts: list[str]) -> None:
    found = why(engine, table, key)
    assert [part for part in parts if part not in found] == []


def test_references_are_followed_to_a_row_that_is_there_for_its_own_sake(
    engine: sa.Engine,
) -> None:
    lines = why(engine, "staff", 6).splitlines()
    assert lines[:4] == [
        "staff (id = 6) is in the sample: reference, no weight",
        "  staff (id = 7) refers to staff (id = 6) by staff (boss) -> staff (id)",
        "  orders (id = 10) refers to staff (id = 7) by orders (staff) -> staff (id)",
        "  orders (id = 10) is there since: sampled",
    ]


def test_a_number_of_rows_has_a_last_one(engine: sa.Engine) -> None:
    settings = {"roots": {"customers": {"rows": 2}}}
    assert f"{hash_of(2)} (of 1; salt 0) is below" in why(engine, "customers", 2, settings)
    assert "the last one of the 2 rows asked for" in why(engine, "customers", 2, settings)


def test_a_minimal_sample_says_so(engine: sa.Engine) -> None:
    settings = {"roots": {"customers": {}}, "size": "minimal"}
    assert "the sample is minimal" in why(engine, "orders", 41, settings)
