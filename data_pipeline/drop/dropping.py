"""Dropping an instance, a stage of it, or what is old: one transaction for each stage.

Each transaction looks anew at what is there and who needs it, so that nothing goes that has come
into use meanwhile. The files of blobs go after their rows: a kill in between leaves files that
nothing refers to, never a row without its file.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.advisory_locks import stage_lock_name, try_for_transaction
from data_pipeline.database.connection import Database, database, run
from data_pipeline.database.identifiers import RelationName, StageTable, quoted
from data_pipeline.database.lock_waiting import holders_at, is_busy, lock_timeouts
from data_pipeline.drop import blockers
from data_pipeline.drop.blockers import DropOrder
from data_pipeline.drop.inventory import InventoryItem, inventory_of, is_empty
from data_pipeline.errors import (
    ConfigurationError,
    DatabaseError,
    IsolationError,
    MissingRightError,
)
from data_pipeline.instances import Configuration, Instance
from data_pipeline.instances.names_of_instances_and_users import check_instance_id
from data_pipeline.runs.leftovers import referenced_files
from data_pipeline.store import catalog
from data_pipeline.store.active_runs import run_registry
from data_pipeline.store.blobs import blob_files, remote_blobs
from data_pipeline.store.check_results import CHECKS
from data_pipeline.store.sliced_tables import refresh_whole
from data_pipeline.store.slots import SLOTS
from data_pipeline.store.staging import STAGED


def drop(database: Database, order: DropOrder, log: logging.Logger) -> None:
    """Drop a part of an instance.

    Raises:
        ConfigurationError: The instance has no such stage.
        DatabaseError: PostgreSQL refused it, or readers did not end in time. Stages that were
            dropped before stay dropped, others are whole.
        IsolationError: A run is at work, or others need it and `force` is not set.
    """
    with database.begin() as connection:
        found = blockers.drop_plan(connection, order)
        found.check(order)
        ordered = [
            [part.stage for part in group] for group in blockers.groups(connection, found.parts)
        ]
    relations = [item.name for part in found.parts for item in part.relations]
    for stages in ordered:
        parts = _drop_group(database, order, stages, relations, log)
        _remove_files(database, order.instance, stages, parts, log)
    _remove_empty_folders(order.instance)


def _drop_group(
    database: Database,
    order: DropOrder,
    stages: Sequence[str | None],
    relations: Sequence[RelationName],
    log: logging.Logger,
) -> list[InventoryItem]:
    """Drop parts in one transaction, between readers; return what they were."""
    instance = order.instance
    what = ", ".join(f"stage `{stage}`" if stage else "the catalog" for stage in stages)
    seconds = instance.table_store.commit_wait_seconds

    def waiting() -> str:
        with database.begin() as connection:
            found = holders_at(connection, relations)
        return "; ".join(found) or "others, one after the other"

    message = f"Waiting to drop {what}, which others are reading"
    for timeout in lock_timeouts(seconds, log, lambda: f"{message}: {waiting()}"):
        try:
            with database.begin() as connection:
                run(connection, f"SET LOCAL lock_timeout = {timeout}")
                run(connection, "SET LOCAL search_path = ''")
                _reserve(connection, instance, stages)
                parts = [
                    part
                    for part in inventory_of(connection, instance, order.selection)
                    if part.stage in stages
                ]
                _drop(connection, order, parts)
                return parts
        except MissingRightError as error:
            raise MissingRightError(
                f"Instance `{instance.name}`: {what} could not be dropped and is as before. {error}"
                "\nOr let the owner drop it."
            ) from None
        except sa.exc.DBAPIError as error:
            if not is_busy(error):
                raise DatabaseError(
                    f"Instance `{instance.name}`: {what} could not be dropped and is as before. "
                    f"PostgreSQL says: {database.scrubbed(error.orig)}\nRemove what it names, or "
                    "let the owner of the tables drop it, then try again."
                ) from None
    raise DatabaseError(
        f"Instance `{instance.name}`: {what} is as before, since others have been reading it for "
        f"{seconds:g} seconds (commit_wait_seconds): {waiting()}. Ask them to end their queries, "
        "then try again."
    )


def _remove_files(
    database: Database,
    instance: Instance,
    stages: Sequence[str | None],
    parts: Sequence[InventoryItem],
    log: logging.Logger,
) -> None:
    """Remove files to which nothing refers: a run that has begun since may have made one again."""
    with database.begin() as connection:
        try:
            _reserve(connection, instance, stages)
        except IsolationError:
            return  # that run removes them
        folder = blob_files.directory(instance)
        used = {folder / location for location in referenced_files(connection, instance)}
        for path in (path for part in parts for path in part.files if path not in used):
            blob_files.remove_file(instance, path)
            log.info(f"Removed {path}")


def _drop(connection: sa.Connection, order: DropOrder, parts: Sequence[InventoryItem]) -> None:
    """Drop relations, empty schemas and catalog rows, after a last look at who needs them."""
    instance = order.instance
    found = blockers.plan_of(connection, order, parts)
    found.check(order)
    behaviour = "CASCADE" if order.force else "RESTRICT"
    for kinds, word in ((("v",), "VIEW"), (("r", "p"), "TABLE")):
        own = [item for part in parts for item in part.relations if item.kind in kinds]
        if own:
            names = ", ".join(item.name.quoted for item in own)
            # A view may have gone with another one by CASCADE.
            run(connection, f"DROP {word} IF EXISTS {names} {behaviour}")
    for part in parts:
        _forget(connection, instance, part)
        rows = {row.table: row for row in part.rows}
        wholes = {table.whole for table, row in rows.items() if row.slice.get("key")}
        for whole in sorted(wholes - rows.keys(), key=str):
            refresh_whole(connection, instance, whole, None)
        for schema in part.schemas:
            # What others made there may have gone along.
            if schema.goes or (part.everything and is_empty(connection, schema.name)):
                run(connection, f"DROP SCHEMA {quoted(schema.name)} RESTRICT")
    if order.force:
        _forget_views(
            connection, instance, [item.relation for item in found.dependents if item.relation]
        )


def _forget(connection: sa.Connection, instance: Instance, part: InventoryItem) -> None:
    """Delete the catalog rows of a part."""
    if part.stage is None:
        return  # they go with the catalog
    chosen: dict[str, tuple[str, list[Any]]] = {
        catalog.TABLES: ("name", [row.name for row in part.rows]),
        SLOTS: ("cache_key", [row.cache_key for row in part.kept]),
        STAGED: ("name", []),
        CHECKS: ("name", [row.name for row in part.rows]),
    }
    for name, (key, values) in chosen.items():
        if catalog.exists(connection, instance.catalog_schema, name):
            table = sa.table(
                name, sa.column("stage"), sa.column(key), schema=instance.catalog_schema
            )
            mine = table.c.stage == part.stage
            meant = mine if part.everything else sa.and_(mine, table.c[key].in_(values))
            connection.execute(sa.delete(table).where(meant))


def _forget_views(
    connection: sa.Connection, instance: Instance, gone: Sequence[RelationName]
) -> None:
    """Delete the rows of the instance's own views in other stages that went along."""
    if not gone or not catalog.exists(connection, instance.catalog_schema):
        return
    table = sa.table(
        catalog.TABLES, sa.column("stage"), sa.column("name"), schema=instance.catalog_schema
    )
    for item in connection.execute(sa.select(table)).all():
        known = StageTable(item.stage, item.name)
        if RelationName(instance.schema(known.stage), known.name) in gone:
            mine = sa.and_(table.c.stage == known.stage, table.c.name == known.name)
            connection.execute(sa.delete(table).where(mine))


