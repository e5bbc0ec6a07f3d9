"""A world for a test, as in `memo`."""

from data_pipeline_tests.memo.conftest import world

__all__ = ["world"]
