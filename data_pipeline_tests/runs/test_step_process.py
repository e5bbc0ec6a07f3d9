"""Steps in processes of their own end with the process that leads their run."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from data_pipeline_tests.patience import PATIENCE

PROGRAM = """
import multiprocessing, os, sys, time
from data_pipeline.runs.step_process import end_with_leader, lead_steps

def step():
    os.dup2(os.open(sys.argv[1], os.O_WRONLY), 2)
    end_with_leader()
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    if sys.argv[2] == "leads":
        lead_steps()
    multiprocessing.get_context("spawn").Process(target=step).start()
    time.sleep(600)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return file


def step_of(leader: "subprocess.Popen[str]") -> psutil.Process:
    assert leader.stdout is not None
    return psutil.Process(int(leader.stdout.readline()))


@pytest.fixture
def leader(program: Path, request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, program, *request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    "leader", [("/dev/null", "leads"), ("/dev/full", "leads")], indirect=True, ids=str
)
def test_a_step_ends_with_its_leader_whether_or_not_it_can_say_so(
    leader: "subprocess.Popen[str]",
) -> None:
    step = step_of(leader)
    leader.kill()
    step.wait(timeout=PATIENCE)


@pytest.mark.parametrize("leader", [("/dev/null", "does not lead")], indirect=True, ids=str)
def test_a_process_whose_parent_leads_no_run_goes_on(leader: "subprocess.Popen[str]") -> None:
    step = step_of(leader)
    leader.kill()
    leader.wait()
    with pytest.raises(psutil.TimeoutExpired):
        step.wait(timeout=2)
    step.kill()
