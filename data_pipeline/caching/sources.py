"""Input from outside: how a raw table says whether its source has new data."""

import hashlib
from collections.abc import Callable, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.tables.identity import SOURCE_KEY

Fingerprint = Callable[[], Any]
"""A function of no arguments whose value changes when the data of a source does."""

# Metadata holds plain values only, so it names the function; every process that imports the assets
# has it here under that name.
_FINGERPRINTS: dict[str, Fingerprint] = {}


def outside_input(
    fingerprint: Fingerprint | None = None, *, allow_fresh_input: bool = False
) -> dict[str, Any]:
    """Gives asset metadata that declares that the asset takes input from outside.

    Example: `@dg.asset(metadata=outside_input(lambda: fingerprint_of_files(PATH)))`.

    While fingerprint and code are unchanged, the asset is not loaded again. Without a fingerprint
    it is loaded in every run. A fingerprint must be a stable value (text, numbers, times,
    containers of these); one that differs from call to call never counts as unchanged.

    Args:
        fingerprint: A cheap function of no arguments.
        allow_fresh_input: Load new data also in the modes `ignore_fresh_input` and
            `assert_no_fresh_input`.
    """
    name = None if fingerprint is None else _registered(fingerprint)
    return {SOURCE_KEY: {"fingerprint": name, "allow_fresh_input": allow_fresh_input}}


def fingerprint_function(metadata: Mapping[str, Any]) -> Fingerprint | None:
    """Gives the fingerprint function that an asset's metadata declares, if it declares one."""
    declared = metadata.get(SOURCE_KEY)
    declared = getattr(declared, "data", declared) or {}
    return _FINGERPRINTS.get(declared.get("fingerprint") or "")


def fingerprint_of_frame(frame: Any) -> str:
    """Gives the identity of a frame's data, by content (pandas, polars or Arrow)."""
    from data_pipeline.tables.content import ContentHash
    from data_pipeline.tables.frames import to_reader

    reader = to_reader(frame)
    content = ContentHash(reader.schema)
    for batch in reader:
        content.update(batch)
    return content.version()


def fingerprint_of_files(*paths: str | Path) -> list[list[Any]]:
    """Gives the identity of files by their content; folders are not followed.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    return [[Path(path).name, _digest(Path(path))] for path in paths]


def fingerprint_of_table(
    connection: sa.Connection, table: sa.FromClause, *, updated_at: str | None = None
) -> list[Any]:
    """Gives the identity of a remote table: its row count and the latest time of change.

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
    plain = getattr(function, "func", function)
    named = f"{plain.__module__}.{plain.__qualname__}"
    name = next(
        name
        for name in chain([named], (f"{named} ({number})" for number in count(2)))
        if name not in _FINGERPRINTS
    )
    _FINGERPRINTS[name] = function
    return name


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigurationError(
            f"fingerprint_of_files: {path} cannot be read: {error.strerror}."
        ) from error
