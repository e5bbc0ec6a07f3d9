"""What users write as SQL is tried on some rows before anything is drawn, which takes minutes."""

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName
from data_pipeline.database.relations import relation_kind
from data_pipeline.errors import ConfigurationError
from data_pipeline.results.sql_query import compiled
from data_pipeline.sampling.engine.coverage_search import check_coverage, naming_predicates
from data_pipeline.sampling.engine.masks import masked
from data_pipeline.sampling.engine.population import Populations, check_where, naming_where
from data_pipeline.sampling.engine.source_tables import SourceTable, is_true
from data_pipeline.sampling.engine.workspace import Workspace
from data_pipeline.sampling.plan.hubs_and_thresholds import listed
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.prediction.column_statistics import PROBED_ROWS, probe
from data_pipeline.sampling.prediction.sizes import Extent

_VOLATILE = sa.text(r"""
SELECT DISTINCT proname::text
FROM pg_rewrite,
    regexp_matches(ev_action::text, '[:](funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g') found
    JOIN pg_proc proc ON proc.oid = found[2]::oid
WHERE ev_class = to_regclass(:name) AND provolatile = 'v'
ORDER BY 1
""")
"""The volatile functions in the query of a view, by the form in which PostgreSQL keeps it."""


def check_conditions(
    connection: sa.Connection,
    plan: SamplePlan,
    tables: Mapping[str, sa.Table],
    found: Mapping[str, Extent],
) -> None:
    """Check the conditions of populations and coverage, on all rows of small tables.

    Of large tables a row that was not looked at can still make one fail, when it is drawn. Of views
    the first rows are tried.

    Args:
        connection: To the source.
        plan: What will be chosen.
        tables: The relations of the source.
        found: How large they are.

    Raises:
        ConfigurationError: PostgreSQL does not understand a condition, or it fails on a row, or no
            row meets that of a population.
    """
    sources = {name: SourceTable(name, table, (), {}) for name, table in tables.items()}
    check_where(connection, plan, tables)
    check_coverage(connection, plan, sources)
    with naming_where(connection, plan, tables):
        for name, text in plan.where.items():
            if not _try(connection, sources[name], text, found[name]) or _belongs(plan, name):
                _check_population(connection, plan, tables, name)
    for name, predicates in plan.predicates.items():
        with naming_predicates(connection, plan, sources[name]):
            for text in predicates.values():
                _try(connection, sources[name], text, found[name])


def _belongs(plan: SamplePlan, name: str) -> bool:
    """Whether a table is drawn with another one, which has a population of its own."""
    owner = plan.tables[name].owner
    return owner is not None and (owner.parent in plan.where or _belongs(plan, owner.parent))


def _check_population(
    connection: sa.Connection, plan: SamplePlan, tables: Mapping[str, sa.Table], name: str
) -> None:
    """Check that a population has a row, if its table has one: a typo leaves none."""
    restriction = Populations(plan, tables).restriction(name)
    if restriction is None:
        return
    rows = tables[name].alias("s")
    every = sa.select(sa.literal(1)).select_from(rows)
    if _has_rows(connection, every.where(*restriction(rows))) or not _has_rows(connection, every):
        return
    with_what = ""
    if _belongs(plan, name) and (owner := plan.tables[name].owner):
        with_what = f" and belongs to a row of `{owner.parent}` that can be drawn"
    raise ConfigurationError(
        f"sample.where: no row of `{plan.graph.stage}/{name}` meets {plan.where[name]!r}"
        f"{with_what}. Correct the condition, or leave it out."
    )


def _has_rows(connection: sa.Connection, query: sa.Select[Any]) -> bool:
    return bool(connection.scalar(sa.select(sa.exists(query))))


def check_repeatable(space: Workspace, plan: SamplePlan, tables: Mapping[str, sa.Table]) -> None:
    """Check that what users wrote as SQL says the same of a row whenever it is asked.

    Args:
        space: Where a view may be, for a moment.
        plan: What will be chosen.
        tables: The relations of the source.

    Raises:
        ConfigurationError: An expression calls a volatile function, such as `random()`.
    """
    for what, table, text, expression in _expressions(plan, tables):
        if found := _volatile(space, sa.select(expression.label("value")).select_from(table)):
            calls = listed(f"{name}()" for name in found)
            raise ConfigurationError(
                f"{what}, {text!r}, calls {calls}, which may give another value at each call "
                "(VOLATILE), but a sample has to be the same whenever it is drawn. Use the row's "
                "own columns (a hash such as `md5` in place of chance); a function of yours that "
                "always gives the same has to be declared IMMUTABLE or STABLE."
            )


def _expressions(
    plan: SamplePlan, tables: Mapping[str, sa.Table]
) -> Iterator[tuple[str, sa.FromClause, str, sa.ColumnElement[Any]]]:
    """Return all that users wrote: what it is, its table, its text, and the expression."""
    stage = plan.graph.stage
    for name, table in tables.items():
        rows, owner = table.alias("s"), f"`{stage}/{name}`"
        conditions = [
            (f"sample.where: the condition of {owner}", plan.where.get(name)),
            *(
                (f"sample.cover.predicates: the predicate `{predicate}` of {owner}", text)
                for predicate, text in plan.predicates.get(name, {}).items()
            ),
            *((f"The relationship {i}: its condition", i.where) for i in plan.graph.of_child(name)),
        ]
        for what, text in conditions:
            if text is not None:
                yield what, rows, text, is_true(text)
        for column, text in plan.masks.get(name, {}).items():
            if column in table.c:
                what = f"sample.mask: `{column}` of {owner}"
                yield what, rows, text, masked(text, table.c[column].type)


def _volatile(space: Workspace, query: sa.Select[Any]) -> list[str]:
    """Name the volatile functions that a query calls; none if PostgreSQL does not take it."""
    view = space.name("expression")
    try:
        with space.connection.begin_nested() as trial:
            run(space.connection, f"CREATE VIEW {view.quoted} AS {compiled(query)}")
            found = space.connection.scalars(_VOLATILE, {"name": view.quoted}).all()
            trial.rollback()
    except sa.exc.DBAPIError:
        return []  # what is wrong with it, others say
    return list(found)


def _try(connection: sa.Connection, source: SourceTable, text: str, extent: Extent) -> int:
    """Return how many of some rows meet a condition."""
    some = probe(source, extent.rows)
    if is_view(connection, source.table):
        some = sa.select(source.table).limit(PROBED_ROWS).subquery("s")
    query = sa.select(sa.func.count().filter(is_true(text))).select_from(some)
    return int(connection.scalar(query) or 0)


def is_view(connection: sa.Connection, table: sa.Table) -> bool:
    """Whether a source is a view: its rows have no places."""
    relation = RelationName(table.schema or "public", table.name)
    return relation_kind(connection, relation) == "VIEW"
