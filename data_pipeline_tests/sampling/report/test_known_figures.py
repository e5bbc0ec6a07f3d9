"""What a report needs of the source is looked for once, and is the same when it is known."""

from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline_tests.io_manager.runs import execute
from data_pipeline_tests.sampling.report.shop_report import MIDI, build
from data_pipeline_tests.sampling.shop import Shop, configured, rows


def known(engine: sa.Engine) -> dict[str, list[Any]]:
    """Gives when the answers were taken, by what they are for."""
    found: dict[str, list[Any]] = {}
    query = "SELECT about, taken_at FROM midi_catalog.source_facts WHERE about LIKE 'report of %'"
    for about, taken in rows(engine, f"{query} ORDER BY 1, 2"):
        found.setdefault(about, []).append(taken)
    return found


def report(engine: sa.Engine) -> Any:
    return rows(engine, "SELECT * FROM midi_sample.inputs__report ORDER BY number")


def test_figures_of_unchanged_tables_are_known(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    shop = Shop()
    config = configured(tmp_path, midi={**MIDI, "cover": {"predicates": {"orders": {"a": "true"}}}})
    build(shop, "full", config)
    build(shop, "midi", config)
    first = known(pipeline_database)
    assert {"report of clicks", "report of orders", "report of customers"} <= first.keys()
    shop.frames["orders"].loc[::40, "amount"] = 17.0
    dg.materialize(
        shop.assets(),
        selection=dg.AssetSelection.assets(["raw", "orders"]),
        partition_key="full",
        resources=instance_resources("full", config=config),
    )
    build(shop, "midi", config)
    second = known(pipeline_database)
    assert second["report of clicks"] == first["report of clicks"]
    assert second["report of orders"] != first["report of orders"]
    by_what_is_known = report(pipeline_database)
    execute(pipeline_database, "TRUNCATE midi_catalog.source_facts")
    build(shop, "midi", config, only_report=True)
    assert report(pipeline_database) == by_what_is_known
    assert known(pipeline_database)["report of clicks"] != second["report of clicks"]
