"""Which rows become witnesses: few that satisfy much, and the same ones in larger samples."""

from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.sampling.engine.coverage_search import Obligation, ObligationKind, witnesses

NULL = Obligation(ObligationKind.NULL, 0, "a")
LEAST = Obligation(ObligationKind.LEAST, 1, "b", "1")
RED = Obligation(ObligationKind.CATEGORY, 2, "c", "red")


def test_a_row_that_was_chosen_before_serves_again() -> None:
    first = {NULL: "x", LEAST: "y", RED: "z"}
    satisfied = {NULL: {"x", "y"}, LEAST: {"y"}, RED: {"z", "y"}}
    assert witnesses(first, satisfied) == {"y": LEAST}


def test_rare_kinds_are_served_first() -> None:
    assert list(witnesses({RED: 1, NULL: 2, LEAST: 3}, {})) == [3, 2, 1]


SATISFIED = st.lists(st.sets(st.integers(0, 15), min_size=1), min_size=1, max_size=8)


@given(SATISFIED, st.integers(0, 15), st.integers(0, 15))
def test_larger_samples_contain_the_witnesses_of_smaller_ones(
    rows: list[set[int]], one: int, other: int
) -> None:
    """Rows are numbered by when a sample has them: that of size n has the rows below n."""
    low, high = sorted([one, other])
    samples = []
    for size in (low, high):
        open_ones = {
            Obligation(ObligationKind.CATEGORY, 0, "c", str(number)): found
            for number, found in enumerate(rows)
            if min(found) >= size
        }
        first = {item: min(found) for item, found in open_ones.items()}
        chosen = witnesses(first, open_ones)
        assert all(found & chosen.keys() for found in open_ones.values())
        samples.append(set(range(size)) | chosen.keys())
    assert samples[0] <= samples[1]
