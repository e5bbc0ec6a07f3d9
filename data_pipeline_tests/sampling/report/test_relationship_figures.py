"""References that were lost, joins that are kept, and the price of sampling children with roots."""

import pytest
import sqlalchemy as sa

from data_pipeline import ForeignKey
from data_pipeline_tests.sampling.report.made import Made, extra, figures, one, report_of, sampled

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


def test_the_design_effect_is_predicted_from_the_source(engine: sa.Engine) -> None:
    report = report_of(engine, shop(), SETTINGS)
    # Customers with 3, 1 and 1 orders: (9 + 1 + 1) / 5; units of 3, 1 and 1 rows in the sample.
    assert one(report, "predicted design effect", "orders").value == pytest.approx(11 / 5)
    assert one(report, "design effect", "orders").value == pytest.approx(11 / 5)
    assert one(report, "design effect", "customers").value == 1


def test_children_of_hubs_are_units_of_their_own(engine: sa.Engine) -> None:
    report = report_of(engine, shop(), {**SETTINGS, "hubs": 2})
    # The three orders of the hub count as one each: (3 + 1 + 1) / 5.
    assert one(report, "predicted design effect", "orders").value == 1


def test_a_design_effect_beyond_the_threshold_warns(engine: sa.Engine) -> None:
    report = report_of(engine, shop(), {**SETTINGS, "checks": {"design_effect": {"warn": 2}}})
    found = one(report, "predicted design effect", "orders")
    assert (found.passed, found.severity) == (False, "warn")


def test_numbers_of_children_without_a_parent_in_the_sample_are_named(engine: sa.Engine) -> None:
    [found] = [
        f for f in figures(report_of(engine, shop(), SETTINGS), "coverage", "customers") if f.item
    ]
    # Customer 3 has one order and customer 1 the most; customer 4, who has none, is missing.
    assert (found.value, found.expected, found.severity) == (2, 3, "error")
    assert found.text == "no witness: parent with no child"


def test_a_witness_counts(engine: sa.Engine) -> None:
    tables = shop()
    customers = {**tables["customers"].sample, **extra("witness", 4)}
    tables["customers"] = Made("id int", tables["customers"].source, customers)
    [found] = [f for f in figures(report_of(engine, tables, SETTINGS), "coverage") if f.item]
    assert (found.value, found.passed) == (3, True)
