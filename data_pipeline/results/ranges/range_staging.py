"""Staging a table that is loaded by ranges."""

from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from data_pipeline.results.origin import Origin, Stored
from data_pipeline.results.query_identity import QueryIdentity
from data_pipeline.results.ranges import loads
from data_pipeline.results.ranges.loading import Target, continues, load_ranges
from data_pipeline.results.ranges.ranged_rows import RangedRows
from data_pipeline.store.staging import Look
from data_pipeline.transfer.progress import reporter

if TYPE_CHECKING:
    from data_pipeline.results.writing import Store


def stage_ranges(
    store: "Store",
    session: sa.Connection,
    look: Look,
    rows: RangedRows,
    target: Target,
    origin: Origin,
) -> Stored:
    """Stage a table that is loaded by ranges; go on where a load of it was cut off."""
    if look.is_taken and continues(session, target, rows, store.log):
        look = replace(look, is_taken=False)
    room = store.make_room(session, look, target.table, origin)
    report = reporter(store.log, f"Loading `{target.table}`")
    built = load_ranges(session, target, rows, report)
    properties = target.properties.as_json()
    made_by = QueryIdentity.of_table(rows.identity, origin.inputs, properties, **origin.outside)
    row = origin.row(target.table, "table", made_by.data_version, properties=properties)
    stored = store.stage_table(room, row, built, origin)
    loads.forget(session, store.instance, target.table)
    return stored
