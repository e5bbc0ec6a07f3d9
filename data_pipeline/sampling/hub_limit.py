"""From how many children on a root is a hub."""

from collections.abc import Mapping

_DESIGN_EFFECT = 20.0
_TIMES_MEAN = 4.0
_SMALLEST = 16


def design_effect(parents: Mapping[int, int], limit: int | None = None) -> float:
    """Gives the design effect of sampling children with their parents, for their number.

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
    """Gives the number of children above which a parent is a hub; None where none is.

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
