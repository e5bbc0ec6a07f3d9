"""Waiting for the processes of a run."""

import subprocess
from pathlib import Path

from data_pipeline_tests.proofs.launched import Launched, ProcessGroup


class Ended:
    """The process of a run, which was killed."""

    pid: int | None = None

    def end(self, timeout: float) -> int | None:
        return -9


def left_by_a_run(group: ProcessGroup, *command: str) -> None:
    subprocess.Popen(command, process_group=group.number, stdin=subprocess.DEVNULL)


def test_what_dagster_leaves_behind_is_ended_and_not_waited_for(tmp_path: Path) -> None:
    group = ProcessGroup()
    process = Ended()
    process.pid = group.number
    run = Launched(process, tmp_path / "log", group)
    left_by_a_run(group, "tail", "-F", str(tmp_path / "log"))
    assert run.others() == []
    left_by_a_run(group, "sleep", "300")
    assert [other.name() for other in run.others()] == ["sleep"]
    assert len(group.members()) == 2
    run.end()
    assert group.members() == []
