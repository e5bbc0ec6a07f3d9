"""The primary key of a raw table: that of the database, or else the one that its asset declares."""

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.refusals import listed
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.table import Properties


def with_declared_key(source: sa.Table, table: StageTable, declared: Properties) -> sa.Table:
    """Gives a table its declared key where the database knows none, as that of a view.

    Args:
        source: The table; it is changed.
        table: Its stage and name, for messages.
        declared: What its asset declares.

    Raises:
        ConfigurationError: A column of the key does not exist.
    """
    if source.primary_key.columns or not declared.primary_key:
        return source
    columns = source.c.keys()
    if missing := [name for name in declared.primary_key if name not in columns]:
        raise ConfigurationError(
            f"Table `{table}`: its primary key names the column `{missing[0]}`, which it does not "
            f"have. Its columns are {listed(columns)}. Correct table_properties(primary_key=...)."
        )
    keys = [source.c[name] for name in declared.primary_key]
    source.append_constraint(sa.PrimaryKeyConstraint(*keys))
    return source
