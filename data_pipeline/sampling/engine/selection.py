"""The selection of a sample: which rows of each table of a stage, with role and probability."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.identifiers import DIALECT
from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.earlier.copies import CopyIdentity
from data_pipeline.sampling.earlier.copy_identities import copy_identity
from data_pipeline.sampling.engine.closure import add_core, close
from data_pipeline.sampling.engine.coverage import cover
from data_pipeline.sampling.engine.coverage_search import check_coverage
from data_pipeline.sampling.engine.fan_outs import add_fan_out_witnesses, count_what_is_needed
from data_pipeline.sampling.engine.masks import check_masked_rows, check_masks, naming_masks
from data_pipeline.sampling.engine.outputs import finish
from data_pipeline.sampling.engine.population import Populations, check_where, naming_where
from data_pipeline.sampling.engine.sampled import draw, find_threshold, tables_that_come_whole
from data_pipeline.sampling.engine.selection_state import Output, SelectionState
from data_pipeline.sampling.engine.source_tables import (
    TID,
    SourceTable,
    matches,
    refers,
    source_tables,
)
from data_pipeline.sampling.engine.workspace import Workspace
from data_pipeline.sampling.plan.hubs_and_thresholds import Role
from data_pipeline.sampling.plan.sample_plan import SamplePlan, pin_text
from data_pipeline.sampling.plan.schema_graph import Relationship


def check_pins(state: SelectionState) -> None:
    """Check that the pinned rows are there.

    Raises:
        ConfigurationError: A pin is no value of its type, or no row has it.
    """
    for table, pin, found in _pinned(state):
        if not _exists(state, table, pin, found):
            raise ConfigurationError(
                f"{_said(state, table, pin)}: the source has no row with this key. Correct it, "
                "or leave the pin out."
            )


def add_pins(state: SelectionState) -> None:
    """Add the pinned rows."""
    for table, _, found in _pinned(state):
        state.add(table, found.subquery("found"), Role.PINNED, "pinned")


def _pinned(state: SelectionState) -> Iterator[tuple[str, Mapping[str, Any], sa.Select[Any]]]:
    """Return each pin, with the query for the place of its row."""
    for table, pins in state.plan.pins.items():
        for pin in pins:
            rows = state.sources[table].all_rows("pinned")
            where = [_equals(rows.c[name], value) for name, value in pin.items()]
            yield table, pin, sa.select(rows.c[TID]).where(*where)


def _exists(
    state: SelectionState, table: str, pin: Mapping[str, Any], found: sa.Select[Any]
) -> bool:
    try:
        with state.connection.begin_nested():
            return bool(state.connection.scalar(sa.select(sa.exists(found))))
    except sa.exc.DataError as error:
        columns = state.sources[table].table.c
        types = ", ".join(f"`{name}` {columns[name].type.compile(DIALECT)}" for name in pin)
        raise ConfigurationError(
            f"{_said(state, table, pin)}: PostgreSQL says {str(error.orig).strip()}. Give values "
            f"of the columns' types: {types}."
        ) from None


def _equals(column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
    if value is None:
        return column.is_(None)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return column == sa.cast(sa.literal(text, sa.Text), column.type)


def _said(state: SelectionState, table: str, pin: Mapping[str, Any]) -> str:
    return pin_text(state.plan.graph.stage, table, pin)


def check_cuts(state: SelectionState) -> None:
    """Check that references that are cut may be NULL.

    Raises:
        ConfigurationError: One may not.
    """
    stage = state.plan.graph.stage
    for table, columns in state.plan.cuts.items():
        for name in columns:
            column = state.sources[table].table.c[name]
            if not column.nullable or name in state.plan.graph.keys[table]:
                raise ConfigurationError(
                    f"sample.cut: `{name}` of `{stage}/{table}` may not be NULL, so it cannot be "
                    "cut. Declare it `nullable` if it may, or leave it out of sample.cut."
                )


def cut_references(state: SelectionState) -> None:
    """Find the chosen rows whose references are cut, in the working tables `cut`."""
    for table, columns in state.plan.cuts.items():
        for name in columns:
            items = [i for i in state.plan.graph.of_child(table) if name in i.columns]
            parts = [_lost(state, item) for item in items]
            query = parts[0] if len(parts) == 1 else sa.union(*parts)
            state.cuts[table, name] = state.space.create(query, "cut", table, name)[1]


def _lost(state: SelectionState, item: Relationship) -> sa.Select[Any]:
    """Return the places of chosen rows that refer to a row that is not chosen."""
    child, parent = (_chosen(state, name, name_) for name, name_ in _ends(item))
    found = sa.exists().select_from(parent).where(matches(item, child, parent))
    return sa.select(child.c[TID]).where(refers(item, child), ~found)


def _ends(item: Relationship) -> tuple[tuple[str, str], tuple[str, str]]:
    return (item.child, "child"), (item.parent, "parent")


def _chosen(state: SelectionState, table: str, alias: str) -> sa.Subquery:
    source = state.sources[table]
    if table in state.whole:
        return source.all_rows(alias)
    places = sa.select(state.rows[table].c[TID]).subquery(f"places_of_{alias}")
    return source.rows_at(places, alias)


@dataclass(frozen=True)
class Selection:
    """The chosen rows of a stage.

    Attributes:
        plan: What they were chosen by.
        sources: The tables that they were chosen from.
        rows: For each table the working table of its chosen rows (place, role, probability, unit,
            reason); None for a table that comes whole.
        left_out: Columns with too many values for a witness of each, with the number of values that
            were found until it was clear.
        cuts: How many rows have NULL in the place of a reference, by table and column.
        brought: How many rows came since others refer to them, by table.
        fan_outs: By the number of a relationship, how many values are referred to by the number of
            references, as far as they were counted.
        outputs: The copies that are written already.
        identities: The identity of each copy; None where nothing tells the state of its source.
    """

    plan: SamplePlan
    sources: Mapping[str, SourceTable]
    rows: Mapping[str, sa.TableClause | None]
    left_out: Mapping[tuple[str, str], int]
    cuts: Mapping[tuple[str, str], int]
    brought: Mapping[str, int]
    fan_outs: Mapping[int, Mapping[int, int]]
    outputs: Mapping[str, Output]
    identities: Mapping[str, CopyIdentity | None]


def selection(space: Workspace, plan: SamplePlan, tables: Mapping[str, sa.Table]) -> Selection:
    """Choose the rows of a sample inside the database.

    Args:
        space: Where the working tables are to be. While they are used, the source must not change.
        plan: What is to be chosen.
        tables: The relations of the source by the names of the input tables; no views.

    Raises:
        ConfigurationError: Specification and tables do not fit.
    """
    state = checked(space, plan, tables)
    sources = state.sources
    with naming_where(space.connection, plan, tables), naming_masks(state):
        _choose(state)
    return Selection(
        plan=plan,
        sources=sources,
        rows={name: state.rows.get(name) for name in plan.graph.keys},
        left_out=state.left_out,
        cuts=state.cuts,
        brought=state.brought,
        fan_outs=state.fan_outs,
        outputs=state.outputs,
        identities={name: copy_identity(state, name) for name in plan.graph.keys},
    )


def checked(space: Workspace, plan: SamplePlan, tables: Mapping[str, sa.Table]) -> SelectionState:
    """Check what is asked for against the tables, and return the state before rows are chosen.

    Args and errors are those of `selection`.
    """
    populations = Populations(plan, tables)
    restrictions = {name: populations.restriction(name) for name in tables}
    sources = source_tables(space.connection, plan.graph, tables, restrictions, plan.where)
    check_where(space.connection, plan, tables)
    check_coverage(space.connection, plan, sources)
    state = SelectionState(plan, sources, space)
    check_cuts(state)
    check_masks(state)
    check_pins(state)
    return state


def _choose(state: SelectionState) -> None:
    plan = state.plan
    for name in tables_that_come_whole(state):
        state.take_whole(name)
    count_what_is_needed(state)
    for root, settings in plan.roots.items():
        if not plan.is_minimal:
            state.thresholds[root] = find_threshold(state, root, settings)
    draw(state)
    add_pins(state)
    add_core(state)
    if not plan.is_minimal and not plan.cover.covers_nothing:
        if plan.cover.fan_outs:
            add_fan_out_witnesses(state)
        cover(state)
    close(state)
    finish(state)
    cut_references(state)
    check_masked_rows(state)
