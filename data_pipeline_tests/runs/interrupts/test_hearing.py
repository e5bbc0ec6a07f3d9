"""Signals are heard while a run is watched: by the run, and by whoever listened before."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from data_pipeline.database import interrupts

HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def _taken_note_of() -> Iterator[None]:
    """Handlers that do nothing, as Dagster's outside of steps."""
    before = {number: signal.signal(number, lambda *_: None) for number in HEARD}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def watching() -> Iterator[None]:
    interrupts.watch()
    try:
        yield
    finally:
        interrupts.unwatch()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_wait_ends(number: signal.Signals) -> None:
    with watching():
        interrupts.check()
        os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt, match=rf"Asked to end \({number.name}\)"):
            interrupts.pause(600)
        assert interrupts.is_asked()
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert not interrupts.is_asked()
    interrupts.check()


def test_a_request_counts_until_the_outermost_watch_ends() -> None:
    with watching():
        with watching():
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                interrupts.pause(600)
        assert interrupts.is_asked()
    assert not interrupts.is_asked()


def test_a_run_in_another_thread_hears_nothing() -> None:
    found: list[bool] = []

    def watched() -> None:
        with watching():
            os.kill(os.getpid(), signal.SIGINT)
            interrupts.pause(0)
            found.append(interrupts.is_asked())

    thread = Thread(target=watched)
    thread.start()
    thread.join()
    assert found == [False]


def test_signals_are_passed_on_but_not_those_of_a_forked_process() -> None:
    heard, told = socket.socketpair()
    told.setblocking(False)
    before = signal.set_wakeup_fd(told.fileno())
    try:
        with watching():
            if (child := os.fork()) == 0:
                os.kill(os.getpid(), signal.SIGINT)
                os._exit(0)
            os.waitpid(child, 0)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert heard.recv(64) == bytes([signal.SIGUSR1])
            assert not interrupts.is_asked()
        assert signal.set_wakeup_fd(told.fileno()) == told.fileno()
    finally:
        signal.set_wakeup_fd(before)
        heard.close()
        told.close()


def test_what_is_cancelled_is_no_error_of_the_server() -> None:
    cancelled = Event()

    def work(number: int | None) -> None:
        with watching(), interrupts.interruptible(cancelled.set):
            if number is not None:
                os.kill(os.getpid(), number)
                cancelled.wait()
            raise RuntimeError("canceling statement due to user request")

    with pytest.raises(KeyboardInterrupt):
        work(signal.SIGINT)
    with pytest.raises(RuntimeError):
        work(None)
