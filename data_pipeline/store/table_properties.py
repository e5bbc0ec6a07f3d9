"""What an asset can say of its table: `Table`, `table_properties`, `View` and their properties."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict, Unpack, cast

import sqlalchemy as sa

from data_pipeline.database.identifiers import (
    DIALECT,
    MAX_IDENTIFIER_BYTES,
    RelationName,
    quoted,
)
from data_pipeline.definition_metadata import kept, kept_value
from data_pipeline.errors import ConfigurationError
from data_pipeline.transfer.stable_hash import fingerprint

KEY_DECLARATION = (
    "`@dg.asset(metadata=table_properties(primary_key=...))`, or for a table of a source "
    "`properties={...: {'primary_key': ...}}` of `database_tables` or `file_tables`"
)
"""How a primary key is declared, for messages."""


def key_name(table: str) -> str:
    """Name the primary key as PostgreSQL does, but for long names, which it would cut off."""
    name = f"{table}_pkey"
    return name if len(name.encode()) <= MAX_IDENTIFIER_BYTES else object_name(table, "pkey")


def index_name(table: str, columns: Sequence[str]) -> str:
    """Name an index that a table declares."""
    # The names that PostgreSQL makes up are free in the staging schema only: an index on column
    # `b_c` of table `a` would have the same name as one on `c` of table `a_b`.
    return object_name(table, "idx", *columns)


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


def object_name(*parts: str) -> str:
    """Name an object so that it is alone in a schema: as much of the parts as fits, and a hash."""
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

Write = Literal["append", "merge"]
"""What a commit does with an increment: add its rows, or merge them by the primary key."""

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
    view: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    unit: tuple[str, ...] | None = None
    write: Write | None = None
    deleted: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether a table of any columns has them."""
        return dataclasses.replace(self, columns={}) == Properties()

    def merged(self, over: "Properties") -> "Properties":
        """Return these properties where `over` leaves the default."""
        default = Properties()
        own = {
            item.name: getattr(over, item.name)
            for item in fields(self)
            if getattr(over, item.name) != getattr(default, item.name)
        }
        return dataclasses.replace(self, **own | {"columns": {**self.columns, **over.columns}})

    def as_a_whole(self) -> "Properties":
        """Return the properties of a copy, which is no increment of anything."""
        return dataclasses.replace(self, write=None, deleted=None)

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
        others = (*self.types, *(self.nullable or ()), *(self.unit or ()), *self.columns)
        return {*self.primary_key, *keys, *indexed, *others}

    def in_words(self) -> str:
        """Return the properties as people read them."""
        nullable = self.nullable
        may = (
            nullable if not isinstance(nullable, Mapping) else [n for n, v in nullable.items() if v]
        )
        said = {
            "primary key": ", ".join(self.primary_key),
            "foreign keys": ", ".join(
                f"{', '.join(key.columns)} → {key.references}" for key in self.foreign_keys
            ),
            "indexes": "; ".join(", ".join(index) for index in self.indexes),
            "types": ", ".join(f"{name} {kind}" for name, kind in self.types.items()),
            "may be NULL": ", ".join(may or ()),
            "unit": ", ".join(self.unit or ()),
            "replaced by": self.replace,
            "increments": self.write,
            "deletions": self.deleted,
        }
        flags = {"unlogged": self.unlogged, "a view": self.view}
        parts = [f"{what}: {text}" for what, text in said.items() if text]
        return "; ".join([*parts, *(what for what, is_so in flags.items() if is_so)]) or "a table"

    def as_json(self) -> dict[str, Any]:
        """Return the properties as JSON can hold them (catalog, metadata)."""
        # Left out where it is not used: what is known by its properties stays what it was.
        replacement = {} if self.replace is None else {"replace": self.replace}
        view = {"view": True} if self.view else {}
        columns = {"columns": dict(self.columns)} if self.columns else {}
        unit = {} if self.unit is None else {"unit": list(self.unit)}
        write = {} if self.write is None else {"write": self.write}
        deleted = {} if self.deleted is None else {"deleted": self.deleted}
        return (
            replacement
            | view
            | columns
            | unit
            | write
            | deleted
            | {
                "primary_key": list(self.primary_key),
                "foreign_keys": [_foreign_key_json(key) for key in self.foreign_keys],
                "indexes": [list(index) for index in self.indexes],
                "types": dict(self.types),
                "nullable": _nullable_json(self.nullable),
                "unlogged": self.unlogged,
            }
        )

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
            view=bool(data.get("view")),
            columns=dict(data.get("columns") or {}),
            unit=None if data.get("unit") is None else tuple(data["unit"]),
            write=data.get("write"),
            deleted=data.get("deleted"),
        )


