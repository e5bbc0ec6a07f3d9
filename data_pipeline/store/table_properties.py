"""What an asset can say of its table: `Table`, `table_properties`, `View` and their properties."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

import sqlalchemy as sa

from data_pipeline.database.identifiers import (
    DIALECT,
    MAX_IDENTIFIER_BYTES,
    RelationName,
    quoted,
)
from data_pipeline.errors import ConfigurationError
from data_pipeline.transfer.stable_hash import fingerprint


def key_name(table: str) -> str:
    """Name the primary key as PostgreSQL does, but for long names, which it would cut off."""
    name = f"{table}_pkey"
    return name if len(name.encode()) <= MAX_IDENTIFIER_BYTES else _object_name(table, "pkey")


def index_name(table: str, columns: Sequence[str]) -> str:
    """Name an index that a table declares."""
    # The names that PostgreSQL makes up are free in the staging schema only: an index on column
    # `b_c` of table `a` would have the same name as one on `c` of table `a_b`.
    return _object_name(table, "idx", *columns)


def key_statement(relation: RelationName, name: str, columns: Sequence[str]) -> str:
    """Return the statement that gives a table its primary key, under a name."""
    key = ", ".join(map(quoted, columns))
    return f"ALTER TABLE ONLY {relation.quoted} ADD CONSTRAINT {quoted(name)} PRIMARY KEY ({key})"


def index_statement(
    relation: RelationName, name: str, columns: Sequence[str], *, if_missing: bool = False
) -> str:
    """Return the statement that makes an index on columns of a table, under a name."""
    condition = "IF NOT EXISTS " if if_missing else ""
    listed = ", ".join(map(quoted, columns))
    return f"CREATE INDEX {condition}{quoted(name)} ON {relation.quoted} ({listed})"


def _object_name(*parts: str) -> str:
    """Return a name that is unique in a schema: as much of the parts as fits, and their hash."""
    digest = fingerprint(*parts)[:10]
    room = MAX_IDENTIFIER_BYTES - len(digest) - 1
    return f"{'_'.join(parts).encode()[:room].decode(errors='ignore')}_{digest}"


def column_names(value: Any, where: str, argument: str) -> tuple[str, ...]:
    """Return the names of a column or several.

    Raises:
        ConfigurationError: It is of another form, naming it.
    """
    names = (value,) if isinstance(value, str) else listed(value, where, argument)
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(
                f"{where}({argument}=...): {name!r} is not a column name. "
                "Give column names as text."
            )
    if len(set(names)) != len(names):
        raise ConfigurationError(f"{where}({argument}=...): a column is named twice in {names}.")
    return names


def listed(value: Any, where: str, argument: str) -> tuple[Any, ...]:
    """Return the items of a list.

    Raises:
        ConfigurationError: It is of another form, naming it.
    """
    if isinstance(value, Iterable):
        return tuple(value)
    raise ConfigurationError(
        f"{where}({argument}=...): {value!r} is no list. Give a list, or leave the argument out."
    )


def type_names(types: Any) -> dict[str, str]:
    """Return the names of types in PostgreSQL, by column.

    Raises:
        ConfigurationError: It is of another form, naming it.
    """
    if isinstance(types, Mapping):
        return {name: _type_name(name, kind) for name, kind in types.items()}
    raise ConfigurationError(
        f'Table(types=...): {types!r} is no mapping. Give types by column, {{"price": "numeric"}}.'
    )


def nullability(value: Any) -> Mapping[str, bool] | tuple[str, ...] | None:
    """Return whether columns may be NULL, or the columns that may.

    Raises:
        ConfigurationError: It is of another form, naming it.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return column_names(value, "Table", "nullable")
    for name, flag in value.items():
        if not isinstance(flag, bool):
            raise ConfigurationError(
                f"Table(nullable=...): column `{name}` has {flag!r}. Write True or False."
            )
    return value


def _type_name(column: str, kind: str | sa.types.TypeEngine[Any]) -> str:
    if isinstance(kind, str):
        return kind
    if isinstance(kind, type) and issubclass(kind, sa.types.TypeEngine):
        kind = kind()
    if isinstance(kind, sa.types.TypeEngine):
        return kind.compile(DIALECT)
    raise ConfigurationError(
        f"Table(types=...): column `{column}` has {kind!r}, which is neither a PostgreSQL type "
        'name such as "numeric(12,2)" nor a SQLAlchemy type.'
    )


Replacement = Literal["table", "rows"]
"""What a commit replaces: a table as a whole, or the rows that differ."""

METADATA_KEY = "data_pipeline/table"
"""Where `table_properties` puts its declarations in an asset's metadata."""