def _reserve(connection: sa.Connection, instance: Instance, stages: Sequence[str | None]) -> None:
    """Keep runs from beginning to write these stages until the transaction ends."""
    for stage in sorted(filter(None, stages)):
        name = stage_lock_name(instance, stage)
        if not try_for_transaction(connection, name):
            who = run_registry.holder(connection, instance, name) or "a run"
            raise IsolationError(
                f"Stage `{stage}` of instance `{instance.name}` is not dropped, since {who} is at "
                "work on it. Wait for its end, or end it."
            )


def _remove_empty_folders(instance: Instance) -> None:
    if remote_blobs.is_remote(instance):  # a folder there is no more than how objects are named
        return
    root = blob_files.directory(instance)
    folders = sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True)
    for folder in [*folders, root]:
        with suppress(OSError):  # it is not empty, or not there
            folder.rmdir()


def unconfigured(configuration: Configuration, instance_id: str) -> Instance:
    """Return the instance with a catalog in the database, named and stored as the configured ones.

    Raises:
        ConfigurationError: There is no such catalog, or configured instances differ in how schemas
            begin or where blobs lie, so that nobody knows where those of this one are.
    """
    check_instance_id(configuration.file, "instances", instance_id)
    likely: dict[tuple[object, ...], Instance] = {}
    for configured in configuration.instances.values():
        instance = _as_id(configured, instance_id)
        store = instance.table_store
        place = (store.url.identity, store.schema_prefix, instance.blob_store.base_path)
        likely.setdefault(place, instance)
    found = [instance for instance in likely.values() if _has_catalog(instance)]
    if not found:
        known = ", ".join(f"'{name}'" for name in configuration.instances)
        raise ConfigurationError(
            f"{configuration.file}: there is no instance '{instance_id}' (known here: {known}), "
            f"and no catalog {instance_id}_catalog in the database. Name one of these, or the id "
            "of an instance that was built there."
        )
    if len(found) > 1:
        raise ConfigurationError(
            f"{configuration.file} does not name the instance '{instance_id}', and the instances "
            "that it names differ in database, schema_prefix or blob store, so it is unclear "
            f"where '{instance_id}' lies. Add it to the file with the values it was built with."
        )
    return found[0]


def _as_id(like: Instance, instance_id: str) -> Instance:
    store = like.table_store
    prefix = instance_id + store.schema_prefix.removeprefix(like.instance_id)
    return replace(
        like,
        name=instance_id,
        instance_id=instance_id,
        table_store=store.model_copy(update={"schema_prefix": prefix}),
        source=None,
        environment="",
    )


def _has_catalog(instance: Instance) -> bool:
    with database(instance).begin() as connection:
        return catalog.exists(connection, instance.catalog_schema)
