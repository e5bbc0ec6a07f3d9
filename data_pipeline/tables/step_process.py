"""Steps in processes of their own end with the process that leads their run.

What such a step computes would no longer be committed; but it would go on, for hours perhaps, and
the next run would wait for the tables that it is building.
"""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing.process import BaseProcess
from threading import Thread

LEADER = "DATA_PIPELINE_LEADING_PROCESS"
"""The environment variable that tells new processes which one leads the run."""


@contextmanager
def leading_steps() -> Iterator[None]:
    """Within the block, steps in processes that this one starts end with it."""
    before = os.environ.get(LEADER)
    os.environ[LEADER] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[LEADER]
        if before is not None:
            os.environ[LEADER] = before


@cache
def end_with_leader() -> None:
    """Lets this process end with the one that leads its run, if that has started it."""
    leader = multiprocessing.parent_process()
    if leader is not None and os.environ.get(LEADER) == str(leader.pid):
        Thread(target=_outlive, args=(leader,), name="end-with-leader", daemon=True).start()


def _outlive(leader: BaseProcess) -> None:
    leader.join()
    message = f"The process of the run ({leader.pid}) is gone: its step in process {os.getpid()} "
    print(f"{message}ends, and nothing of it is committed.", file=sys.stderr, flush=True)
    os._exit(1)
