"""Samples of frames: PostgreSQL chooses the rows, the frames give them."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.sampling.in_database import Selection, selection
from data_pipeline.sampling.in_database.source_tables import TID, SourceTable
from data_pipeline.sampling.in_database.workspace import Workspace
from data_pipeline.sampling.in_memory.kept import FilteredFrame
from data_pipeline.sampling.in_memory.scratch import scratch_schema
from data_pipeline.sampling.predictions import log_selection
from data_pipeline.sampling.rules import Role
from data_pipeline.sampling.sample_plan import SamplePlan
from data_pipeline.sampling.weights import check_key, facts_of_all, facts_of_chosen, key_columns
from data_pipeline.tables.build import build_from_batches
from data_pipeline.tables.connection import Database
from data_pipeline.tables.fetch import stream
from data_pipeline.tables.frames import to_reader
from data_pipeline.tables.names import RelationName, StageTable
from data_pipeline.tables.reference import reference
from data_pipeline.tables.table import Properties

_ROW = "data_pipeline_row"
"""The column with the number of a row in its frame."""


def sampled_frames(
    home: Path,
    plan: SamplePlan,
    frames: Mapping[str, Any],
    properties: Mapping[str, Properties],
    weighted: Collection[str],
    log: logging.Logger,
) -> dict[str, FilteredFrame]:
    """Choose a sample of frames: the rows that are chosen of tables that are made of them.

    Args:
        home: DATA_PIPELINE_HOME.
        plan: What is to be chosen.
        frames: Frames of pandas, polars or Arrow by the names of the input tables.
        properties: Their properties.
        weighted: The tables whose roles and weights are wanted.
        log: The log of the run.

    Raises:
        ConfigurationError: Specification and frames do not fit.
        UnsupportedDataError: PostgreSQL cannot hold a value.
        DatabaseError: There is no server, or it refused something.
    """
    stage = plan.graph.stage
    with scratch_schema(home) as (database, schema):
        tables = {
            name: _loaded(database, schema, StageTable(stage, name), frame, properties[name])
            for name, frame in frames.items()
        }
        with database.begin() as connection:
            space = Workspace.open(connection, schema, stage)
            chosen = selection(space, plan, tables)
            for name in frames:
                if name in weighted or chosen.rows[name] is not None:
                    space.create(_rows(chosen, stage, name, weights=name in weighted), "row", name)
        log_selection(log, chosen)
        return {
            name: _kept(database, space, chosen, name, frame, weights=name in weighted, log=log)
            for name, frame in frames.items()
        }


def _loaded(
    database: Database, schema: str, table: StageTable, frame: Any, properties: Properties
) -> sa.Table:
    """Make a table of a frame, as the raw table would be, with its rows in their order."""
    target = RelationName(schema, table.name)
    wanted = replace(properties, indexes=(), unlogged=True)
    try:
        build_from_batches(database, table, target, to_reader(frame), wanted)
    except UnsupportedDataError as error:
        raise UnsupportedDataError(f"Table `{table}`: {error}") from error
    with database.begin() as connection:
        return reference(connection, target, None)


def _rows(chosen: Selection, stage: str, name: str, *, weights: bool) -> sa.Select[Any]:
    """Return the query for the numbers of a table's chosen rows, with their roles if wanted."""
    source, places = chosen.sources[name].table, chosen.rows[name]
    there = SourceTable(name, source, (), {}).rows("there")
    number = sa.func.row_number().over(order_by=there.c[TID]) - 1
    rows = sa.select(*there.c, number.label(_ROW)).subquery("rows")
    facts: list[sa.ColumnElement[Any]] = []
    if weights:
        check_key(StageTable(stage, name), source)
        key = key_columns(source, rows)
        of_rows = (
            facts_of_all(key, Role.CERTAIN, 1.0) if places is None else facts_of_chosen(places)
        )
        facts = [*key, *of_rows]
    query = sa.select(rows.c[_ROW], *facts)
    return query if places is None else query.join(places, places.c[TID] == rows.c[TID])


def _kept(
    database: Database,
    space: Workspace,
    chosen: Selection,
    name: str,
    frame: Any,
    *,
    weights: bool,
    log: logging.Logger,
) -> FilteredFrame:
    if chosen.rows[name] is None and not weights:
        return FilteredFrame(frame, None, None)
    found = stream(database, space.name("row", name), log).read_all().sort_by(_ROW)
    rows = None if chosen.rows[name] is None else found.column(_ROW).combine_chunks()
    return FilteredFrame(frame, rows, found.drop_columns(_ROW) if weights else None)
