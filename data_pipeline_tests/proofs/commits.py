"""Commits one after the other, for proofs of what others do meanwhile."""

from collections.abc import Iterator

import pytest

from data_pipeline_tests.proofs.tally import TALLY
from data_pipeline_tests.proofs.world import World

COMMITS = [
    pytest.param(8, id="8 commits"),
    pytest.param(300, id="300 commits", marks=[pytest.mark.soak, pytest.mark.timeout(7200)]),
]


WAYS = pytest.mark.parametrize("way", ["table", "rows"])
"""The ways of committing: tables as a whole, or only the rows that differ."""


def commit_stages(world: World, wanted: int, way: str) -> Iterator[int]:
    """Runs new generations until so many stages have been committed; gives the generations."""
    before, count, generation = world.commits(), 0, 1
    while count < wanted:
        generation += 1
        ended = world.run_here(generation, PROOF_REPLACE=way)
        assert ended.success, ended.log[-8000:]
        after = world.commits()
        new = after - before
        stages = [stage for stage, _ in new]
        assert len(stages) == len(set(stages)), f"committed in several parts: {sorted(stages)}"
        count, before = count + len(new), after
        yield generation
    TALLY.commits += count
