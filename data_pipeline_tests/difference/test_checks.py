"""Checks that compare a staged table with what was there before, before its stage commits."""

import pytest
import sqlalchemy as sa

from data_pipeline import compared_with, diff
from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.difference.test_versions import keyed
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.world import World


def test_a_blocking_check_keeps_a_stage_from_committing(
    world: World, pipeline_database: sa.Engine
) -> None:
    def made(version: str, *values: float):
        table = keyed("t", version, *values)
        return lambda: [table, *compared_with("previous", table, max_changed=0.3, blocking=True)]

    assert world.made(made("1", 1, 2, 3, 4)).success  # there is nothing before
    assert world.made(made("2", 1, 2, 3, 5)).success
    assert not world.made(made("3", 9, 9, 9, 5)).success
    assert rows(pipeline_database, "SELECT v FROM full_s.t ORDER BY k") == [(1,), (2,), (3,), (5,)]
    assert "75.00 % of the rows of `s/t` are changed against `full`, more than 30 %" in str(
        [
            event.asset_check_evaluation_data.description
            for event in world.last.events
            if event.event_type_value == "ASSET_CHECK_EVALUATION"
        ]
    )
    assert diff("full@staged").exit_status == 1


def test_a_share_that_is_impossible() -> None:
    with pytest.raises(ConfigurationError, match=r"compared_with\(max_changed=-1\)"):
        compared_with("previous", [], max_changed=-1)