class Declared(TypedDict, total=False):
    """What users write of a table.

    Attributes:
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
        columns: What columns mean, by column. They become comments in PostgreSQL, and the web UI
            shows them. A change of them alone computes nothing again.
        unit: The columns with the key of the sampled unit that a row belongs to, in the order of
            that key, for estimates of what a change does to full; `[]`: it belongs to none, as
            ranks over all rows do; None: found by the names of columns.
        write: What the asset returns is an increment of what is there: its rows `append`, or
            `merge` by the primary key. It asks what is there (`previous`) and returns everything
            where that is None.
        deleted: A boolean column of increments to be merged: the rows for which it is true leave
            the table, which does not have that column.
    """

    primary_key: str | Sequence[str]
    foreign_keys: Sequence[ForeignKey]
    indexes: Sequence[str | Sequence[str]]
    types: Mapping[str, str | sa.types.TypeEngine[Any]] | None
    nullable: Mapping[str, bool] | Sequence[str] | None
    unlogged: bool | None
    replace: Replacement | None
    columns: Mapping[str, str] | None
    unit: str | Sequence[str] | None
    write: Write | None
    deleted: str | None


def properties(
    *,
    primary_key: str | Sequence[str] = (),
    foreign_keys: Sequence[ForeignKey] = (),
    indexes: Sequence[str | Sequence[str]] = (),
    types: Mapping[str, str | sa.types.TypeEngine[Any]] | None = None,
    nullable: Mapping[str, bool] | Sequence[str] | None = None,
    unlogged: bool | None = None,
    replace: Replacement | None = None,
    columns: Mapping[str, str] | None = None,
    unit: str | Sequence[str] | None = None,
    write: Write | None = None,
    deleted: str | None = None,
) -> Properties:
    """Check and normalise what users write (see `Declared`).

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
        columns=_descriptions(columns or {}),
        unit=None if unit is None else column_names(unit, "Table", "unit"),
        write=_write(write),
        deleted=None if deleted is None else column_names([deleted], "Table", "deleted")[0],
    )


class Table:
    """A frame or query together with the properties of the table that is made of it.

    Use it where the properties depend on the data; where they are known beforehand,
    `table_properties` declares them on the asset and the function returns the plain frame.
    """

    def __init__(self, obj: Any, **declared: Unpack[Declared]) -> None:
        self.obj = obj
        self.inputs: Mapping[str, str | None] = {}
        self.written: Written | None = None
        self.unchanged: str | None = None
        self.properties = properties(**declared)

    @classmethod
    def of(
        cls,
        obj: Any,
        properties: Properties,
        inputs: Mapping[str, str | None] | None = None,
        written: "Written | None" = None,
        unchanged: str | None = None,
    ) -> "Table":
        """Return a table with properties that were checked before.

        Args:
            obj: The frame or query.
            properties: Its properties.
            inputs: Data versions of what it was made from besides the asset's inputs, by asset.
            written: Where the rows of the query are already.
            unchanged: The `query_key` of the committed table, if that has these rows already.
        """
        table = cls(obj)
        table.properties = properties
        table.written = written
        table.unchanged = unchanged
        table.inputs = inputs or {}
        return table

    def __repr__(self) -> str:
        return f"Table({type(self.obj).__name__}, {self.properties})"


@dataclass(frozen=True)
class Written:
    """A table with the rows of a query, of one transaction, which is taken in place of these.

    Attributes:
        relation: The table, with the columns of the query and no key.
        rows: So many rows it has.
    """

    relation: RelationName
    rows: int


@dataclass(frozen=True)
class View:
    """A table that is a view, no copy: of another table under its own name, or of a query.

    Attributes:
        source: The table behind it, or the query that it shows.
    """

    source: sa.Table | sa.SelectBase | sa.TextClause


def table_properties(**declared: Unpack[Declared]) -> dict[str, Any]:
    """Return asset metadata that declares properties of the asset's table.

    Example: `@dg.asset(metadata=table_properties(primary_key="carrier"))`. Takes the same keyword
    arguments as `Table`, which wins where both speak.

    Raises:
        ConfigurationError: A value of a wrong form, naming it.
    """
    return properties_metadata(properties(**declared))


def properties_metadata(declared: Properties) -> dict[str, Any]:
    """Return asset metadata that declares properties; the web UI shows them in words."""
    return {METADATA_KEY: kept(declared.as_json(), declared.in_words())}


def declared_version(declared: Properties) -> str:
    """Return the identity of what an asset declares of its table, as its computation sees it."""
    # How a table is committed makes no other one of it.
    return fingerprint(dataclasses.replace(declared, replace=None, columns={}).as_json())


def declared_properties(metadata: Mapping[str, Any]) -> Properties:
    """Read the properties that `table_properties` put into an asset's metadata."""
    data = kept_value(metadata, METADATA_KEY)
    return Properties.from_json(data) if data else Properties()


def _descriptions(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping) and all(isinstance(text, str) for text in value.values()):
        return {str(name): text for name, text in value.items()}
    raise ConfigurationError(
        f"Table(columns=...): {value!r} does not say what columns mean. Give texts by column, "
        '{"price": "Price in EUR, with tax"}.'
    )


def _replacement(value: Any) -> Replacement | None:
    if value not in (None, "table", "rows"):
        raise ConfigurationError(
            f'Table(replace=...): {value!r} is none of "table" (replaced as a whole) and "rows" '
            "(only the rows that differ)."
        )
    return cast("Replacement | None", value)


def _write(value: Any) -> Write | None:
    if value not in (None, "append", "merge"):
        raise ConfigurationError(
            f'Table(write=...): {value!r} is none of "append" (its rows are added) and "merge" '
            "(they replace those with the same primary key)."
        )
    return cast("Write | None", value)


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
