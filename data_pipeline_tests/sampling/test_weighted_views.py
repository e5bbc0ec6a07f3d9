"""The weighted table of an input table is a view, which is committed with what it shows."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.sampling.shop import Shop, configured, rows, run

MIDI: dict[str, Any] = {"roots": {"customers": {"rate": 0.2}}, "salt": 3}
VIEW = "SELECT oid, relkind FROM pg_class WHERE oid = '{}_sample.inputs__orders_weighted'::regclass"


def test_it_is_a_view_on_every_instance_and_stays_when_nothing_changes(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    shop, config = Shop(), configured(tmp_path, midi=MIDI)
    for name in ("full", "midi"):
        run(shop.assets(weights=True), name, config)
    run(shop.assets(weights=True), "midi", config)
    for name in ("full", "midi"):
        [(_, kind)] = rows(pipeline_database, VIEW.format(name))
        assert kind == "v"
    before = rows(pipeline_database, VIEW.format("midi"))
    run(shop.assets(weights=True), "midi", config)
    assert rows(pipeline_database, VIEW.format("midi")) == before


def test_its_data_version_follows_its_rows(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    shop, config = Shop(), configured(tmp_path, midi=MIDI)
    versions = set()
    for amount in (1.0, 2.0, 3.0):
        shop.frames["orders"] = shop.frames["orders"].assign(amount=amount)
        for name in ("full", "midi"):
            run(shop.assets(weights=True), name, config)
            [(version,)] = rows(
                pipeline_database,
                f"SELECT data_version FROM {name}_catalog.tables "
                "WHERE stage = 'sample' AND name = 'inputs__orders_weighted'",
            )
            versions.add(version)
            shown = rows(
                pipeline_database,
                f"SELECT DISTINCT amount FROM {name}_sample.inputs__orders_weighted",
            )
            assert shown == [(amount,)]
    assert len(versions) == 6


def test_rows_roles_and_weights_are_committed_in_one_transaction(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    shop, config = Shop(), configured(tmp_path, midi=MIDI)
    for name in ("full", "midi"):
        run(shop.assets(weights=True), name, config)
    transactions = rows(
        pipeline_database,
        "SELECT count(DISTINCT xmin::text), count(*) FROM midi_catalog.tables "
        "WHERE stage IN ('inputs', 'sample')",
    )
    assert transactions == [(1, 15)]


@pytest.mark.parametrize("column", ["design", "sample_size"])
def test_a_column_of_the_same_name_is_refused(
    pipeline_database: sa.Engine, tmp_path: Path, column: str
) -> None:
    shop, config = Shop(), configured(tmp_path, midi=MIDI)
    shop.frames["orders"] = shop.frames["orders"].assign(**{column: 1})
    with pytest.raises(ConfigurationError, match=f"has a column `{column}` of its own"):
        run(shop.assets(weights=True), "full", config)
