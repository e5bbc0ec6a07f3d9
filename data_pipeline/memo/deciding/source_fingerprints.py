"""Input from outside: how a raw table says whether its source has new data."""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from data_pipeline.code_version.nondeterminism import SOURCE_KEY
from data_pipeline.definition_metadata import kept, kept_value
from data_pipeline.errors import ConfigurationError, DataPipelineError, UnstableValueError
from data_pipeline.identity.computation import Identity
from data_pipeline.instances import Instance
from data_pipeline.memo.deciding.decisions import Step
from data_pipeline.transfer.stable_hash import stable_hash

SHARED_KEY = "data_pipeline/shared"
"""The metadata of an asset whose value is the same wherever it is loaded; see `shared_output`."""

Fingerprint = Callable[[], Any] | Callable[[Instance], Any]
"""A function whose value changes when the data of a source does; it may take the instance."""

FingerprintOfInstance = Callable[[Instance], Any]
"""The same, called with the instance of the run in any case."""

# Metadata holds plain values only, so it names the function; every process that imports the assets
# has it here under that name.
_FINGERPRINTS: dict[str, FingerprintOfInstance] = {}


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


def shared_output() -> dict[str, Any]:
    """Return asset metadata that declares that the asset's value lies where all runs can load it.

    Use it with an IO manager of your own choice that keeps values in a shared place (a bucket, a
    network drive, another database): `@dg.asset(io_manager_key="bucket",
    metadata=shared_output())`. While code and inputs are unchanged, the asset is then up to date
    for everybody. Without it, its value is looked for where the run is: the file of a
    `UPathIOManager` must be the one that was written, and what other IO managers keep is loaded.
    """
    return {SHARED_KEY: True}


def fingerprint_function(metadata: Mapping[str, Any]) -> FingerprintOfInstance | None:
    """Return the fingerprint function that an asset's metadata declares, if it declares one.

    It is called with the instance of the run, whatever the declared one takes.
    """
    declared = kept_value(metadata, SOURCE_KEY) or {}
    return _FINGERPRINTS.get(declared.get("fingerprint") or "")


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
        if name not in _FINGERPRINTS
    )
    _FINGERPRINTS[name] = called
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


Sources = Mapping[str, FingerprintOfInstance]
"""The fingerprint functions of assets, by `stage/table`."""


def with_fingerprints(
    steps: Iterable[Step], sources: Sources, instance: Instance, warn: Callable[[str], None]
) -> list[Step]:
    """Return the steps with the fingerprints of the sources that they load, as they are now.

    Args:
        steps: The steps.
        sources: The sources to ask.
        instance: The instance of the run.
        warn: Takes what is to be said of fingerprints that are of no use.

    Raises:
        DataPipelineError: A fingerprint function failed.
    """
    return [
        replace(
            step,
            computations=[
                replace(
                    item,
                    identity=_asked(item.identity, str(item.key[1].whole), sources, instance, warn),
                )
                for item in step.computations
            ],
        )
        for step in steps
    ]


def _asked(
    identity: Identity,
    table: str,
    sources: Sources,
    instance: Instance,
    warn: Callable[[str], None],
) -> Identity:
    function = sources.get(table)
    if function is None:
        return identity
    try:
        return identity.with_source(stable_hash(function(instance)))
    except UnstableValueError as error:
        warn(f"The fingerprint of `{table}` never counts as unchanged. {error}")
        return identity.with_source(None, "its source's fingerprint is no stable value")
    except DataPipelineError:
        raise
    except Exception as error:
        raise DataPipelineError(
            f"The fingerprint function of `{table}` failed: {type(error).__name__}: {error}. "
            "Correct it, or run with cache validation mode `ignore_fresh_input`."
        ) from error


def digests(steps: Sequence[Step]) -> str:
    """Return the fingerprints as text, for a run's tag; see `SOURCES_TAG`."""
    found = {
        str(item.key[1].whole): item.identity.source
        for step in steps
        for item in step.computations
        if item.identity.source is not None
    }
    return json.dumps(found, sort_keys=True)


def declared_sources(graph: Any) -> dict[str, FingerprintOfInstance]:
    """Return the fingerprint functions that the assets of a graph declare."""
    found = {}
    for key in graph.materializable_asset_keys:
        function = fingerprint_function(graph.get(key).metadata)
        if function is not None:
            found["/".join(key.path)] = function
    return found
