"""Rows from one PostgreSQL to another, in the binary form of COPY, without a look at them."""

import fcntl
import os
import threading
from contextlib import suppress
from typing import Any, BinaryIO

_BUFFER_BYTES = 256 * 1024
_PIPE_BYTES = 1024 * 1024


class SourceFailedError(Exception):
    """The server that rows are read from failed; its error is the cause."""


def copy_through(source: Any, query: str, target: Any, into: str) -> int:
    """Return how many rows of a query were copied; memory holds a few hundred kilobytes.

    Both forms of a type have to be the same, which they are of all types that PostgreSQL itself
    has. Each session has the transaction that its caller wants, and `client_encoding` UTF8.

    Args:
        source: A connection of psycopg2.
        query: The query, with columns in the order of `into`.
        target: A connection of psycopg2.
        into: The SQL of the relation and its columns.

    Raises:
        SourceFailedError: The source failed. Its session is of no use any more.
        psycopg2.Error: The target failed. Neither session is of use any more.
    """
    read_end, write_end = os.pipe()
    if (resize := getattr(fcntl, "F_SETPIPE_SZ", None)) is not None:
        with suppress(OSError):  # a user has a limit of what all pipes hold
            fcntl.fcntl(write_end, resize, _PIPE_BYTES)
    reading = _Reading(source, query, os.fdopen(write_end, "wb", buffering=_BUFFER_BYTES))
    with os.fdopen(read_end, "rb", buffering=0) as rows, target.cursor() as cursor:
        reading.start()
        try:
            cursor.copy_expert(
                f"COPY {into} FROM STDIN (FORMAT binary)", _Rows(rows, reading), _BUFFER_BYTES
            )
        except BaseException:
            rows.close()  # who writes to the pipe ends
            reading.join()
            if not isinstance(reading.failure, BrokenPipeError | None):
                raise SourceFailedError from reading.failure
            raise
        return int(cursor.rowcount)


class _Reading(threading.Thread):
    """Writes the rows of the source to the pipe."""

    def __init__(self, source: Any, query: str, pipe: BinaryIO) -> None:
        super().__init__(name="copying", daemon=True)
        self.failure: BaseException | None = None
        self._source = source
        self._query = query
        self._pipe = pipe

    def run(self) -> None:
        try:
            with self._pipe, self._source.cursor() as cursor:
                cursor.copy_expert(
                    f"COPY ({self._query}) TO STDOUT (FORMAT binary)", self._pipe, _BUFFER_BYTES
                )
        except BaseException as error:
            self.failure = error

    def join_well(self) -> None:
        """Wait for the end.

        Raises:
            SourceFailedError: It was no good one.
        """
        self.join()
        if self.failure is not None:
            raise SourceFailedError from self.failure


class _Rows:
    """What the target reads: an end that comes too early is none."""

    def __init__(self, pipe: BinaryIO, reading: _Reading) -> None:
        self._pipe = pipe
        self._reading = reading

    def read(self, size: int) -> bytes:
        found = self._pipe.read(size)
        if not found:
            self._reading.join_well()
        return found
