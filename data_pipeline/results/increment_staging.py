"""Staging an increment: its rows lie alone, beside a view of what becomes of the table."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from data_pipeline.database.connection import run, transaction
from data_pipeline.results.discard_staged import make_room
from data_pipeline.results.increment_checks import (
    grown,
    increment_metadata,
    look_at,
    of_delta,
    whole_view,
)
from data_pipeline.results.origin import Origin, Room, Stored
from data_pipeline.results.query_identity import QueryIdentity
from data_pipeline.results.sql_query import compiled, is_query
from data_pipeline.results.ui_metadata import read_facts
from data_pipeline.store import catalog, staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import committed
from data_pipeline.store.table_properties import Properties
from data_pipeline.transfer.stable_hash import fingerprint

if TYPE_CHECKING:
    from data_pipeline.results.writing import Store


def stage_increment(
    store: "Store",
    room: Room,
    obj: Any,
    properties: Properties,
    origin: Origin,
    before: CatalogRow,
) -> Stored:
    """Stage the rows of an increment alone, with a view of what becomes of the table."""
    own, query = of_delta(properties), None
    if is_query(obj):
        query, text = store.shown_and_run(room, compiled(obj))
        made = QueryIdentity.of_table(query, origin.inputs, own.as_json(), **origin.outside)
        built, identity = store.built_of_query(room, text, own), made.data_version
    else:
        built, identity = store.built_of_frame(room, obj, own)
    changes = look_at(
        room.session,
        store.instance,
        before,
        properties,
        built.rows,
        is_empty=built.rows == 0 and origin.given is None,
    )
    version = fingerprint("increment-1", before.data_version, properties.write, identity)
    row = origin.row(
        room.table,
        "table",
        version if changes else before.data_version,
        query=query,
        properties=properties.as_json(),
        relation=built.state,
        bytes=built.facts["bytes"],
    )
    row = grown(before, row, changes, built.rows, origin.lineage())
    if row.data_version == before.data_version:
        return _stays(store, room, row, before, origin, built.seconds)
    with transaction(room.session):
        run(room.session, whole_view(room.session, store.instance, row))
        store.put_on_list(room, row, origin)
    facts = read_facts(room.session, committed(store.instance, row.table), properties.primary_key)
    stored = store.stored(room.session, row, replace(facts, bytes=row.bytes or 0), built.seconds)
    shown = increment_metadata(before, row, changes)
    return replace(stored, metadata={**stored.metadata, **shown})


def _stays(
    store: "Store",
    room: Room,
    row: CatalogRow,
    before: CatalogRow,
    origin: Origin,
    seconds: float,
) -> Stored:
    """Leave a table as it is to which an increment does nothing."""
    make_room(store.database, store.instance, row.table, origin.run_id, store.log)
    increment = {**before.increment, "lineage": row.increment["lineage"]}
    there = replace(row, increment=increment, row_count=before.row_count, bytes=before.bytes)
    with store.database.begin() as connection:
        staging.check_alive(connection, store.instance, origin.run_id)
        catalog.confirm(connection, store.instance.catalog_schema, there)
        relation = committed(store.instance, row.table)
        facts = read_facts(connection, relation, row.declared.primary_key)
    store.log.info(f"`{row.table}`: the increment changes no row, it stays as it is")
    return store.stored(room.session, there, facts, seconds)
