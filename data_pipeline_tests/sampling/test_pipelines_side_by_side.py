"""Pipelines that sample in one instance neither wait for, nor clean up after each other."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline_tests.patience import PATIENCE
from data_pipeline_tests.sampling.shop import Shop, configured, rows, run

GATE = 4711
STANDS_BEFORE_IT = f"""
SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = {GATE}
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
PASSES = f"""
CREATE FUNCTION public.passes(number bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN true; END $$
"""


def test_two_pipelines_sample_at_the_same_time(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    """The first one stands in the middle of its choice until the second one has ended."""
    with pipeline_database.begin() as connection:
        connection.exec_driver_sql(PASSES)
    sample = {"roots": {"customers": {"rate": 0.2}}, "where": {"orders": "public.passes(number)"}}
    config = configured(tmp_path, midi=sample)
    raw = Shop().assets()[:-1]
    by_name = {asset.key.path[-1]: asset for asset in raw}
    ordering, clicking = (
        [*raw, copy_filtered_inputs(stage=stage, raw=[by_name[n] for n in names], weights=True)]
        for stage, names in (
            ("ordering", ("regions", "customers", "orders")),
            ("clicking", ("regions", "customers", "clicks")),
        )
    )
    run(ordering, "full", config)
    found: list[bool] = []

    def choose(assets: Sequence[dg.AssetsDefinition]) -> None:
        found.append(run(assets, "midi", config).success)

    first = threading.Thread(target=choose, args=[ordering], daemon=True)
    second = threading.Thread(target=choose, args=[clicking], daemon=True)
    with pipeline_database.connect() as gate:
        gate.exec_driver_sql(f"SELECT pg_advisory_xact_lock({GATE})")
        first.start()
        while rows(pipeline_database, STANDS_BEFORE_IT) == [(False,)]:
            assert first.is_alive()
            time.sleep(0.01)
        second.start()
        second.join(PATIENCE)
        assert found == [True]
        assert first.is_alive()
    first.join(PATIENCE)
    assert found == [True, True]
    drawn = "SELECT customer FROM midi_sample.{}__customers WHERE role = 'sampled' ORDER BY 1"
    both = [rows(pipeline_database, drawn.format(stage)) for stage in ("ordering", "clicking")]
    assert both[0] == both[1] != []
    weights = "SELECT count(*) FROM midi_sample.{}__{}_weighted WHERE weight > 0"
    for stage, table in (("ordering", "orders"), ("clicking", "clicks")):
        assert rows(pipeline_database, weights.format(stage, table)) > [(0,)]