@dataclass(frozen=True)
class ForeignKey:
    """A relationship to another table of the same stage, checked but not enforced.

    Real sources have references that dangle, so no database constraint is made of it: asset checks
    compare it with the source, and sampling follows it.

    Attributes:
        columns: The referring columns.
        references: The table referred to, `table` in the same stage or `stage/table`.
        referenced_columns: Its columns, in the same order; default: the same names.
        where: An SQL condition on the referring table's columns: only rows for which it is true
            refer to that table (a polymorphic reference).
    """

    columns: Sequence[str]
    references: str
    referenced_columns: Sequence[str] = ()
    where: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", column_names(self.columns, "ForeignKey", "columns"))
        if not isinstance(self.references, str) or not self.references or not self.columns:
            raise ConfigurationError(
                f"ForeignKey(columns={list(self.columns)}, references={self.references!r}): name at"
                " least one column, and the table as text, `table` or `stage/table`."
            )
        referenced = self.referenced_columns or self.columns
        referenced = column_names(referenced, "ForeignKey", "referenced_columns")
        object.__setattr__(self, "referenced_columns", referenced)
        if len(self.columns) != len(self.referenced_columns):
            raise ConfigurationError(
                f"ForeignKey to `{self.references}`: {len(self.columns)} column(s) cannot refer to "
                f"{len(self.referenced_columns)}. Give as many `referenced_columns` as `columns`."
            )


