"""Short attempts to get locks that others hold, with growing pauses in between.

A commit that waits for a reader makes all later readers wait behind it, and may even wait for a
reader that waits for the commit. So it gives up soon (always before PostgreSQL looks for deadlocks,
after 1000 ms, and ends the reader's statement), lets the others pass, and tries again. Short waits
get in between many quick readers, longer ones outlast slow readers.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import sqlalchemy as sa

from data_pipeline.tables import interrupts

_QUICK_TRIES, _QUICK_MS = 8, 5
_SLOW_MS = (50, 100, 200, 400, 800)
_BUSY = frozenset({"55P03", "40P01"})  # lock_not_available, deadlock_detected
# PostgreSQL's internal error, in no other language, for grants and the like in two transactions.
_CONCURRENTLY = "tuple concurrently "
_SECONDS_BETWEEN_MESSAGES = 10.0


def is_busy(error: sa.exc.DBAPIError) -> bool:
    """Whether a statement failed only because somebody else is at work on the same."""
    return getattr(error.orig, "pgcode", None) in _BUSY or str(error.orig).startswith(_CONCURRENTLY)


def lock_timeouts(seconds: float, log: logging.Logger, message: Callable[[], str]) -> Iterator[int]:
    """Gives how many ms to wait for locks, again and again, with a pause before each next try.

    Args:
        seconds: How long to go on.
        log: Says from time to time what is waited for.
        message: Gives the text.

    Raises:
        KeyboardInterrupt: The process was asked to end.
    """
    started = time.monotonic()
    said = started - _SECONDS_BETWEEN_MESSAGES
    for slow in chain(_SLOW_MS, repeat(_SLOW_MS[-1])):
        for timeout in (*repeat(_QUICK_MS, _QUICK_TRIES), slow):
            interrupts.check()
            yield timeout
            # Another length each time, so as not to keep step with a reader.
            interrupts.pause(random.uniform(0.5, 1.5) * timeout / 1000)  # noqa: S311 - no secret
            if time.monotonic() - started > seconds:
                return
        if time.monotonic() - said >= _SECONDS_BETWEEN_MESSAGES:
            said = time.monotonic()
            log.info(message())
