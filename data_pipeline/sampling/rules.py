"""The rules of sampling that are no SQL: numbers that decide, and what follows from counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.hub_limit import design_effect, hub_limit
from data_pipeline.sampling.key_hash import hash_threshold

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
        """Gives the cut of a sampling rate."""
        return cls(hash_threshold(rate), rate, rate)

    @classmethod
    def of_rows(cls, wanted: int, total: int, last: int) -> "Cut":
        """Gives the cut of a number of rows.

        Args:
            wanted: So many rows are to be sampled.
            total: So many rows there are.
            last: The sampling number of the last of those that are wanted.
        """
        # Numbers have steps of 2^32; the threshold is just above the last one.
        below = last + 1
        return cls(below, wanted / total, (below + 2**63) / 2**64, wanted)

    def salt_of_others(self, salt: int) -> int:
        """Gives the salt of the numbers of units that are no root rows.

        A row whose key hashes like that of a root is drawn with it, and is of the same unit. But
        units of a simple random sample have another probability, so the others must differ.
        """
        return salt if self.drawn is None else salt ^ OTHER_SALT

    def salt_of_certain(self, salt: int) -> int:
        """Gives the salt of the numbers of hubs, which come for certain, as units.

        Where each unit is drawn for itself, a row that is drawn by its own key is of the unit of
        the root with this key. A hub has another probability, so it must be no such unit.
        """
        return salt if self.drawn is not None else salt ^ OTHER_SALT


def rows_besides_hubs(table: str, wanted: int, hubs: int) -> int:
    """Gives the number of rows of a root to be sampled besides its hubs, which come for certain.

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
    """Checks that the rows of a root can be told apart, so that a number of them can be drawn.

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
    """Gives the number of children above which a parent is a hub, if any is.

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
    """Gives the design effect of sampling children with their root; see `hub_limit.design_effect`.

    Args:
        setting: `hubs` of the specification.
        parents: The number of parents by their number of children.
    """
    with_children = {n: count for n, count in parents.items() if n > 0}
    return design_effect(with_children, limit_of_hubs(setting, with_children))


def brings_children(children: int, parents: Mapping[int, int], limit: int | None) -> bool:
    """Tells whether a witness of a fan-out comes with its children: not if they are too many.

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
    """Says of what a parent with a number of children, and these, are witnesses."""
    words = {0: "no child", 1: "one child"}.get(children, "the most children")
    return f"{words}: {relationship}"
