"""The sentence that a comparison begins with."""

from data_pipeline.difference.rendering.terminal import verdict
from data_pipeline.difference.result import Difference, SampleComparison, TableDifference


def test_that_rows_are_equal_is_not_said_of_a_sample() -> None:
    same = Difference("a", "b", (TableDifference("clean/orders", "equal"),))
    assert verdict(same) == "a -> b: no table changed"
    compared = TableDifference("clean/orders", "equal", sample=SampleComparison(9, (), ""))
    drawn = Difference("full", "midi", (compared,))
    assert verdict(drawn) == "full -> midi: no figure differs by more than chance"
    alone = Difference("full", "mini", (TableDifference("clean/orders", "sample only"),))
    assert verdict(alone) == "full -> mini: nothing could be compared"
