"""What the specification says of coverage, against the tables: columns, predicates."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.in_database.source_tables import SourceTable, is_true, refused
from data_pipeline.sampling.refusals import check_covered, failing_predicate, wrong_predicate
from data_pipeline.sampling.sample_plan import SamplePlan


def check_coverage(
    connection: sa.Connection, plan: SamplePlan, sources: Mapping[str, SourceTable]
) -> None:
    """Checks what is to be covered, of tables that come whole, too.

    Raises:
        ConfigurationError: The specification names a column that the table does not have, or a
            predicate that PostgreSQL does not understand.
    """
    for name, source in sources.items():
        table, columns = f"{plan.graph.stage}/{name}", source.table.c.keys()
        check_covered(table, (plan.columns or {}).get(name, ()), columns)
        for predicate, text in plan.predicates.get(name, {}).items():
            if reason := refused(connection, source.table, text):
                raise wrong_predicate(table, predicate, text, reason, columns)


@contextmanager
def naming_predicates(
    connection: sa.Connection, plan: SamplePlan, source: SourceTable
) -> Iterator[None]:
    """Turns the error of a predicate that fails on a row into one that names it.

    Raises:
        ConfigurationError: It does.
    """
    predicates = plan.predicates.get(source.name, {})
    if not predicates:
        yield
        return
    try:
        with connection.begin_nested():
            yield
    except sa.exc.DataError:
        for name, text in predicates.items():
            if reason := _failure(connection, source.table, text):
                table = f"{plan.graph.stage}/{source.name}"
                raise failing_predicate(table, name, text, reason) from None
        raise


def _failure(connection: sa.Connection, table: sa.Table, text: str) -> str | None:
    """Says why a predicate fails on a row; None where it does not."""
    query: sa.Select[Any] = sa.select(sa.func.count()).select_from(table.alias("s"))
    try:
        with connection.begin_nested():
            connection.execute(query.where(is_true(text)))
    except sa.exc.DataError as error:
        return str(error.orig).strip()
    return None
