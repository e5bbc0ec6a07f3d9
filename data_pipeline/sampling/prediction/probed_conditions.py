"""What users write as SQL is tried on some rows before anything is drawn, which takes minutes."""

from collections.abc import Mapping

import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName
from data_pipeline.database.relations import relation_kind
from data_pipeline.sampling.engine.coverage_search import check_coverage, naming_predicates
from data_pipeline.sampling.engine.population import check_where, naming_where
from data_pipeline.sampling.engine.source_tables import SourceTable, is_true
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.prediction.column_statistics import probe
from data_pipeline.sampling.prediction.sizes import Extent


def check_conditions(
    connection: sa.Connection,
    plan: SamplePlan,
    tables: Mapping[str, sa.Table],
    found: Mapping[str, Extent],
) -> None:
    """Check the conditions of populations and coverage, on all rows of small tables.

    Of large tables a row that was not looked at can still make one fail, when it is drawn.

    Args:
        connection: To the source.
        plan: What will be chosen.
        tables: The relations of the source; views are not tried.
        found: How large they are.

    Raises:
        ConfigurationError: PostgreSQL does not understand a condition, or it fails on a row.
    """
    sources = {name: SourceTable(name, table, (), {}) for name, table in tables.items()}
    check_where(connection, plan, tables)
    check_coverage(connection, plan, sources)
    with naming_where(connection, plan, tables):
        for name, text in plan.where.items():
            _try(connection, sources[name], text, found[name])
    for name, predicates in plan.predicates.items():
        with naming_predicates(connection, plan, sources[name]):
            for text in predicates.values():
                _try(connection, sources[name], text, found[name])


def _try(connection: sa.Connection, source: SourceTable, text: str, extent: Extent) -> None:
    table = source.table
    if relation_kind(connection, RelationName(table.schema or "public", table.name)) == "VIEW":
        return  # it has no places to look at some rows
    some = probe(source, extent.rows)
    connection.execute(sa.select(sa.func.count().filter(is_true(text))).select_from(some))
