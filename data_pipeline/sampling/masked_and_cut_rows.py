"""The rows of a copy as they are copied: masked, and with NULL for references that were cut."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName
from data_pipeline.sampling.engine.masks import masked
from data_pipeline.sampling.engine.source_tables import TID, SourceTable, Tid


def copied_rows(
    relation: sa.Table,
    places: sa.FromClause | None,
    cuts: Mapping[str, sa.TableClause],
    masks: Mapping[str, str],
    alias: str,
) -> sa.Subquery:
    """Return the chosen rows of a table, with their places.

    Args:
        relation: The source.
        places: The working table of the chosen rows; None: all come.
        cuts: By column, the working table of the places where it is NULL.
        masks: By column, the expression in its place.
        alias: The name of the result.
    """
    source = SourceTable("", relation, (), {})
    rows = source.all_rows("rows") if places is None else source.rows_at(places, "rows")
    joined: sa.FromClause = rows
    columns: dict[str, sa.ColumnElement[Any]] = {c.name: rows.c[c.name] for c in relation.c}
    columns |= {name: masked(text, relation.c[name].type) for name, text in masks.items()}
    for number, (name, cut) in enumerate(cuts.items()):
        other = cut.alias(f"cut_{number}")
        joined = joined.outerjoin(other, other.c[TID] == rows.c[TID])
        columns[name] = sa.case((other.c[TID].is_(None), columns[name]))
    shown = [column.label(name) for name, column in columns.items()]
    return sa.select(rows.c[TID], *shown).select_from(joined).subquery(alias)


def places_table(name: RelationName) -> sa.TableClause:
    """Return a working table of places."""
    return sa.table(name.name, sa.column(TID, Tid()), schema=name.schema)


def columns_of(relation: sa.Table, rows: sa.FromClause) -> Sequence[sa.ColumnElement[Any]]:
    """Return the columns of a table in the rows of its copy."""
    return [rows.c[column.name] for column in relation.c]
