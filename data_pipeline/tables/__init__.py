"""WHERE is it? Names, connections, Arrow transfer, catalog, commit and the IO manager."""

from data_pipeline.tables.sql import sql_file, sql_query
from data_pipeline.tables.table import ForeignKey, Table, View, table_properties

__all__ = ["ForeignKey", "Table", "View", "sql_file", "sql_query", "table_properties"]
