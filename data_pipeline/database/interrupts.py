"""Requests to end (SIGINT, SIGTERM, Terminate in the web UI), heard while the server works.

Python runs a handler of signals between two instructions of its own, so only when a call that waits
for the server is over. While a run is watched, a thread hears of signals at once, by the file
descriptor that the interpreter writes them to, and cancels what this process has the server do.
What was cancelled ends in `KeyboardInterrupt`, as do our own waits, and nothing is committed.

Dagster's handlers stay in force. They end the code of a step; elsewhere they only take a note, and
lose it when the step's executor returns. So what counts is whether this module was asked.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread, current_thread, main_thread
from typing import Any, TypeVar

T = TypeVar("T")

_REQUESTS = frozenset({signal.SIGINT, signal.SIGTERM})
# A statement may begin just behind the request, so it is cancelled again and again.
_SECONDS_BETWEEN_CANCELS = 0.3
_SECONDS_BETWEEN_LOOKS = 0.2

_cancels: dict[object, Callable[[], object]] = {}
_lock = Lock()


class _Watch:
    """The thread that hears of signals, from the main thread's first watch to its last."""

    def __init__(self) -> None:
        self.asked = Event()
        self.request = ""
        self.depth = 1
        self._heard, self._told = socket.socketpair()
        self._told.setblocking(False)
        # Another one's, an event loop's for instance, hears of them as before.
        self._before = signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        Thread(target=self._listen, name="interrupts", daemon=True).start()

    def end(self) -> None:
        signal.set_wakeup_fd(self._before)
        self._told.shutdown(socket.SHUT_WR)

    def _listen(self) -> None:
        with self._heard, self._told:
            while True:
                try:
                    if not (numbers := self._heard.recv(64)):
                        return
                except TimeoutError:
                    numbers = b""
                self._pass_on(numbers)
                for number in _REQUESTS.intersection(numbers):
                    self.request = signal.Signals(number).name
                    self.asked.set()
                    self._heard.settimeout(_SECONDS_BETWEEN_CANCELS)
                if self.asked.is_set():
                    _cancel()

    def _pass_on(self, numbers: bytes) -> None:
        if self._before != -1 and numbers:
            with suppress(OSError):
                os.write(self._before, numbers)


_watch: _Watch | None = None


def watch() -> None:
    """Begin to listen, for a run or a step; each call needs an `unwatch`. No-op in other threads.

    Signals are the main thread's: a run in another one is not interrupted by them.
    """
    global _watch
    if current_thread() is not main_thread():
        return
    if _watch is None:
        _watch = _Watch()
    else:
        _watch.depth += 1


def unwatch() -> None:
    """Take back a call of `watch`; with the last one, a request is forgotten."""
    global _watch
    if _watch is None or current_thread() is not main_thread():
        return
    _watch.depth -= 1
    if _watch.depth == 0:
        ended, _watch = _watch, None
        ended.end()


@contextmanager
def watched() -> Iterator[None]:
    """Listen within a block."""
    watch()
    try:
        yield
    finally:
        unwatch()


def is_asked() -> bool:
    """Whether this process was asked to end since it is watched."""
    return _watch is not None and _watch.asked.is_set()


def check() -> None:
    """Do nothing unless this process was asked to end.

    Raises:
        KeyboardInterrupt: It was.
    """
    if _watch is not None and _watch.asked.is_set():
        raise KeyboardInterrupt(
            f"Asked to end ({_watch.request}): nothing more is committed, and what was committed "
            "before is unchanged. Run again to go on."
        )


def pause(seconds: float) -> None:
    """Sleep, but no longer than until the process is asked to end.

    Raises:
        KeyboardInterrupt: It was.
    """
    if _watch is None:
        time.sleep(seconds)
    else:
        _watch.asked.wait(seconds)
        check()


@contextmanager
def interruptible(cancel: Callable[[], object]) -> Iterator[None]:
    """Let what a session has the server do in the block be cancelled by a request to end.

    Args:
        cancel: Cancels the statement of the session; called in another thread.

    Raises:
        KeyboardInterrupt: Something failed in the block after the request.
    """
    key = object()
    with _lock:
        _cancels[key] = cancel
    try:
        yield
    except Exception:
        check()
        raise
    finally:
        with _lock:  # so that no session is closed under its cancellation
            _cancels.pop(key, None)


def abandonable(function: Callable[[], T]) -> T:
    """Call what may wait for a server and cannot be cancelled; a request to end leaves it behind.

    Use it for connecting: a pool of connections may let a client wait for a free one.

    Raises:
        KeyboardInterrupt: The process was asked to end meanwhile.
    """
    if _watch is None:
        return function()
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=call, name="connecting", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_SECONDS_BETWEEN_LOOKS)
        if thread.is_alive():
            check()
    if errors:
        raise errors[0]
    return results[0]


def let_through(dbapi: Any) -> None:
    """Let signals that come during a call of ADBC reach Python while it is watched.

    ADBC would take a SIGINT for itself: it cancels the statement, and nobody else hears of it.

    Args:
        dbapi: The module `adbc_driver_manager.dbapi`. Its `_blocking_call` is a private name: ADBC
            offers no other way. `data_pipeline_tests/runs/interrupts` fails when it changes.
    """
    own = dbapi._blocking_call
    if getattr(own, "__module__", None) == __name__:
        return

    def call(function: Any, args: Any, kwargs: Any, cancel: Any) -> Any:
        if _watch is None:
            return own(function, args, kwargs, cancel)
        return function(*args, **kwargs)

    dbapi._blocking_call = call


def _cancel() -> None:
    with _lock:
        for cancel in _cancels.values():
            # A session that is gone, or idle, has nothing to cancel.
            with suppress(Exception):
                cancel()


def _leave_to_parent() -> None:
    """Let a forked process, which has the parent's descriptor, not speak in its name."""
    global _watch, _lock
    if _watch is not None:
        signal.set_wakeup_fd(-1)
        _watch, _lock = None, Lock()
        _cancels.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
