"""What users write about the columns of a table, checked and normalised."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.tables.names import DIALECT


def column_names(value: Any, where: str, argument: str) -> tuple[str, ...]:
    """Gives the names of a column or several.

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
    """Gives the items of a list.

    Raises:
        ConfigurationError: It is of another form, naming it.
    """
    if isinstance(value, Iterable):
        return tuple(value)
    raise ConfigurationError(
        f"{where}({argument}=...): {value!r} is no list. Give a list, or leave the argument out."
    )


def type_names(types: Any) -> dict[str, str]:
    """Gives the names of types in PostgreSQL, by column.

    Raises:
        ConfigurationError: It is of another form, naming it.
    """
    if isinstance(types, Mapping):
        return {name: _type_name(name, kind) for name, kind in types.items()}
    raise ConfigurationError(
        f'Table(types=...): {types!r} is no mapping. Give types by column, {{"price": "numeric"}}.'
    )


def nullability(value: Any) -> Mapping[str, bool] | tuple[str, ...] | None:
    """Gives whether columns may be NULL, or the columns that may.

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
