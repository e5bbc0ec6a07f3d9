"""References that were lost, joins that are kept, and the price of sampling children with roots."""

import pytest
import sqlalchemy as sa

from data_pipeline import ForeignKey
from data_pipeline_tests.sampling.report.made import Made, one, report_of, sampled

SETTINGS = {"roots": {"customers": {"rate": 0.5}}, "hubs": "off"}
TO_CUSTOMER = ForeignKey(["customer"], "customers", ["id"])


def shop(
    customers: tuple[int, ...] = (1, 3), where: str | None = None, **more: Made
) -> dict[str, Made]:
    """Four customers with 3, 1, 1 and no orders, and an order of nobody and one that dangles."""
    orders = [(10, 1), (11, 1), (12, 1), (20, 2), (30, 3), (40, None), (50, 99)]
    chosen = {10: 1, 11: 1, 12: 1, 30: 3, 50: 99}
    keys = [ForeignKey(["customer"], "customers", ["id"], where)]
    return {
        "customers": Made("id int", [(i,) for i in range(1, 5)], sampled(*customers)),
        "orders": Made(
            "id int, customer int",
            orders,
            {order: ("sampled", 0.5, unit) for order, unit in chosen.items()},
            keys,
        ),
        **more,
    }


def test_references_that_hold_everywhere_are_no_violations(engine: sa.Engine) -> None:
    found = one(report_of(engine, shop(), SETTINGS), "reference violations", "orders")
    assert (found.value, found.passed) == (0, True)


def test_a_lost_reference_is_one_and_a_dangling_one_is_not(engine: sa.Engine) -> None:
    found = one(report_of(engine, shop(customers=(1,)), SETTINGS), "reference violations", "orders")
    assert (found.value, found.passed, found.severity) == (1, False, "error")


def test_rows_for_which_a_condition_does_not_hold_refer_to_nothing(engine: sa.Engine) -> None:
    tables = shop(customers=(1,), where="id < 30")
    found = one(report_of(engine, tables, SETTINGS), "reference violations", "orders")
    assert found.value == 0


def test_join_retention_is_the_weighted_share_of_the_joins_rows(engine: sa.Engine) -> None:
    # 5 of the source's orders have a customer; 4 of weight 2 are in the sample.
    found = one(report_of(engine, shop(), SETTINGS), "join retention", "orders")
    assert found.value == pytest.approx(8 / 5)


def test_the_design_effect_is_that_of_units(engine: sa.Engine) -> None:
    report = report_of(engine, shop(), SETTINGS)
    # Units of 3, 1 and 1 rows: (9 + 1 + 1) / 5.
    assert one(report, "design effect", "orders").value == pytest.approx(11 / 5)
    assert one(report, "design effect", "customers").value == 1


def test_a_design_effect_beyond_the_threshold_warns(engine: sa.Engine) -> None:
    report = report_of(engine, shop(), {**SETTINGS, "checks": {"design_effect": {"warn": 2}}})
    found = one(report, "design effect", "orders")
    assert (found.passed, found.severity) == (False, "warn")
