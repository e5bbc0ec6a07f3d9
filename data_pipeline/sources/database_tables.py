"""`database_tables` and `file_tables`: the raw tables of a source in one call."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import dagster as dg

from data_pipeline.errors import ConfigurationError
from data_pipeline.sources.declared_sources import DeclaredSource, Location
from data_pipeline.sources.location import DatabaseLocation, FolderLocation
from data_pipeline.sources.raw_assets import Wishes, raw_assets
from data_pipeline.store.table_properties import Declared


def database_tables(
    url: str,
    *,
    stage: str = "raw",
    schema: str | None = None,
    tables: Iterable[str] | None = None,
    updated_at: str | Mapping[str, str] | None = None,
    every_run: Iterable[str] = (),
    properties: Mapping[str, Declared] | None = None,
    url_attrs_file: str | Path | None = None,
    catalog: str | Path | None = None,
    at_once: int = 4,
    owners: Sequence[str] | None = None,
) -> list[dg.AssetsDefinition]:
    """Return the raw tables of a database, with keys, types and comments from its catalog.

    Use it in place of raw assets of one's own. The catalog of the source is kept in a file of the
    project, which `data-pipeline source refresh` writes; when definitions load, that file is read,
    and the source is not asked. A table is loaded again when its source has counted changes.

    Example:
        ```python
        raw = database_tables("postgresql://{$SHOP_USER}:{$SHOP_PASSWORD}@db.shop.com/shop")
        inputs = copy_filtered_inputs(stage="inputs", raw=raw)
        ```

    Args:
        url: `postgresql://...`, `sqlite:///path` or `duckdb:///path`, with `{$VARIABLE}` and the
            keys of `url_attrs_file`. A relative path starts at the folder of the project.
        stage: The stage of the raw tables; each has the name that it has in the source.
        schema: The schema of the source; default: `public`, in DuckDB `main`.
        tables: Which tables and views; default: all tables.
        updated_at: The column with the time of a row's last change: of all tables that have it, or
            by table. Rows are then told by their number and the latest change, which takes a scan.
            Needed where the source counts no changes: a standby, views and foreign tables.
        every_run: Tables that are loaded in every run instead.
        properties: What is said of tables beyond the catalog, as in `table_properties`. Columns
            with a type here travel as text.
        url_attrs_file: A YAML file with values for the URL, as in `instances.yaml`.
        catalog: The catalog file; default: `<stage>.source.json` beside the module that calls.
        at_once: How many tables are read at once.
        owners: Owners of the raw tables.

    Raises:
        ConfigurationError: There is no catalog file yet, it lacks a table that is named, or nothing
            tells whether a table has new rows.
    """
    file, line = _caller()
    key = f'database_tables(stage="{stage}").url'
    attrs_file = None if url_attrs_file is None else str(url_attrs_file)
    location = DatabaseLocation(url, schema, attrs_file, file, key)
    place = f'database_tables(stage="{stage}") in {file}:{line}'
    declared = _declared(stage, place, file, catalog, location, tables)
    wishes = Wishes(updated_at, _names(every_run), properties or {}, at_once, owners)
    return raw_assets(declared, wishes)


def file_tables(
    folder: str | Path,
    *,
    stage: str = "raw",
    tables: Iterable[str] | None = None,
    by_content: bool = False,
    every_run: Iterable[str] = (),
    properties: Mapping[str, Declared] | None = None,
    catalog: str | Path | None = None,
    at_once: int = 4,
    owners: Sequence[str] | None = None,
) -> list[dg.AssetsDefinition]:
    """Return the Parquet and CSV files of a folder as raw tables.

    `orders.parquet` and `orders.csv` are a table `orders`, and so is a folder `orders` of such
    files. Types are those of the Parquet schema; those of CSV columns are found from all values
    when the catalog is read (`data-pipeline source refresh`), and stay until it is read again.
    Files have no keys, so name them: `properties={"orders": {"primary_key": "id", "foreign_keys":
    [ForeignKey("customer", "customers", "id")]}}`.

    Args:
        folder: The folder, with `{$VARIABLE}`; a relative path starts at that of the project.
        stage: The stage of the raw tables.
        tables: Which tables; default: all.
        by_content: Whether files are told by their content; default: by size and time of change.
        every_run: Tables that are loaded in every run.
        properties: What is said of tables beyond the catalog, as in `table_properties`.
        catalog: The catalog file; default: `<stage>.source.json` beside the module that calls.
        at_once: How many tables are read at once.
        owners: Owners of the raw tables.

    Raises:
        ConfigurationError: There is no catalog file yet, or it lacks a table that is named.
    """
    file, line = _caller()
    key = f'file_tables(stage="{stage}").folder'
    location = FolderLocation(str(folder), by_content, file, key)
    place = f'file_tables(stage="{stage}") in {file}:{line}'
    declared = _declared(stage, place, file, catalog, location, tables)
    return raw_assets(declared, Wishes(None, _names(every_run), properties or {}, at_once, owners))


def _declared(
    stage: str,
    place: str,
    file: Path,
    catalog: str | Path | None,
    location: Location,
    tables: Iterable[str] | None,
) -> DeclaredSource:
    where = file.parent / (f"{stage}.source.json" if catalog is None else Path(catalog))
    chosen = None if tables is None else _names(tables)
    return DeclaredSource(stage, place, where, location, chosen)


def _names(names: Iterable[str]) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else tuple(names)
    for name in found:
        if not isinstance(name, str):
            raise ConfigurationError(f"{name!r} is no name of a table. Give names as text.")
    return tuple(dict.fromkeys(found))


def _caller() -> tuple[Path, int]:
    """Return file and line of who calls the function that calls this."""
    frame = inspect.stack()[2]
    path = Path(frame.filename)
    return (path if path.is_file() else Path.cwd() / "source.py"), frame.lineno
