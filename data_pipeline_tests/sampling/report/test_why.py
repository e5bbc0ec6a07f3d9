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
        ("customers", 1, ["certain, inclusion probability 1", "comes whole, or it is a hub"]),
        ("customers", 2, ["sampled, inclusion probability 0.5, weight 2", "was drawn", "rate 0.5"]),
        ("orders", 10, ["by orders (customer)", "belongs to customers (id = 1): certain"]),
        ("orders", 20, ["belongs to customers (id = 2): sampled", "drawn by the hash of its key"]),
        ("orders", 30, ["witness (least: id '30'), no weight"]),
        ("orders", 40, ["it refers to no row of the source, so it is drawn by itself"]),
        ("orders", 50, ["it refers to no row of the source, so it is drawn by itself"]),
        ("customers", 4, ["is not in the sample", "it was not drawn", "no pin names it"]),
        ("orders", 41, ["is not in the sample", "customers (id = 4): not in the sample"]),
        ("orders", 31, ["customers (id = 3): reference", "a reference row brings no others along"]),
        ("staff", 9, ["is not in the sample", "nothing in the sample refers to it"]),
    ],
)
def test_the_reason_is_said(engine: sa.Engine, table: str, key: int, parts: list[str]) -> None:
    found = why(engine, table, key)
    assert [part for part in parts if part not in found] == []


def test_references_are_followed_to_a_row_that_is_there_for_its_own_sake(
    engine: sa.Engine,
) -> None:
    assert why(engine, "staff", 6).splitlines() == [
        "staff (id = 6) is in the sample: reference (referenced: staff (boss) -> staff (id)), "
        "no weight",
        "  staff (id = 7) refers to it by staff (boss) -> staff (id): reference (referenced: "
        "orders (staff) -> staff (id)), no weight",
        "  orders (id = 10) refers to it by orders (staff) -> staff (id): sampled, inclusion "
        "probability 0.5, weight 2",
        "  by orders (customer) -> customers (id) it belongs to customers (id = 1): certain, "
        "inclusion probability 1, weight 1",
        "  every such sample has it: its table comes whole, or it is a hub",
    ]


def test_circles_come_to_an_end(engine: sa.Engine) -> None:
    said = ("reference", None, None, "referenced: staff (boss) -> staff (id)")
    circle = Made("id int, boss int", [(1, 2), (2, 1)], {1: said, 2: said}, [BY_BOSS])
    tables = {**TABLES, "staff": circle}
    assert len(explanation(engine, tables, SETTINGS, "staff", "1").splitlines()) == 2


def test_a_number_of_rows_is_named(engine: sa.Engine) -> None:
    settings = {"roots": {"customers": {"rows": 2}}, "salt": 7}
    assert "hash of its key: 2 rows of customers, salt 7" in why(engine, "customers", 2, settings)


def test_a_minimal_sample_says_so(engine: sa.Engine) -> None:
    settings = {"roots": {"customers": {}}, "size": "minimal"}
    assert "the sample is minimal" in why(engine, "orders", 41, settings)
