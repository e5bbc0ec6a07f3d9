"""The rules of sampling that are no SQL: thresholds, hubs and design effects."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from data_pipeline.sampling.key_hash import hash_threshold

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


OTHER_SALT = 0x5DEECE66D
"""Makes hashes that have nothing to do with those that sample."""


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
class SampleThreshold:
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
    def of_rate(cls, rate: float) -> "SampleThreshold":
        """Return the threshold of a sampling rate."""
        return cls(hash_threshold(rate), rate, rate)

    @classmethod
    def of_rows(cls, wanted: int, total: int, last: int) -> "SampleThreshold":
        """Return the threshold of a number of rows.

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
    """Return the design effect of sampling children with their root; see `design_effect`.

    Args:
        setting: `hubs` of the specification.
        parents: The number of parents by their number of children.
    """
    with_children = {n: count for n, count in parents.items() if n > 0}
    return design_effect(with_children, limit_of_hubs(setting, with_children))


def listed(names: Iterable[str]) -> str:
    """List names, for messages."""
    return ", ".join(f"`{name}`" for name in names)
