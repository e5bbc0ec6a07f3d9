"""Processes that the leader of a run starts for steps: they end with it."""

import multiprocessing
import os
from functools import cache
from multiprocessing.process import BaseProcess
from select import select
from threading import Thread

LEADER = "DATA_PIPELINE_LEADING_PROCESS"
"""The environment variable that tells new processes which one leads the run."""


def lead_steps() -> None:
    """Let steps in processes that this one starts from now on end with it."""
    os.environ[LEADER] = str(os.getpid())


def leads_steps() -> bool:
    """Whether this process leads runs."""
    return os.environ.get(LEADER) == str(os.getpid())


def is_started_by_leader() -> bool:
    """Whether the process that leads the run has started this one."""
    leader = multiprocessing.parent_process()
    return leader is not None and os.environ.get(LEADER) == str(leader.pid)


@cache
def end_with_leader() -> None:
    """Let this process end with the one that leads its run, if that has started it."""
    leader = multiprocessing.parent_process()
    if leader is not None and is_started_by_leader():
        Thread(target=_end_after, args=(leader,), name="end-with-leader", daemon=True).start()


def _end_after(leader: BaseProcess) -> None:
    leader.join()
    message = f"The process of the run ({leader.pid}) is gone: its step in process {os.getpid()} "
    try:  # nobody may be left to read it, and others may hold the locks of sys.stderr
        if select([], [2], [], 0)[1]:
            os.write(2, f"{message}ends, and nothing of it is committed.\n".encode())
    finally:
        os._exit(1)
