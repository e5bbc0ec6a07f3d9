"""The lease between the leader of a run and steps in other processes, on whatever machine.

The leader renews it; steps read it, and end within it when the leader is gone. The leader in turn
sees when the process of a step that has begun is gone, and fails the run instead of waiting.
"""

import ctypes
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database import interrupts
from data_pipeline.database.advisory_locks import TRY, step_lock_name
from data_pipeline.database.connection import Database, run
from data_pipeline.database.session_settings import end_sessions
from data_pipeline.errors import DatabaseError, DataPipelineError
from data_pipeline.instances import Instance
from data_pipeline.runs.step_queue import StepQueue
from data_pipeline.store.active_runs import lease_rows

SECONDS = 30.0
"""For so long steps go on after the leader was heard of last. The leader's value counts for all."""

_RENEWALS = 6
"""How often the lease is renewed, and read, while it lasts."""

_SECONDS_TO_END = 5.0
"""How long the code of a step has to end by itself, once it was told to."""

_KEEPALIVES = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)

_FAILURES = (DatabaseError, sa.exc.OperationalError, sa.exc.InterfaceError, KeyboardInterrupt)
"""What asking the server may end in: the next try may do better, or the lease lapses."""


class StepLostError(DataPipelineError):
    """Nobody will say what became of a step: its process is gone, or none has begun it."""


class LeaderLease:
    """The leader's side: renews the lease until it is closed, and looks after the steps.

    Args:
        database: The database of the instance.
        instance: The instance of the run.
        run_id: The run, which is listed as being at work.
        asked: What each step is asked to compute.
        queue: The steps that wait for a process to begin them.
    """

    def __init__(
        self,
        database: Database,
        instance: Instance,
        run_id: str,
        asked: Mapping[str, Any],
        queue: StepQueue | None = None,
    ) -> None:
        self._database, self._instance, self._run_id = database, instance, run_id
        self._seconds = SECONDS
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._ended: set[str] = set()
        self._retried: set[str] = set()
        self._gone_since: dict[str, float] = {}
        self._waiting: int | None = None
        self._queue = queue
        self.lost: str | None = None
        with database.begin() as connection:
            told = {"steps": dict(asked)}
            lease_rows.grant(connection, instance, run_id, told, self._seconds)
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def ended(self, step: str, *, again: bool) -> None:
        """Note that the leader has heard of the end of a step.

        Args:
            step: The step.
            again: Whether it will be tried again, by the same process or another one.
        """
        (self._retried if again else self._ended).add(step)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Raise in the block, which waits for steps, when the process of one is lost.

        Raises:
            StepLostError: It is.
        """
        with self._lock:
            self._waiting, self._gone_since = threading.get_ident(), {}
        try:
            yield
        except StepLostError:
            raise StepLostError(self.lost) from None
        finally:
            with self._lock:
                self._waiting = None

    def close(self) -> None:
        """Take the lease from the steps: those that are still at work end."""
        self._closed.set()
        self._thread.join(self._seconds)
        with suppress(*_FAILURES), self._database.begin() as connection:
            lease_rows.end(connection, self._instance, self._run_id)

    def _renew(self) -> None:
        while not self._closed.wait(self._seconds / _RENEWALS):
            with suppress(*_FAILURES), self._database.begin() as connection:
                if interrupts.is_asked():  # the run ends, and its steps with it
                    lease_rows.end(connection, self._instance, self._run_id)
                    return
                retried, self._retried = self._retried, set()
                lease_rows.forget(connection, self._instance, self._run_id, retried)
                arguments = (self._instance, self._run_id, self._seconds)
                at_work, gone = lease_rows.renew(connection, *arguments)
                self._look_after(gone)
                if self._queue is not None and (problem := self._queue.look(at_work)) is not None:
                    self._wake(problem)

    def _look_after(self, gone: set[str]) -> None:
        """Wake up the leader if a step's process is gone and its end has not come in time."""
        now = time.monotonic()
        missing = gone - self._ended
        with self._lock:
            since = {step: self._gone_since.get(step, now) for step in missing}
            self._gone_since = since
        if lost := sorted(step for step, began in since.items() if now - began >= self._seconds):
            self._wake(
                f"Step `{lost[0]}` was lost: the process that worked on it, or its machine, is "
                "gone. What was committed before is unchanged. See the log of that worker, start "
                "it again if it does not start by itself, and run again."
            )

    def _wake(self, problem: str) -> None:
        with self._lock:
            if self._waiting is not None:
                self.lost = problem
                raise_in(self._waiting, StepLostError)


