"""The rules of sampling that are no SQL: numbers that decide, and what follows from counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.key_hash import hash_threshold
from data_pipeline.sampling.plan.schema_graph import Relationship

_DESIGN_EFFECT = 20.0
_TIMES_MEAN = 4.0
_SMALLEST = 16


def design_effect(parents: Mapping[int, int], limit: int | None = None) -> float:
    """Return the design effect of sampling children with their parents, for their number.

    It is the variance of the estimated number of children, over that of sampling as many children
    one by one: sum(m^2) / sum(m) over clusters of m children (Kish 1965, Survey Sampling, section
    5.4, for clusters of unequal size). Children of hubs are clusters of one.

    Args:
        parents: The number of parents by their number of children.
        limit: Parents with more children are hubs; None: there are none.
    """
    total = sum(children * count for children, count in parents.items())
    if not total:
        return 1.0
    within = {n: count for n, count in parents.items() if limit is None or n <= limit}
    thinned = total - sum(n * count for n, count in within.items())
    return (sum(n * n * count for n, count in within.items()) + thinned) / total


def hub_limit(parents: Mapping[int, int]) -> int | None:
    """Return the number of children above which a parent is a hub; None where none is.

    The largest power of two with a design effect of at most 20, or of 4 times the mean number of
    children where that is more: then clusters are large, but no few of them dominate. It depends on
    the distribution alone, so all samples of a source have the same hubs; and since it is a power
    of two, rows more or less rarely change it.

    Args:
        parents: The number of parents by their number of children.
    """
    with_children = {n: count for n, count in parents.items() if n > 0}
    if not with_children:
        return None
    mean = sum(n * count for n, count in with_children.items()) / sum(with_children.values())
    aim = max(_DESIGN_EFFECT, _TIMES_MEAN * mean)
    most = max(with_children)
    limit = _SMALLEST
    while limit < most and design_effect(with_children, 2 * limit) <= aim:
        limit *= 2
    return None if limit >= most else limit


FOR_CERTAIN = -(2**63)
"""The sampling number of rows that every sample has."""

OTHER_SALT = 0x5DEECE66D
"""Makes hashes that have nothing to do with those that sample."""

CORE_CANDIDATES = 1000
"""Among so many rows, the first by their hash, one is looked for of which all references hold."""

FIRST_ROWS = 1000
"""Of a table with fewer chosen rows, twice as many are looked at that a sample would have first."""

_ALWAYS_BROUGHT = 100
_SHARE_BROUGHT = 1_000


class Role(IntEnum):
    """Why a row is in a sample; of several reasons, the first one counts."""

    CERTAIN = 1
    SAMPLED = 2
    PINNED = 3
    WITNESS = 4
    REFERENCE = 5

    @property
    def word(self) -> str:
        """The role as readers see it."""
        return self.name.lower()


@dataclass(frozen=True)
class Cut:
    """Which rows of a root, and of its children, are sampled: those with a low sampling number.

    Attributes:
        below: Sampled rows have a lower sampling number; None: all rows.
        probability: The inclusion probability of a root row, and of what is chosen with it.
        share: The inclusion probability of rows that are chosen by a hash of their own.
        drawn: How many root rows were drawn, as a simple random sample; None: each was drawn for
            itself.
    """

    below: int | None
    probability: float
    share: float
    drawn: int | None = None

    @classmethod
    def of_rate(cls, rate: float) -> "Cut":
        """Return the cut of a sampling rate."""
        return cls(hash_threshold(rate), rate, rate)

    @classmethod
    def of_rows(cls, wanted: int, total: int, last: int) -> "Cut":
        """Return the cut of a number of rows.

        Args:
            wanted: So many rows are to be sampled.
            total: So many rows there are.
            last: The sampling number of the last of those that are wanted.
        """
        # Numbers have steps of 2^32; the threshold is just above the last one.
        below = last + 1
        return cls(below, wanted / total, (below + 2**63) / 2**64, wanted)

    def salt_of_others(self, salt: int) -> int:
        """Return the salt of the numbers of units that are no root rows.

        A row whose key hashes like that of a root is drawn with it, and is of the same unit. But
        units of a simple random sample have another probability, so the others must differ.
        """
        return salt if self.drawn is None else salt ^ OTHER_SALT

    def salt_of_certain(self, salt: int) -> int:
        """Return the salt of the numbers of hubs, which come for certain, as units.

        Where each unit is drawn for itself, a row that is drawn by its own key is of the unit of
        the root with this key. A hub has another probability, so it must be no such unit.
        """
        return salt if self.drawn is not None else salt ^ OTHER_SALT


def rows_besides_hubs(table: str, wanted: int, hubs: int) -> int:
    """Return the number of rows of a root to be sampled besides its hubs, which come for certain.

    Raises:
        ConfigurationError: There would be none.
    """
    if wanted - hubs < 1:
        raise ConfigurationError(
            f"sample.roots: {wanted} rows of `{table}` are too few: {hubs} of its rows are hubs, "
            "which come for certain. Ask for more rows, or set sample.hubs to a larger number of "
            "children, or to off."
        )
    return wanted - hubs


def check_key_of_root(table: str, key: Sequence[str], rows: int) -> None:
    """Check that the rows of a root can be told apart, so that a number of them can be drawn.

    Raises:
        ConfigurationError: It has no primary key: equal rows come all or none.
    """
    if not key:
        raise ConfigurationError(
            f"sample.roots: {rows} rows of `{table}` cannot be drawn: its raw table has no primary "
            "key, so rows that are equal come all together or not at all. Declare one, "
            "`@dg.asset(metadata=table_properties(primary_key=...))`, or give a rate instead."
        )


def limit_of_hubs(setting: int | str, parents: Mapping[int, int]) -> int | None:
    """Return the number of children above which a parent is a hub, if any is.

    Args:
        setting: `hubs` of the specification.
        parents: The number of parents by their number of children.
    """
    if setting == "off":
        return None
    if isinstance(setting, int):
        return setting if max(parents, default=0) > setting else None
    return hub_limit(parents)


def predicted_design_effect(setting: int | str, parents: Mapping[int, int]) -> float:
    """Return the design effect of sampling children with their root; see `hub_limit.design_effect`.

    Args:
        setting: `hubs` of the specification.
        parents: The number of parents by their number of children.
    """
    with_children = {n: count for n, count in parents.items() if n > 0}
    return design_effect(with_children, limit_of_hubs(setting, with_children))


def brings_children(children: int, parents: Mapping[int, int], limit: int | None) -> bool:
    """Tell whether a witness of a fan-out comes with its children: not if they are too many.

    Args:
        children: The number of its children.
        parents: The number of parents by their number of children.
        limit: The number of children above which a parent is a hub.
    """
    if limit is not None and children > limit:
        return False
    total = sum(n * count for n, count in parents.items())
    return 0 < children <= max(_ALWAYS_BROUGHT, total // _SHARE_BROUGHT)


def fan_out_reason(children: int, relationship: object) -> str:
    """Say of what a parent with a number of children, and these, are witnesses."""
    words = {0: "no child", 1: "one child"}.get(children, "the most children")
    return f"{words}: {relationship}"


WEIGHT_COLUMNS = ("role", "probability", "unit", "design", "sample_size", "weight")
"""What stands beside the columns of a table with weights."""


def check_relationship_columns(item: Relationship, columns: Mapping[str, Iterable[str]]) -> None:
    """Check that the columns of a relationship exist.

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
    """Check that two columns of a relationship can be compared.

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
    """Check that a pin names the columns of the primary key.

    Raises:
        ConfigurationError: It does not.
    """
    if set(pin) != set(key):
        raise ConfigurationError(
            f"{_pin(table, pin)}: a pin names the columns of the primary key, which are "
            f"{listed(key)}. Correct it."
        )


def unknown_pin(table: str, pin: Mapping[str, Any]) -> ConfigurationError:
    """Return the error of a pin that no row has."""
    return ConfigurationError(
        f"{_pin(table, pin)}: the source has no row with this key. Correct it, or leave the pin "
        "out."
    )


def pin_of_other_type(
    table: str, pin: Mapping[str, Any], reason: str, types: Mapping[str, str]
) -> ConfigurationError:
    """Return the error of a pin whose values are not of the columns' types."""
    known = ", ".join(f"`{name}` {types[name]}" for name in pin)
    return ConfigurationError(
        f"{_pin(table, pin)}: {reason}. Give values of the columns' types: {known}."
    )


def check_covered(table: str, names: Iterable[str], columns: Iterable[str]) -> None:
    """Check that the columns to be covered exist.

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
    """Return the error of a predicate that PostgreSQL does not understand."""
    return ConfigurationError(
        f"sample.cover.predicates: PostgreSQL does not understand the predicate `{name}` of "
        f"`{table}`, {text!r}: {reason}\n"
        f"Write an SQL condition on its columns, which are {listed(columns)}."
    )


def failing_predicate(table: str, name: str, text: str, reason: str) -> ConfigurationError:
    """Return the error of a predicate that cannot be computed for a row."""
    return ConfigurationError(
        f"sample.cover.predicates: the predicate `{name}` of `{table}`, {text!r}, fails on a row "
        f"of the source: {reason}\n"
        "Write it such that it holds for such rows or not, with CASE for example."
    )


def check_weight_columns(table: object, columns: Iterable[str]) -> None:
    """Check that a table has no columns called like those of its weights.

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
    """List names, for messages."""
    return ", ".join(f"`{name}`" for name in names)


def _pin(table: str, pin: Mapping[str, Any]) -> str:
    key = ", ".join(f"{name}: {value}" for name, value in pin.items())
    return f"sample.pins, {table} {{{key}}}"
