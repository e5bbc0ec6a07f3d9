"""Tables as ibis sees them, and its expressions as queries."""

import functools
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import Database, libpq_uri
from data_pipeline.errors import UnsupportedDataError
from data_pipeline.results.sql_query import sql_query
from data_pipeline.store.several_tables import Tables
from data_pipeline.store.table_properties import Table, View
from data_pipeline.transfer.frames import loaded_module


def as_query(value: Any) -> Any:
    """Return a result with an ibis expression, if it is one, as the SQL that it compiles to.

    Raises:
        UnsupportedDataError: PostgreSQL cannot compute it.
    """
    if isinstance(value, Table):
        inner = as_query(value.obj)
        return Table.of(inner, value.properties, value.inputs, value.written, value.unchanged)
    if isinstance(value, View):
        return View(as_query(value.source))
    if isinstance(value, Tables):
        return Tables({name: as_query(each) for name, each in value.items()})
    ibis = loaded_module("ibis")
    if ibis is None or not isinstance(value, ibis.Expr):
        return value
    from ibis.expr.operations import InMemoryTable

    try:
        table = value if isinstance(value, ibis.Table) else value.as_table()
        if table.op().find(InMemoryTable):
            raise ValueError("it holds rows of its own (memtable)")
        return sql_query(ibis.to_sql(table, dialect="postgres"))
    except Exception as error:
        raise UnsupportedDataError(
            f"An ibis expression cannot be written as SQL for PostgreSQL: {error}. Build it of the "
            "tables that arrive at parameters with ibis.Table."
        ) from error


def as_ibis(source: Database, table: sa.Table) -> Any:
    """Return a table as one of an ibis connection, which this process has one of a database."""
    return _connection(libpq_uri(source.url)).table(table.name, database=table.schema)


@functools.cache
def _connection(url: str) -> Any:
    import ibis
    import psycopg

    return ibis.postgres.from_connection(psycopg.connect(url, autocommit=True))
