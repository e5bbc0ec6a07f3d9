"""Why a row is in a sample, or is not."""

from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline import ForeignKey
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
    30: ("witness", None, None, "least: id '30'"),
}
STAFF = {
    6: ("reference", None, None, "referenced: staff (boss) -> staff (id)"),
    7: ("reference", None, None, "referenced: orders (staff) -> staff (id)"),
    8: ("reference", None, None, "referenced: orders (staff) -> staff (id)"),
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
        "id int, boss int", [(6, None), (7, 6), (8, None), (9, None)], STAFF,
        [BY_BOSS],
    ),
}  # fmt: skip


def why(engine: sa.Engine, table: str, key: int, settings: dict[str, Any] = SETTINGS) -> str:
    return explanation(engine, TABLES, settings, table, str(key))


@pytest.mark.parametrize(
    ("table", "key", "parts"),
    [
        ("customers", 1, ["certain, inclusion probability 1"]),
        ("customers", 2, ["sampled, inclusion probability 0.5, weight 2", "rate 0.5, salt 0"]),
        ("orders", 10, ["drawn with those of customers, here (id = 1)"]),
        ("orders", 30, ["witness (least: id '30'), no weight"]),
        ("customers", 4, ["is not in the sample", "no pin names it"]),
        ("orders", 41, ["is not in the sample", "drawn with those of customers, here (id = 4)"]),
        ("staff", 6, ["reference (referenced: staff (boss) -> staff (id)), no weight"]),
        ("staff", 9, ["is not in the sample", "nothing in the sample refers to it"]),
    ],
)
def test_the_reason_is_said(engine: sa.Engine, table: str, key: int, parts: list[str]) -> None:
    found = why(engine, table, key)
    assert [part for part in parts if part not in found] == []


def test_a_row_that_belongs_to_none_is_drawn_by_itself(engine: sa.Engine) -> None:
    assert why(engine, "orders", 40).splitlines() == [
        "orders (id = 40) is in the sample: sampled, inclusion probability 0.5, weight 2"
    ]


def test_a_number_of_rows_is_named(engine: sa.Engine) -> None:
    settings = {"roots": {"customers": {"rows": 2}}, "salt": 7}
    assert "hash of their key: 2 rows, salt 7" in why(engine, "customers", 2, settings)


def test_a_minimal_sample_says_so(engine: sa.Engine) -> None:
    settings = {"roots": {"customers": {}}, "size": "minimal"}
    assert "the sample is minimal" in why(engine, "orders", 41, settings)
