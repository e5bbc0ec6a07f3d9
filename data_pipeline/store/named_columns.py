"""The columns of a table that say which there are when one is asked for that there is not."""

from difflib import get_close_matches
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from data_pipeline.errors import UnknownColumnError

INFO_KEY = "data_pipeline/catalog_row"
"""Where a table that was referred to holds its catalog row."""


class NamedColumns(ReadOnlyColumnCollection[str, sa.Column[Any]]):
    """What stands behind `table.c`."""

    __slots__ = ()

    def __getattr__(self, key: str) -> Any:
        """Return a column, as `table.c.name` asks for it.

        Raises:
            UnknownColumnError: There is none of that name.
        """
        try:
            return super().__getattr__(key)
        except AttributeError:
            if key.startswith("__"):
                raise
            raise self._unknown(key) from None

    def __getitem__(self, key: Any) -> Any:
        """Return a column, or several, as `table.c["name"]` asks for it.

        Raises:
            UnknownColumnError: There is none of that name.
        """
        try:
            return super().__getitem__(key)
        except KeyError:
            names = key if isinstance(key, tuple) else (key,)
            raise self._unknown(next(n for n in names if n not in self)) from None

    def _unknown(self, name: str) -> UnknownColumnError:
        columns = list(self.keys())
        close = get_close_matches(name, columns, 1, cutoff=0.5)
        meant = f" Is `{close[0]}` meant?" if close else ""
        table = f"Table `{_shown(next(iter(self)).table)}`" if columns else "The table"
        listed = ", ".join(f"`{column}`" for column in columns) or "none"
        return UnknownColumnError(
            f"{table} has no column `{name}`.{meant} Its columns are {listed}. If it was renamed "
            "where the table is made, write its new name here."
        )


def _shown(table: sa.FromClause) -> str:
    row = table.info.get(INFO_KEY) if isinstance(table, sa.Table) else None
    return str(row.table if row else table)


def name_columns(table: sa.Table) -> None:
    """Let a table say which columns it has when one is asked for that it has not."""
    table.__dict__["c"] = NamedColumns(table.c._parent)
