"""One row of a sample: where it is, what it refers to, and what the roles say of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError, TableNotFoundError
from data_pipeline.sampling.key_hash import key_hash_sql
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.sampling.report.figures.figure import Compared, is_value, referred_values, refers
from data_pipeline.sampling.weights import ROW_HASH

_MOST_REFERRING = 50
_STRENGTH = ("certain", "sampled", "pinned", "witness", "reference")


@dataclass(frozen=True)
class RowId:
    """A row.

    Attributes:
        table: The input table.
        key: The values of its primary key, or the hash of all columns where there is none.
    """

    table: str
    key: tuple[Any, ...]


@dataclass(frozen=True)
class Facts:
    """What the roles say of a row; empty for a row that is not in the sample."""

    role: str | None = None
    probability: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Rows:
    """The rows of all tables of a sampled stage.

    Attributes:
        connection: To the database.
        tables: The tables.
    """

    connection: sa.Connection
    tables: Mapping[str, Compared]

    def find(self, table: str, values: Sequence[str]) -> RowId:
        """Find a row of the source.

        Args:
            table: The table.
            values: Those of the primary key in order, or `column=value` for any columns.

        Raises:
            ConfigurationError: They name no column, are of another type, or fit several rows.
            TableNotFoundError: There is no such row.
        """
        compared = self.tables[table]
        wanted = _by_column(compared, values)
        rows = compared.source_rows("found")
        conditions = [rows.c[name] == _typed(rows.c[name], text) for name, text in wanted.items()]
        query = sa.select(*_identity(compared, rows)).where(*conditions).distinct().limit(2)
        try:
            found = [tuple(row) for row in self.connection.execute(query)]
        except sa.exc.DataError as error:
            diagnosis = getattr(error.orig, "diag", None)
            reason = getattr(diagnosis, "message_primary", None) or error.orig
            raise ConfigurationError(
                f"`{table}`: PostgreSQL says {reason}. Give values of the columns' types: "
                f"{_types(compared, wanted)}."
            ) from None
        shown = ", ".join(f"{name} = {text}" for name, text in wanted.items())
        if not found:
            raise TableNotFoundError(
                f"The source of `{table}` has no row with {shown}. Correct the key."
            )
        if len(found) > 1:
            raise ConfigurationError(
                f"`{table}` has several rows with {shown}. Name more columns, as column=value."
            )
        return RowId(table, found[0])

    def facts(self, row: RowId) -> Facts:
        """Return what the roles say of a row."""
        roles = self.tables[row.table].roles
        names = self.tables[row.table].key or (ROW_HASH,)
        same = [roles.c[name] == value for name, value in zip(names, row.key, strict=True)]
        query = sa.select(roles.c.role, roles.c.probability, roles.c.reason).where(*same)
        found = self.connection.execute(query).first()
        return Facts() if found is None else Facts(*found)

    def parent(self, row: RowId, item: Relationship) -> RowId | None:
        """Return the row of the source that a row refers to, if any."""
        child = self.tables[row.table].source_rows("child")
        parent = self.tables[item.parent].source_rows("parent")
        values = [parent.c[name] for name in item.referenced_columns]
        pairs = [child.c[own] == other for own, other in zip(item.columns, values, strict=True)]
        query = sa.select(*_identity(self.tables[item.parent], parent)).where(
            refers(item, child), *pairs
        )
        found = self.connection.execute(self._only(query, child, row)).first()
        return None if found is None else RowId(item.parent, tuple(found))

    def referring(self, row: RowId, item: Relationship) -> list[RowId]:
        """Return rows of the sample that refer to a row; those with the strongest roles first."""
        compared = self.tables[item.child]
        child = compared.sample_rows("child")
        parent = self.tables[row.table].sample_rows("parent")
        kept = self._only(sa.select(parent), parent, row).subquery("kept")
        values = referred_values(item, kept, "referred")
        roles, names = compared.roles, compared.key or (ROW_HASH,)
        identity = _identity(compared, child)
        same = [one.element == roles.c[name] for one, name in zip(identity, names, strict=True)]
        strength = sa.case({role: i for i, role in enumerate(_STRENGTH)}, value=roles.c.role)
        query = (
            sa.select(*identity)
            .select_from(child.join(values, is_value(item, child, values)))
            .join(roles, sa.and_(*same))
            .order_by(strength, *(roles.c[name] for name in names))
            .limit(_MOST_REFERRING)
        )
        return [RowId(item.child, tuple(found)) for found in self.connection.execute(query)]

    def shown(self, row: RowId) -> str:
        """Return the row as readers know it."""
        names = self.tables[row.table].key or ("row with hash",)
        pairs = zip(names, row.key, strict=True)
        return f"{row.table} ({', '.join(f'{name} = {value}' for name, value in pairs)})"

    def _only(self, query: sa.Select[Any], rows: sa.FromClause, row: RowId) -> sa.Select[Any]:
        identity = _identity(self.tables[row.table], rows)
        pairs = zip(identity, row.key, strict=True)
        return query.where(*(column.element == value for column, value in pairs))


def _identity(table: Compared, rows: sa.FromClause) -> list[sa.Label[Any]]:
    if table.key:
        return [rows.c[name].label(f"key_{i}") for i, name in enumerate(table.key)]
    columns = [rows.c[name] for name in table.source.c.keys()]  # noqa: SIM118 - no mapping
    return [key_hash_sql(columns, 0).label(ROW_HASH)]


def _by_column(table: Compared, values: Sequence[str]) -> dict[str, str]:
    columns = list(table.source.c.keys())
    if values and all(text.partition("=")[0] in columns and "=" in text for text in values):
        return {text.partition("=")[0]: text.partition("=")[2] for text in values}
    if table.key and len(values) == len(table.key):
        return dict(zip(table.key, values, strict=True))
    if not table.key:
        raise ConfigurationError(
            f"`{table.name}` has no primary key. Name its row by columns, as column=value: "
            f"{', '.join(columns)}."
        )
    raise ConfigurationError(
        f"`{table.name}`: {len(values)} value(s) are no key. Give those of the primary key "
        f"({', '.join(table.key)}) in this order, or column=value for any of its columns: "
        f"{', '.join(columns)}."
    )


def _typed(column: sa.ColumnElement[Any], text: str) -> sa.ColumnElement[Any]:
    return sa.cast(sa.literal(text, sa.Text), column.type)


def _types(table: Compared, names: Mapping[str, str]) -> str:
    from data_pipeline.database.identifiers import DIALECT

    columns = table.source.c
    return ", ".join(f"`{name}` {columns[name].type.compile(DIALECT)}" for name in names)