class StepLease:
    """A step's side: holds the step's lock, reads the lease, and ends the step without it.

    Args:
        database: The database of the instance.
        instance: The instance of the run.
        run_id: The run.
        step: The step, which this thread is about to execute.
        seconds: How long the lease lasts.
    """

    def __init__(
        self, database: Database, instance: Instance, run_id: str, step: str, seconds: float
    ) -> None:
        self._instance, self._run_id, self._step = instance, run_id, step
        self._seconds = seconds
        self._database = database
        self._worker = threading.get_ident()
        self._may_exit = threading.current_thread() is threading.main_thread()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._connection = database.private_connection()
        try:
            self._begin()
        except BaseException:
            self._connection.close()
            raise
        self._thread = threading.Thread(target=self._watch, name="step-lease", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the watch, as the step is done."""
        with self._lock:
            self._closed.set()
        self._thread.join(self._seconds)
        with suppress(Exception):
            self._connection.close()

    def _begin(self) -> None:
        with self._connection.begin():
            # The lock of a machine that vanished is not to stay for hours.
            run(self._connection, _KEEPALIVES)
            self._connection.execute(TRY, {"name": step_lock_name(self._run_id, self._step)})
            lease_rows.begin(self._connection, self._instance, self._run_id, self._step)

    def _watch(self) -> None:
        heard = time.monotonic()
        while not self._closed.wait(self._seconds / _RENEWALS):
            with suppress(*_FAILURES):
                if not self._is_led():
                    break
                heard = time.monotonic()
            if time.monotonic() - heard > self._seconds:
                break
        self._end_step()

    def _is_led(self) -> bool:
        """Ask the server; where the session of the lock is gone, take the lock in another one."""
        if self._connection.invalidated or self._connection.closed:
            self._connection = self._database.private_connection()
            self._begin()
        with self._connection.begin():
            lease_rows.begin(self._connection, self._instance, self._run_id, self._step)
            lease = lease_rows.find(self._connection, self._instance, self._run_id, self._step)
        return lease is not None and lease.is_valid

    def _end_step(self) -> None:
        """End the code of the step and what it has the server do, until the step is done."""
        deadline = time.monotonic() + _SECONDS_TO_END
        while True:
            with self._lock:
                if self._closed.is_set():
                    return
                with suppress(*_FAILURES), self._database.begin() as connection:
                    end_sessions(connection, self._run_id, self._step)
                raise_in(self._worker, dg.DagsterExecutionInterruptedError)
                if time.monotonic() > deadline and self._may_exit and is_replaceable():
                    os._exit(1)
            self._closed.wait(1)


def is_replaceable() -> bool:
    """Whether this process works for one step at a time and is started anew when it ends.

    Celery's processes are, unless the worker itself executes the steps (pools `solo`, `threads`).
    """
    import sys

    billiard: Any = sys.modules.get("billiard")
    if billiard is None or "celery" not in sys.modules:
        return True
    return bool(billiard.current_process()._parent_pid)


def raise_in(thread: int, kind: type[BaseException]) -> None:
    """Raise an exception in another thread, as soon as it executes Python code."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))


def lease_of(
    database: Database, instance: Instance, run_id: str, node: str, step: str
) -> lease_rows.Lease | None:
    """Return the lease of a run that another process leads; None where there is none.

    Args:
        database: The database of the instance.
        instance: The instance of the run.
        run_id: The run.
        node: The asset or check that the step belongs to, as the leader names it.
        step: The step.

    Raises:
        DatabaseError: The leader is gone.
    """
    with database.begin() as connection:
        lease = lease_rows.find(connection, instance, run_id, node)
    if lease is not None and not lease.is_valid:
        raise not_led(instance, run_id, step)
    return lease


def not_led(instance: Instance, run_id: str, step: str) -> DatabaseError:
    """Return the error to raise for a step whose result nobody would commit."""
    return DatabaseError(
        f"Step `{step}` was not begun, since nobody leads run {run_id} on instance "
        f"`{instance.name}` (id `{instance.instance_id}`): the process that led it is gone, or the "
        "database or instance of this process are not those of the run. Compare their "
        f"instances.yaml and environment, and run again: {instance.build_command}"
    )
