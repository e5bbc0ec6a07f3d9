"""Chains are as long as a pipeline has tables."""

import inspect
import sys
from collections.abc import Iterator

import dagster as dg
import pytest

from data_pipeline import INSTANCE_PARTITIONS, instance_definitions

SIZE = 600


@pytest.fixture
def few_frames() -> Iterator[None]:
    """Leave so few frames that a smaller chain than one of a thousand tables needs more."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + SIZE // 3)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("few_frames")
def test_a_chain_needs_no_more_frames_than_there_are() -> None:
    def link(number: int) -> dg.AssetsDefinition:
        @dg.asset(
            key=["long", f"t{number}"],
            deps=[dg.AssetKey(["long", f"t{number - 1}"])] if number else [],
            partitions_def=INSTANCE_PARTITIONS,
            code_version="1",
        )
        def table() -> int:
            return number

        return table

    definitions = instance_definitions([link(number) for number in range(SIZE)])
    assert len(definitions.resolve_job_def("full").nodes) == SIZE
