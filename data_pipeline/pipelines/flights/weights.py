"""What a flight counts: the weights of the sample, and what holds where no flight has any."""

import polars as pl

SAMPLING = ("probability", "unit", "weight")
"""What the sample says of a flight, carried along from the inputs to the evaluation: the
probability with which its unit was drawn, the number of the unit, and how many flights of the full
data it stands for (0: none, it is there for another reason)."""


def learning_weights(weight: pl.Series) -> pl.Series:
    """Gives what each flight counts in learning.

    In a minimal sample, or in the first rows of a table, no flight stands for others. Then each
    counts once, so that the code runs; what is learnt says nothing of the full data, and the
    evaluation leaves the figures out.

    Args:
        weight: The column `weight`.
    """
    if weight.is_empty() or (weight > 0).any():
        return weight.cast(pl.Float64)
    return pl.repeat(1.0, len(weight), dtype=pl.Float64, eager=True).alias(weight.name)
