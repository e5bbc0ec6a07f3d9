"""Processes of readers, which know nothing of what other tests have loaded."""

from collections.abc import Iterator

import pytest

from data_pipeline_tests.launch import forked


@pytest.fixture(scope="module", autouse=True)
def _own_forkserver() -> Iterator[None]:
    with forked.ready():
        yield
