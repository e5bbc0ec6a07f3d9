"""The quickstart pipeline, built once for the tests that drop parts of it."""

import pytest

from data_pipeline_tests.beginnings import BeginWith
from data_pipeline_tests.cli.test_plan import build_quickstart


@pytest.fixture
def quickstart(begin_with: BeginWith) -> None:
    """Most of the pipeline is built on instance full."""
    begin_with("quickstart", lambda: build_quickstart("full"))
