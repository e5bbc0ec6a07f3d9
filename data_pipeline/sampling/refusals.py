"""Errors of specifications and declarations that do not fit the tables, the same wherever they are.

Each function gives the error, or raises it if there is a reason to.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.schema_graph import Relationship

WEIGHT_COLUMNS = ("role", "probability", "unit", "design", "sample_size", "weight")
"""What stands beside the columns of a table with weights."""


def check_relationship_columns(item: Relationship, columns: Mapping[str, Iterable[str]]) -> None:
    """Checks that the columns of a relationship exist.

    Args:
        item: The relationship.
        columns: The columns of each table.

    Raises:
        ConfigurationError: One does not.
    """
    for table, names in ((item.child, item.columns), (item.parent, item.referenced_columns)):
        there = list(columns[table])
        for name in names:
            if name not in there:
                raise ConfigurationError(
                    f"The relationship {item} names the column `{name}`, which `{table}` does not "
                    f"have. Its columns are {listed(there)}. Correct the ForeignKey."
                )


def check_relationship_types(
    item: Relationship, columns: tuple[str, str], kinds: tuple[str, str]
) -> None:
    """Checks that two columns of a relationship can be compared.

    Args:
        item: The relationship.
        columns: A column of the child and one of the parent.
        kinds: Their kinds.

    Raises:
        ConfigurationError: They cannot.
    """
    if kinds[0] != kinds[1]:
        raise ConfigurationError(
            f"The relationship {item} cannot be followed: `{item.child}.{columns[0]}` is of type "
            f"{kinds[0]}, but `{item.parent}.{columns[1]}` is of type {kinds[1]}. Declare `types` "
            "such that both raw tables have the same, or correct the ForeignKey."
        )


def check_pin(table: str, pin: Mapping[str, Any], key: tuple[str, ...]) -> None:
    """Checks that a pin names the columns of the primary key.

    Raises:
        ConfigurationError: It does not.
    """
    if set(pin) != set(key):
        raise ConfigurationError(
            f"{_pin(table, pin)}: a pin names the columns of the primary key, which are "
            f"{listed(key)}. Correct it."
        )


def unknown_pin(table: str, pin: Mapping[str, Any]) -> ConfigurationError:
    """Gives the error of a pin that no row has."""
    return ConfigurationError(
        f"{_pin(table, pin)}: the source has no row with this key. Correct it, or leave the pin "
        "out."
    )


def pin_of_other_type(
    table: str, pin: Mapping[str, Any], reason: str, types: Mapping[str, str]
) -> ConfigurationError:
    """Gives the error of a pin whose values are not of the columns' types."""
    known = ", ".join(f"`{name}` {types[name]}" for name in pin)
    return ConfigurationError(
        f"{_pin(table, pin)}: {reason}. Give values of the columns' types: {known}."
    )


def check_covered(table: str, names: Iterable[str], columns: Iterable[str]) -> None:
    """Checks that the columns to be covered exist.

    Raises:
        ConfigurationError: One does not.
    """
    there = list(columns)
    for name in names:
        if name not in there:
            raise ConfigurationError(
                f"sample.cover.columns: table `{table}` has no column `{name}`. Its columns are "
                f"{listed(there)}."
            )


def wrong_predicate(
    table: str, name: str, text: str, reason: str, columns: Iterable[str]
) -> ConfigurationError:
    """Gives the error of a predicate that PostgreSQL does not understand."""
    return ConfigurationError(
        f"sample.cover.predicates: PostgreSQL does not understand the predicate `{name}` of "
        f"`{table}`, {text!r}: {reason}\n"
        f"Write an SQL condition on its columns, which are {listed(columns)}."
    )


def failing_predicate(table: str, name: str, text: str, reason: str) -> ConfigurationError:
    """Gives the error of a predicate that cannot be computed for a row."""
    return ConfigurationError(
        f"sample.cover.predicates: the predicate `{name}` of `{table}`, {text!r}, fails on a row "
        f"of the source: {reason}\n"
        "Write it such that it holds for such rows or not, with CASE for example."
    )


def check_weight_columns(table: object, columns: Iterable[str]) -> None:
    """Checks that a table has no columns called like those of its weights.

    Raises:
        ConfigurationError: It has.
    """
    there = list(columns)
    if taken := [name for name in WEIGHT_COLUMNS if name in there]:
        raise ConfigurationError(
            f"Table `{table}` cannot have weights beside its columns: it has a column `{taken[0]}` "
            "of its own. Rename it in the raw table, or leave out `weights=True`."
        )


def listed(names: Iterable[str]) -> str:
    """Lists names, for messages."""
    return ", ".join(f"`{name}`" for name in names)


def _pin(table: str, pin: Mapping[str, Any]) -> str:
    key = ", ".join(f"{name}: {value}" for name, value in pin.items())
    return f"sample.pins, {table} {{{key}}}"
