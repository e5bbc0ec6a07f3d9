"""Reading versions of tables in code of one's own: a check that compares, a notebook, an asset.

The names of versions are those of `data-pipeline diff`. What an asset reads this way is no input of
it: what it makes of it is not made anew when that changes (`outside_input` says that it may).
"""

import logging
from collections.abc import Iterable
from typing import Any

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.difference.versions import (
    TableVersion,
    Version,
    chosen_tables,
    find_version,
    version_name,
)
from data_pipeline.errors import TableNotFoundError
from data_pipeline.instances import Configuration, Instance, load_configuration
from data_pipeline.store.lookup import FoundTable
from data_pipeline.store.reading import fetch

_LOG = logging.getLogger("data_pipeline")


def read_table(
    version: str,
    table: str,
    kind: Any = None,
    *,
    configuration: Configuration | None = None,
) -> Any:
    """Return a table of a version of an instance.

    Example: `read_table("midi", "clean/orders", pd.DataFrame)` gives what is committed while a run
    has other rows staged, and `read_table("midi@staged", "clean/orders")` those.

    Args:
        version: An instance (`midi`), or `midi@previous`, `midi@staged`, `midi@<run id>`.
        table: `stage/table`, or `table` where only one stage has one of that name.
        kind: `pd.DataFrame`, another frame type, or `sa.Table`, which moves no rows; None: a
            `sa.Table`, or the object of a blob.
        configuration: The instances; default: the configuration that is in force.

    Raises:
        ConfigurationError: There is no such instance or table.
        TableNotFoundError: The version, or the table in it, is not there or not kept any more.
    """
    found = _version(version, configuration)
    [chosen] = chosen_tables([table], found.tables, lambda text: _in_version(text, version))
    return _read(found.tables[chosen], kind)


def read_stage(
    version: str,
    stage: str,
    kind: Any = None,
    *,
    configuration: Configuration | None = None,
) -> dict[str, Any]:
    """Return all tables and blobs of a stage in a version of an instance, by name.

    Use it to compare a stage as a whole with what it was, or with another instance:
    `read_stage("midi@staged", "clean")` is the stage as it will be, `read_stage("midi", "clean")`
    as it is. Takes the same arguments as `read_table`.

    Raises:
        ConfigurationError: There is no such instance.
        TableNotFoundError: The version or the stage is not there.
    """
    found = _version(version, configuration)
    tables = {table: item for table, item in found.tables.items() if table.stage == stage}
    if not tables:
        known = ", ".join(f"`{name}`" for name in sorted({table.stage for table in found.tables}))
        raise TableNotFoundError(f"`{version}` has no stage `{stage}`. Its stages are {known}.")
    return {table.name: _read(item, kind) for table, item in _sorted(tables.items())}


def _sorted(
    items: Iterable[tuple[StageTable, TableVersion]],
) -> list[tuple[StageTable, TableVersion]]:
    return sorted(items, key=lambda item: str(item[0]))


def _version(version: str, configuration: Configuration | None) -> Version:
    name = version_name(version, configuration or load_configuration())
    with database(name.instance).begin() as connection:
        return find_version(connection, name)


def _read(item: TableVersion, kind: Any) -> Any:
    if item.missing is not None:
        raise TableNotFoundError(
            f"`{item.table}` of instance `{item.instance.name}` is not there: {item.missing}."
        )
    found = FoundTable(item.relation or _no_relation(item.instance, item.table), item.row)
    value, _ = fetch(item.instance, item.table, Any if kind is None else kind, _LOG, found)
    return value


def _no_relation(instance: Instance, table: StageTable) -> Any:
    from data_pipeline.store.lookup import committed

    return committed(instance, table)  # a blob has none


def _in_version(text: str, version: str) -> str:
    return text.replace("in either version", f"in `{version}`")
