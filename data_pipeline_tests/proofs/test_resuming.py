"""A run that failed is executed again from its failure on, as Dagster's web UI offers."""

import pytest

from data_pipeline_tests.proofs.runs import BY_PROCESSES, IN_PROCESS
from data_pipeline_tests.proofs.world import World

STAGED = ("ping/serve", "pong/backhand")


@pytest.mark.parametrize("module", [IN_PROCESS, pytest.param(BY_PROCESSES, marks=pytest.mark.soak)])
def test_a_run_executed_again_from_its_failure_commits_what_the_failed_one_staged(
    built_on: World, module: str
) -> None:
    failed = built_on.launch(2, module=module, PROOF_FAIL="ping/forehand")
    assert not failed.finish().success
    before = len(built_on.calls())
    ended = built_on.launch(2, module=module, resumes=failed).finish()
    assert ended.success, ended.log[-8000:]
    assert [name for _, name in built_on.calls()[before:]] == ["ping/forehand", "pong/score"]
    built_on.check("always", "whole", "finished", generation=2)


def test_a_run_that_fails_again_can_be_resumed_again(built_on: World) -> None:
    failed = built_on.launch(2, PROOF_FAIL="shop/model")
    assert not failed.finish().success
    again = built_on.launch(2, resumes=failed, PROOF_FAIL="pong/score")
    assert not again.finish().success
    assert {*STAGED, "ping/forehand"} <= built_on.staged()
    built_on.check("always", "whole")
    before = len(built_on.calls())
    ended = built_on.launch(2, resumes=failed).finish()
    assert ended.success, ended.log[-8000:]
    assert [name for _, name in built_on.calls()[before:]] == ["pong/score"]
    built_on.check("always", "whole", "finished", generation=2)


def test_a_resumed_run_takes_what_others_have_committed_since(built_on: World) -> None:
    failed = built_on.launch(2, PROOF_FAIL="ping/forehand")
    assert not failed.finish().success
    built_on.succeed(3)
    ended = built_on.launch(3, resumes=failed).finish()
    assert ended.success, ended.log[-8000:]
    built_on.check("always", "whole", "finished", generation=3)
