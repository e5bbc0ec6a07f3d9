"""Runs at once: two of one instance, and two of another that copies from it."""

import pytest

from data_pipeline_tests.proofs.tally import TALLY
from data_pipeline_tests.proofs.world import World

ROUNDS = [
    pytest.param(2, id="2 rounds"),
    pytest.param(50, id="50 rounds", marks=[pytest.mark.soak, pytest.mark.timeout(7200)]),
]


@pytest.mark.parametrize("rounds", ROUNDS)
def test_four_runs_at_once_end_well_and_whole(built_on: World, rounds: int) -> None:
    for number in range(rounds):
        # In every third round, both runs of `full` have the same to do.
        generations = [2 * number + 2, 2 * number + 2 + (number % 3 != 1)]
        started = [
            built_on.launch(generation, instance)
            for generation in generations
            for instance in ("full", "midi")
        ]
        for run in started:
            ended = run.finish()
            assert ended.success, ended.log[-8000:]
            assert "deadlock" not in ended.log
        built_on.check("always", "whole", "finished", instances=["full", "midi"])
        [(generation,)] = built_on.rows("SELECT DISTINCT generation FROM full_ping.forehand")
        assert generation in generations
        TALLY.rounds += 1


def test_a_copy_made_while_its_source_commits_is_of_one_generation(built_on: World) -> None:
    """`midi` starts again and again while `full` goes from generation to generation."""
    full = built_on.launch(2, PROOF_PACE="0.3")
    while full.is_running:
        built_on.succeed(2, "midi")
        built_on.check("always", "whole", "finished", instances=["midi"])
    assert full.finish().success
    built_on.check("always", "whole", "finished", instances=["full", "midi"])
