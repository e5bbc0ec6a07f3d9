"""Coverage: each category, NULL and extreme of a table has a witness in the sample."""

from collections.abc import Iterator

import numpy as np

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.in_memory.column import Column, Int64s
from data_pipeline.sampling.in_memory.drawing import Drawing
from data_pipeline.sampling.in_memory.frontier import (
    Candidates,
    candidates,
    frontier,
    has_categories,
)
from data_pipeline.sampling.in_memory.sampling_number import sampling_numbers
from data_pipeline.sampling.refusals import check_covered
from data_pipeline.sampling.rules import Role
from data_pipeline.sampling.witnesses import Obligation, witnesses


def check_coverage(drawing: Drawing) -> None:
    """Checks the columns to be covered, of tables that come whole, too.

    Raises:
        ConfigurationError: The specification names a column that the table does not have.
    """
    for table, names in (drawing.plan.columns or {}).items():
        columns = drawing.sources[table].columns
        check_covered(f"{drawing.plan.graph.stage}/{table}", names, columns)


def cover(drawing: Drawing) -> None:
    """Adds witnesses for what the chosen rows do not show, to all tables that do not come whole.

    Raises:
        ConfigurationError: The specification names a predicate, which is SQL.
    """
    for table in drawing.plan.graph.keys:
        if table not in drawing.whole:
            _cover(drawing, table, _columns(drawing, table))


def _cover(drawing: Drawing, table: str, columns: list[Column]) -> None:
    found = frontier(drawing, table, columns)
    every = [
        part
        for number, column in enumerate(columns)
        for part in candidates(
            column, number, found, categories=has_categories(drawing, table, column)
        )
    ]
    every = [part for part in every if len(part.rows)]
    if not every:
        return
    rank = _rank(drawing, table)
    first = dict(pair for part in every for pair in _firsts(part, rank))
    rows = np.unique(np.fromiter(first.values(), np.int64, len(first)))
    satisfied: dict[Obligation, set[int]] = {}
    for part in every:
        among = np.isin(part.rows, rows)
        for row, number in zip(part.rows[among], part.numbers[among], strict=True):
            satisfied.setdefault(part.obligations[number], set()).add(int(row))
    for row, obligation in witnesses(first, satisfied).items():
        drawing.add(table, np.array([row]), Role.WITNESS, str(obligation))


def _rank(drawing: Drawing, table: str) -> Int64s:
    """Gives the place of each row in the order in which samples have them."""
    order = np.lexsort([drawing.own_hash(table), sampling_numbers(drawing, table)])
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank


def _firsts(part: Candidates, rank: Int64s) -> Iterator[tuple[Obligation, int]]:
    """Gives the first row of each obligation."""
    order = np.argsort(rank[part.rows])
    numbers, first = np.unique(part.numbers[order], return_index=True)
    for number, row in zip(numbers, part.rows[order][first], strict=True):
        yield part.obligations[number], int(row)


def _columns(drawing: Drawing, table: str) -> list[Column]:
    columns = drawing.sources[table].columns
    for predicate in drawing.plan.predicates.get(table, {}):
        raise ConfigurationError(
            f"sample.cover.predicates: the predicate `{predicate}` of "
            f"`{drawing.plan.graph.stage}/{table}` is SQL, which cannot be evaluated on frames in "
            "memory. Build the instance in the database, or use a configuration without predicates "
            "in memory (DATA_PIPELINE_CONFIG names another file)."
        )
    if drawing.plan.columns is None:
        return list(columns.values())
    return [columns[column] for column in drawing.plan.columns.get(table, ())]
