"""Masks: expressions that stand in the place of columns in copies."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import DIALECT, RelationName, quoted
from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.engine.selection_state import SelectionState
from data_pipeline.sampling.plan.hubs_and_thresholds import listed
from data_pipeline.sampling.plan.masked_keys import key_columns

_TRIED_ROWS = 20_000
"""So many rows of a table are tried before any is chosen."""


def masked(text: str, type_: sa.types.TypeEngine[Any]) -> sa.ColumnElement[Any]:
    """Return a mask as an expression over the columns of its table, with the type of its column.

    It may end with a comment, which ends with the line.
    """
    return sa.cast(sa.literal_column(f"({text}\n)"), type_)


def check_masks(state: SelectionState) -> None:
    """Check the masks.

    Raises:
        ConfigurationError: A column does not exist, PostgreSQL does not understand an expression,
            or it depends on more than the row, or that of a key on more than its column; or it
            fails on one of the first rows, is NULL where the column may not be, or gives several
            of them the same key.
    """
    for table, masks in state.plan.masks.items():
        columns = state.sources[table].table.c
        for name, text in masks.items():
            where = _mask(state, table, name)
            if name not in columns:
                raise ConfigurationError(
                    f"{where} does not exist. Its columns are {listed(columns.keys())}."
                )
            if reason := _refused(state, table, name, text):
                of_key = name in key_columns(state.plan.graph, table)
                what = (
                    f"an immutable expression of `{name}` alone, since rows are told by it"
                    if of_key
                    else f"an expression of the columns {listed(columns.keys())}, no query"
                )
                raise ConfigurationError(f"{where}, {text!r}: {reason}\nWrite {what}.")
        some = sa.select(state.sources[table].table).limit(_TRIED_ROWS).subquery("rows")
        _check_values(state, table, some)
        _check_keys(state, table, some)


@contextmanager
def naming_masks(state: SelectionState) -> Iterator[None]:
    """Name a mask that fails on a row in the error of the block.

    Raises:
        ConfigurationError: One of them fails.
    """
    if not state.plan.masks:
        yield
        return
    try:
        with state.connection.begin_nested():
            yield
    except sa.exc.DataError:
        for table in state.plan.masks:
            _check_values(state, table, state.sources[table].all_rows("rows"))
        raise


def _mask(state: SelectionState, table: str, name: str) -> str:
    return f"sample.mask: `{name}` of `{state.plan.graph.stage}/{table}`"


def _refused(state: SelectionState, table: str, name: str, text: str) -> str | None:
    """Say why PostgreSQL does not take a mask: as a check, or for a key as an index."""
    source = state.sources[table].table
    of_key = name in key_columns(state.plan.graph, table)
    columns = [source.c[name]] if of_key else list(source.c)
    bare: sa.ColumnElement[Any] = sa.literal_column(f"CASE WHEN true THEN {text}\nEND")
    try:
        with state.connection.begin_nested():
            trial, _ = state.space.create(sa.select(*columns).limit(0), "mask", table, name)
            # What closes our parentheses and opens others is none without them.
            both = sa.select(masked(text, source.c[name].type), bare).select_from(trial)
            state.connection.execute(both)
            relation = RelationName(trial.schema or "public", trial.name).quoted
            kind = source.c[name].type.compile(DIALECT)
            expression = f"CAST(({text}\n) AS {kind})"
            run(state.connection, f"ALTER TABLE {relation} ADD CHECK (({expression}) IS NULL)")
            if of_key:
                run(state.connection, f"CREATE INDEX ON {relation} (({expression}))")
    except sa.exc.DBAPIError as error:
        return str(error.orig).strip()
    return None


def _check_values(state: SelectionState, table: str, rows: sa.FromClause) -> None:
    """Check that each mask of a table has a value for rows of it."""
    for name, text in state.plan.masks[table].items():
        if reason := _failure(state, state.sources[table].table.c[name], text, rows):
            raise ConfigurationError(f"{_mask(state, table, name)}, {text!r}, {reason}") from None


def _failure(
    state: SelectionState, column: sa.Column[Any], text: str, rows: sa.FromClause
) -> str | None:
    """Say why the mask of a column has no value for some rows."""
    missing = masked(text, column.type).is_(None)
    try:
        with state.connection.begin_nested():
            lost = state.connection.scalar(
                sa.select(sa.func.count().filter(missing)).select_from(rows)
            )
    except sa.exc.DataError as error:
        # What follows the colon may be the value that the mask is to hide.
        said: Any = error.orig
        reason = str(said.diag.message_primary).partition(":")[0]
        return f"fails on a row of the source: {reason}\nWrite one that has a value for each row."
    if lost and not column.nullable:
        return (
            f"is NULL for some rows, but `{column.name}` may not be NULL. Write one with a value."
        )
    return None


def check_masked_rows(state: SelectionState) -> None:
    """Check the masks of the chosen rows, of which few were tried before.

    Raises:
        ConfigurationError: One has no value for a row, or several rows get the same key.
    """
    for table in state.plan.masks:
        source = state.sources[table]
        rows = (
            source.all_rows("rows")
            if table in state.whole
            else source.rows_at(state.rows[table], "rows")
        )
        if table not in state.outputs:
            _check_values(state, table, rows)
        _check_keys(state, table, rows)


def _check_keys(state: SelectionState, table: str, rows: sa.FromClause) -> None:
    key, masks = state.plan.graph.keys[table], state.plan.masks[table]
    if not set(key) & masks.keys():
        return
    values = [
        masked(masks[name], rows.c[name].type) if name in masks else rows.c[name] for name in key
    ]
    twice = sa.select(sa.literal(1)).select_from(rows).group_by(*values)
    if state.connection.scalar(twice.having(sa.func.count() > 1).limit(1)):
        raise ConfigurationError(
            f"sample.mask: the masks of the primary key of `{state.plan.graph.stage}/{table}` "
            f"({', '.join(quoted(name) for name in key)}) give several rows the same key. Use "
            "an expression that differs where its column does, such as md5."
        )
