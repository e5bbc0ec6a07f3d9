"""Fingerprints of what assets read from outside: how an asset declares its source's."""

import hashlib
import inspect
from collections.abc import Callable, Iterable
from itertools import chain, count
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from data_pipeline.code_version.nondeterminism import SOURCE_KEY
from data_pipeline.definition_metadata import kept
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Instance
from data_pipeline.memo.deciding.source_fingerprints import FINGERPRINTS, FingerprintOfInstance

Fingerprint = Callable[[], Any] | Callable[[Instance], Any]
"""A function whose value changes when the data of a source does; it may take the instance."""


def outside_input(
    fingerprint: Fingerprint | None = None, *, allow_fresh_input: bool = False
) -> dict[str, Any]:
    """Return asset metadata that declares that the asset takes input from outside.

    Use it for whatever an asset's code reads when it runs, which its code version cannot see: files
    (also those beside the code), environment variables, the clock, random numbers, other systems.

    - `@dg.asset(metadata=outside_input(lambda: fingerprint_of_files(PATH)))`: while fingerprint and
      code are unchanged, the asset is not computed again.
    - `outside_input(lambda instance: fingerprint_of_files(instance.attrs["path"]))`: the same, of a
      source that differs from instance to instance.
    - `outside_input()`: always run. The asset is computed in every run, unless its cache validation
      mode keeps fresh input out.

    A fingerprint must be a stable value (text, numbers, times, containers of these); one that
    differs from call to call never counts as unchanged.

    Args:
        fingerprint: A cheap function of no arguments, or of one: the instance of the run.
        allow_fresh_input: Load new data also in the modes `ignore_fresh_input` and
            `assert_no_fresh_input`.

    Raises:
        ConfigurationError: The fingerprint is no such function.
    """
    name = None if fingerprint is None else _registered(fingerprint)
    declared = {"fingerprint": name, "allow_fresh_input": allow_fresh_input}
    what = "without a fingerprint" if name is None else f"fingerprint by {name}"
    words = f"{what}, also for fresh input" if allow_fresh_input else what
    return {SOURCE_KEY: kept(declared, words)}


def fingerprint_of_frame(frame: Any) -> str:
    """Return the identity of a frame's data, by content (pandas, polars or Arrow)."""
    from data_pipeline.transfer.content_hash import ContentHash
    from data_pipeline.transfer.frames import to_reader

    reader = to_reader(frame)
    content = ContentHash(reader.schema)
    for batch in reader:
        content.update(batch)
    return content.version()


def fingerprint_of_files(*paths: str | Path) -> list[list[Any]]:
    """Return the identity of files by their content; folders are not followed.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    return [[Path(path).name, _digest(Path(path))] for path in paths]


def files_seen(files: Iterable[Path], folder: Path) -> list[list[str | int]]:
    """Return path, size and time of change of files; those that are empty or missing do not count.

    Args:
        files: The files.
        folder: Where their paths start.
    """
    known = [(file, file.stat()) for file in files if file.is_file()]
    return [
        [str(file.relative_to(folder)), facts.st_size, facts.st_mtime_ns]
        for file, facts in known
        if facts.st_size
    ]


def files_read(files: Iterable[Path], folder: Path) -> list[list[str]]:
    """Return path and content of files, as a hash."""
    return [[str(file.relative_to(folder)), _digest(file)] for file in files]


def fingerprint_of_table(
    connection: sa.Connection, table: sa.FromClause, *, updated_at: str | None = None
) -> list[Any]:
    """Return the identity of a remote table: its row count and the latest time of change.

    Args:
        connection: A connection to the remote database.
        table: The table.
        updated_at: The column that holds the time of a row's last change. Without it, only rows
            that come or go are noticed, not rows that change.

    Raises:
        ConfigurationError: There is no such column.
    """
    columns: list[sa.ColumnElement[Any]] = [sa.func.count()]
    if updated_at is not None:
        if updated_at not in table.c:
            raise ConfigurationError(
                f"fingerprint_of_table: no column `{updated_at}` in {table}; it has "
                f"{', '.join(table.c.keys())}."
            )
        columns.append(sa.func.max(table.c[updated_at]))
    return list(connection.execute(sa.select(*columns).select_from(table)).one())


def _registered(function: Fingerprint) -> str:
    named = _named(function)
    called = _of_instance(function, named)
    name = next(
        name
        for name in chain([named], (f"{named} ({number})" for number in count(2)))
        if name not in FINGERPRINTS
    )
    FINGERPRINTS[name] = called
    return name


def _named(function: Any) -> str:
    plain = getattr(function, "func", function)  # of a partial
    kind = plain if hasattr(plain, "__qualname__") else type(plain)
    return f"{kind.__module__}.{kind.__qualname__}"


def _of_instance(function: Any, named: str) -> FingerprintOfInstance:
    """Return a function that is called with the instance, and passes it on where it is wanted.

    Raises:
        ConfigurationError: It cannot be called like this.
    """
    if not callable(function):
        raise ConfigurationError(
            f"outside_input: a `{named}` is no function. Give a function whose value changes when "
            "the data of the source does: outside_input(lambda: ...)."
        )
    needed = _needed(function)
    if not needed:
        return lambda _: function()
    if len(needed) == 1 and needed[0].kind is not inspect.Parameter.KEYWORD_ONLY:
        return lambda instance: function(instance)
    listed = ", ".join(f"`{parameter.name}`" for parameter in needed)
    raise ConfigurationError(
        f"outside_input: the fingerprint function `{named}` needs {listed}. It is called with "
        "nothing, or with one argument: the instance of the run. Bind the others, as in "
        "outside_input(lambda instance: ...)."
    )


def _needed(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters that a function cannot be called without; none if nobody knows."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some builtins do not say
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        parameter
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind not in optional
    ]


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigurationError(
            f"fingerprint_of_files: {path} cannot be read: {error.strerror}."
        ) from error
