"""Which rows are taken as witnesses, of those that come first for each obligation."""

from collections.abc import Hashable, Iterable, Mapping, Set
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

_Row = TypeVar("_Row", bound=Hashable)


class Kind(IntEnum):
    """What a witness shows; rare kinds first, in the order in which witnesses are chosen."""

    PREDICATE = 1
    LEAST = 2
    GREATEST = 3
    NULL = 4
    NOT_NULL = 5
    CATEGORY = 6


@dataclass(frozen=True, order=True)
class Obligation:
    """Something that a row of the sample must show.

    Attributes:
        kind: What it shows.
        number: The place of the column, or of the predicate, among those to be covered.
        name: The name of the column or predicate.
        value: The value as text, where the kind has one.
    """

    kind: Kind
    number: int
    name: str
    value: str = ""

    def __str__(self) -> str:
        words = self.kind.name.lower().replace("_", " ")
        shown = f" {self.value!r}" if self.kind in _WITH_VALUE else ""
        return f"{words}: {self.name}{shown}"


_WITH_VALUE = (Kind.LEAST, Kind.GREATEST, Kind.CATEGORY)


def witnesses(
    first: Mapping[Obligation, _Row], satisfied: Mapping[Obligation, Set[_Row]]
) -> dict[_Row, Obligation]:
    """Chooses rows such that each obligation has one that satisfies it.

    Obligations are gone through in their order, which does not depend on the sample. Each takes the
    row that comes first for it, unless a row chosen before satisfies it. The first row is the one
    that a larger sample has first, too: once the obligation is met there without a witness, it is
    met by this very row. So larger samples of the same salt contain the witnesses of smaller ones.

    Args:
        first: The first row of all that satisfy an obligation.
        satisfied: Those of these rows that satisfy it.

    Returns:
        The chosen rows, each with the obligation that it was chosen for.
    """
    chosen: dict[_Row, Obligation] = {}
    for obligation in sorted(first):
        if not _any_of(satisfied.get(obligation, set()), chosen):
            chosen[first[obligation]] = obligation
    return chosen


def _any_of(rows: Iterable[_Row], chosen: Mapping[_Row, Obligation]) -> bool:
    return any(row in chosen for row in rows)