@dataclass(frozen=True)
class Properties:
    """Properties of a table, whatever its rows are."""

    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    nullable: Mapping[str, bool] | tuple[str, ...] | None = None
    unlogged: bool | None = None
    replace: Replacement | None = None

    def merged(self, over: "Properties") -> "Properties":
        """Return these properties where `over` leaves the default."""
        default = Properties()
        own = {
            item.name: getattr(over, item.name)
            for item in fields(self)
            if getattr(over, item.name) != getattr(default, item.name)
        }
        return dataclasses.replace(self, **own)

    def not_null(self, columns: Sequence[str]) -> list[str]:
        """Name those of the columns that must not be NULL, besides the primary key."""
        if self.nullable is None:
            return []
        if isinstance(self.nullable, Mapping):
            return [name for name in columns if self.nullable.get(name, True) is False]
        return [name for name in columns if name not in self.nullable]

    def named_columns(self) -> set[str]:
        """Name every column that the properties speak of."""
        keys = (key for foreign_key in self.foreign_keys for key in foreign_key.columns)
        indexed = (name for index in self.indexes for name in index)
        return {*self.primary_key, *keys, *indexed, *self.types, *(self.nullable or ())}

    def as_json(self) -> dict[str, Any]:
        """Return the properties as JSON can hold them (catalog, metadata)."""
        # Left out where it is not used: what is known by its properties stays what it was.
        replacement = {} if self.replace is None else {"replace": self.replace}
        return replacement | {
            "primary_key": list(self.primary_key),
            "foreign_keys": [_foreign_key_json(key) for key in self.foreign_keys],
            "indexes": [list(index) for index in self.indexes],
            "types": dict(self.types),
            "nullable": _nullable_json(self.nullable),
            "unlogged": self.unlogged,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Properties":
        """Read what `as_json` gave."""
        nullable = data.get("nullable")
        return cls(
            primary_key=tuple(data.get("primary_key") or ()),
            foreign_keys=tuple(ForeignKey(**key) for key in data.get("foreign_keys") or ()),
            indexes=tuple(tuple(index) for index in data.get("indexes") or ()),
            types=dict(data.get("types") or {}),
            nullable=tuple(nullable) if isinstance(nullable, list) else nullable,
            unlogged=data.get("unlogged"),
            replace=data.get("replace"),
        )


def properties(
    *,
    primary_key: str | Sequence[str] = (),
    foreign_keys: Sequence[ForeignKey] = (),
    indexes: Sequence[str | Sequence[str]] = (),
    types: Mapping[str, str | sa.types.TypeEngine[Any]] | None = None,
    nullable: Mapping[str, bool] | Sequence[str] | None = None,
    unlogged: bool | None = None,
    replace: Replacement | None = None,
) -> Properties:
    """Check and normalises what users write.

    Args:
        primary_key: A column or several; they become NOT NULL.
        foreign_keys: Relationships, also such that do not always hold.
        indexes: Columns of each further index; a column alone is an index of one.
        types: PostgreSQL types that differ from the default ones, by column
            (`{"price": "numeric(12,2)"}` or a SQLAlchemy type).
        nullable: Either whether a column may be NULL, by column, or the columns that may, in which
            case no other may.
        unlogged: Leave the table out of the write-ahead log: faster, empty after a server crash.
        replace: What a commit replaces: the `table` as a whole, or only those of its `rows` that
            differ, which takes longer and suits readers with long transactions and subscribers of
            a publication; None: as `table_store.replace` says.

    Raises:
        ConfigurationError: A value of a wrong form, naming it.
    """
    if isinstance(indexes, str):
        indexes = (indexes,)
    return Properties(
        primary_key=column_names(primary_key, "Table", "primary_key"),
        foreign_keys=_foreign_keys(foreign_keys),
        indexes=tuple(
            column_names(i, "Table", "indexes") for i in listed(indexes, "Table", "indexes")
        ),
        types=type_names(types or {}),
        nullable=nullability(nullable),
        unlogged=unlogged,
        replace=_replacement(replace),
    )


class Table:
    """A frame or query together with the properties of the table that is made of it.

    Use it where the properties depend on the data; where they are known beforehand,
    `table_properties` declares them on the asset and the function returns the plain frame.
    """

    def __init__(
        self,
        obj: Any,
        *,
        primary_key: str | Sequence[str] = (),
        foreign_keys: Sequence[ForeignKey] = (),
        indexes: Sequence[str | Sequence[str]] = (),
        types: Mapping[str, str | sa.types.TypeEngine[Any]] | None = None,
        nullable: Mapping[str, bool] | Sequence[str] | None = None,
        unlogged: bool | None = None,
        replace: Replacement | None = None,
    ) -> None:
        self.obj = obj
        self.inputs: Mapping[str, str | None] = {}
        self.properties = properties(
            primary_key=primary_key,
            foreign_keys=foreign_keys,
            indexes=indexes,
            types=types,
            nullable=nullable,
            unlogged=unlogged,
            replace=replace,
        )

    @classmethod
    def of(
        cls, obj: Any, properties: Properties, inputs: Mapping[str, str | None] | None = None
    ) -> "Table":
        """Return a table with properties that were checked before.

        Args:
            obj: The frame or query.
            properties: Its properties.
            inputs: Data versions of what it was made from besides the asset's inputs, by asset.
        """
        table = cls(obj)
        table.properties = properties
        table.inputs = inputs or {}
        return table

    def __repr__(self) -> str:
        return f"Table({type(self.obj).__name__}, {self.properties})"


@dataclass(frozen=True)
class View:
    """A table that is a view, no copy: of another table under its own name, or of a query.

    Attributes:
        source: The table behind it, or the query that it shows.
    """

    source: sa.Table | sa.SelectBase | sa.TextClause


def table_properties(**declared: Any) -> dict[str, Any]:
    """Return asset metadata that declares properties of the asset's table.

    Example: `@dg.asset(metadata=table_properties(primary_key="carrier"))`. Takes the same keyword
    arguments as `Table`, which wins where both speak.

    Raises:
        ConfigurationError: A value of a wrong form, naming it.
    """
    return {METADATA_KEY: properties(**declared).as_json()}


def declared_properties(metadata: Mapping[str, Any]) -> Properties:
    """Read the properties that `table_properties` put into an asset's metadata."""
    value = metadata.get(METADATA_KEY)
    data = getattr(value, "data", value)
    return Properties.from_json(data) if data else Properties()


def _replacement(value: Any) -> Replacement | None:
    if value not in (None, "table", "rows"):
        raise ConfigurationError(
            f'Table(replace=...): {value!r} is none of "table" (replaced as a whole) and "rows" '
            "(only the rows that differ)."
        )
    return cast("Replacement | None", value)


def _foreign_keys(value: Sequence[ForeignKey]) -> tuple[ForeignKey, ...]:
    keys = (value,) if isinstance(value, ForeignKey) else listed(value, "Table", "foreign_keys")
    for key in keys:
        if not isinstance(key, ForeignKey):
            raise ConfigurationError(
                f"Table(foreign_keys=...): {key!r} is no ForeignKey. Write "
                'ForeignKey("<column>", "<table>") for each relationship.'
            )
    return keys


def _foreign_key_json(key: ForeignKey) -> dict[str, Any]:
    value = {
        "columns": list(key.columns),
        "references": key.references,
        "referenced_columns": list(key.referenced_columns),
    }
    # Left out where it is not used: catalogs of earlier versions do not have it.
    return value if key.where is None else {**value, "where": key.where}


def _nullable_json(nullable: Mapping[str, bool] | tuple[str, ...] | None) -> Any:
    if nullable is None or isinstance(nullable, Mapping):
        return nullable
    return list(nullable)
