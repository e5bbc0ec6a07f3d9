"""`dagster job execute`: whole pipelines from the command line, one instance after another.

The fixture `full` starts a program anew; these are copies of a process.
"""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from data_pipeline_tests.launch import forked, quickstart
from data_pipeline_tests.launch.conftest import JOB_EXECUTE, NOTHING_EXECUTED, Place
from data_pipeline_tests.launch.processes import CHECKOUT

LAUNCH = ("dg", "launch", "-m", quickstart.__name__, "--job")


@pytest.fixture(scope="module", autouse=True)
def _own_forkserver() -> Iterator[None]:
    with forked.ready():
        yield


def execute(*command: str, env: Any) -> subprocess.CompletedProcess[str]:
    return forked.execute(*command, env=env, cwd=CHECKOUT)


def succeed(*command: str, env: Any) -> str:
    ended = execute(*command, env=env)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def test_the_job_of_an_instance_needs_no_more_than_its_name(full: Place) -> None:
    output = succeed(*JOB_EXECUTE, "mini", env=full.env)
    assert re.search("Left out .*raw__dfa", output)
    assert "instance `mini` does not load raw tables but copies from `full`" in output
    assert full.rows("SELECT a, b FROM mini_stage_2.b2") == [(0, 18)]
    assert full.rows("SELECT a, b FROM mini_stage_2.a3") == [(0, 36)]


def test_the_job_pipeline_takes_the_instance_as_a_tag(full: Place) -> None:
    succeed(*JOB_EXECUTE, "pipeline", "--tags", '{"dagster/partition": "midi"}', env=full.env)
    assert full.rows("SELECT a, b FROM midi_stage_2.b2 ORDER BY a") == [(0, 18), (2, 16)]


def test_full_has_every_row(full: Place) -> None:
    found = full.rows("SELECT a, b FROM full_stage_2.b2 ORDER BY a")
    assert found == [(0, 18), (2, 16), (4, 14), (8, 12)]


def test_dg_launches_the_job_of_an_instance_and_executes_nothing_again(full: Place) -> None:
    pytest.importorskip("dagster_dg_cli", reason="dg is in the extra `dev`")
    succeed(*LAUNCH, "pipeline", "--partition", "mini", env=full.env)
    assert full.rows("SELECT a, b FROM mini_stage_2.b2") == [(0, 18)]
    again = succeed(*LAUNCH, "mini", env=full.env)
    assert NOTHING_EXECUTED.search(again)
    assert "STEP_START" not in again


def test_a_second_run_executes_nothing(full: Place) -> None:
    assert NOTHING_EXECUTED.search(succeed(*JOB_EXECUTE, "full", env=full.env))


def test_an_unknown_instance_is_refused_with_the_known_ones(full: Place) -> None:
    ended = execute(
        *JOB_EXECUTE, "pipeline", "--tags", '{"dagster/partition": "tiny"}', env=full.env
    )
    assert ended.returncode != 0
    assert "there is no instance 'tiny'. Known here: 'full', 'midi', 'mini'." in ended.stdout


def test_the_job_pipeline_without_an_instance_is_refused(full: Place) -> None:
    before = full.rows("SELECT count(*) FROM pg_class")
    ended = execute(*JOB_EXECUTE, "pipeline", env=full.env)
    assert ended.returncode != 0
    assert "which instance it is: full, midi, mini" in ended.stdout
    assert full.rows("SELECT count(*) FROM pg_class") == before
