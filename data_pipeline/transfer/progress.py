"""What the log says of long transfers: rows and rate, every few seconds."""

import logging
import time
from collections.abc import Callable

Progress = Callable[[int, float], None]
"""Called during a transfer with the rows so far and the seconds since its start."""

INTERVAL_SECONDS = 5.0
"""A transfer is long, and reported, when it takes more than this; then every so often."""


def reporter(log: logging.Logger, what: str) -> Progress:
    """Return a function that logs rows and rate, at most every `INTERVAL_SECONDS`.

    Args:
        log: Takes the messages.
        what: What is transferred, with which each message begins.
    """
    last = time.monotonic()

    def report(rows: int, seconds: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < INTERVAL_SECONDS:
            return
        last = now
        rate = rows / seconds if seconds else 0.0
        log.info(f"{what}: {rows:,} rows in {seconds:.0f} s, {rate:,.0f} rows/s")

    return report
