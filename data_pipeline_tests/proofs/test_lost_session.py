"""A run whose database session ends, and its locks with it, says so and writes nothing more."""

import pytest

from data_pipeline_tests.proofs.runs import BY_PROCESSES, IN_PROCESS
from data_pipeline_tests.proofs.world import World

END_SESSION = "SELECT pg_terminate_backend(backend_pid) FROM full_catalog.runs"


@pytest.mark.parametrize(
    ("module", "moment"),
    [
        (IN_PROCESS, "shop/model"),
        pytest.param(BY_PROCESSES, "pong/backhand", marks=pytest.mark.soak),
        pytest.param(IN_PROCESS, "raw/orders", marks=pytest.mark.soak),
        pytest.param(IN_PROCESS, "pong/score", marks=pytest.mark.soak),
        pytest.param(BY_PROCESSES, "raw/orders", marks=pytest.mark.soak),
        pytest.param(BY_PROCESSES, "shop/model", marks=pytest.mark.soak),
    ],
)
def test_a_run_that_loses_its_locks_ends_with_an_error_and_the_next_one_finishes(
    built_on: World, module: str, moment: str
) -> None:
    run = built_on.launch_until(moment, module=module, PROOF_PACE="0.5")
    assert built_on.rows(END_SESSION) == [(True,)]
    ended = run.finish()
    assert not ended.success
    assert "Lost the connection to PostgreSQL" in ended.log
    built_on.check("always", "whole")
    built_on.succeed(2, module=module)
    built_on.check("always", "whole", "finished", generation=2)


def test_a_run_taken_for_dead_writes_nothing_beside_its_successor(built_on: World) -> None:
    """The run has lost its locks without noticing it, and another one has done its work."""
    pipe = built_on.prepare_hold()
    first = built_on.launch_until("shop/large", PROOF_PACE="0.5", PROOF_HOLD="shop/large")
    assert built_on.rows(END_SESSION) == [(True,)]
    built_on.succeed(3)
    built_on.check("always", "whole", "finished", generation=3)
    pipe.write_text("go on")
    ended = first.finish()
    assert not ended.success
    assert "may not write to instance `full` any more" in ended.log
    built_on.check("always", "whole", "finished", generation=3)
