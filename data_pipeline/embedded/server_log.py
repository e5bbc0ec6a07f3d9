"""Keeps the log of the embedded server small."""

import os

from data_pipeline.embedded.home_layout import Layout

LOG_LIMIT_BYTES = 10 * 1024 * 1024
_KEPT_BYTES = 1024 * 1024


def is_large(layout: Layout) -> bool:
    """Whether the log wants trimming."""
    try:
        return layout.log.stat().st_size > LOG_LIMIT_BYTES
    except FileNotFoundError:
        return False


def trim(layout: Layout) -> None:
    """Cut a large log down, also below a running server (which appends to it)."""
    if not is_large(layout):
        return
    with layout.log.open("rb+") as log:
        log.seek(-_KEPT_BYTES, os.SEEK_END)
        layout.write(layout.base / "server.log.1", log.read().decode(errors="replace"))
        log.truncate(0)
