"""The sampling design as estimates see it: which columns tell it, and what can be wrong with them.

A weighted relation or frame has beside its data:

| column        | content                                                                        |
|---------------|--------------------------------------------------------------------------------|
| `probability` | inclusion probability of the row's unit; NULL: the row is no part of the       |
|               | random sample (references, witnesses, pins) and does not count                 |
| `unit`        | number of the primary sampling unit                                            |
| `design`      | optional: `poisson` (each unit by its own hash) or `srs` (the smallest hashes) |
| `sample_size` | optional, for `srs`: how many units were drawn with this unit's probability,   |
|               | counting those without a row here                                              |
"""

from typing import Literal, NamedTuple

from data_pipeline.errors import ConfigurationError, UnsupportedDataError

Design = Literal["poisson", "srs"]
"""How units were drawn: independently of each other, or a fixed number of them."""

PROBABILITY, UNIT, DESIGN, SAMPLE_SIZE = "probability", "unit", "design", "sample_size"

PROBLEMS = {
    "unit": "a row with a probability has no `unit`. Give each row that counts its unit",
    "range": "a `probability` is not in (0, 1]. Set it to NULL where a row must not count",
    "varies": "a `unit` has rows of different probability, design or sample size. Give each part "
    "of it that was drawn by itself a number of its own",
    "design": "a `design` is neither 'poisson' nor 'srs'. Correct the column, or pass `design`",
    "size": "a `sample_size` is below the number of units that were drawn with this probability. "
    "Count the units of the sample before any filter",
}
"""What the column `problem` of a computation stands for: its key, then what is wrong."""


class DesignChoice(NamedTuple):
    """What the caller says about the design; None: the column of that name, if there is one.

    Attributes:
        design: The design of all units. Without a column it is `poisson`.
        sample_size: Units drawn in all. Without a column it is the number of those found.
    """

    design: Design | None = None
    sample_size: int | None = None

    def check(self) -> None:
        """Raises a ConfigurationError unless the choice makes sense."""
        if self.design not in (None, "poisson", "srs"):
            raise ConfigurationError(
                f"There is no sampling design {self.design!r}. Choose 'poisson' or 'srs'."
            )
        if self.sample_size is not None and self.sample_size < 1:
            raise ConfigurationError(
                f"A sample of {self.sample_size} units is impossible. Give a `sample_size` of at "
                "least 1, or leave it out."
            )


def check_columns(where: str, present: list[str], by: list[str]) -> None:
    """Raises a ConfigurationError unless the columns of the design and the groups are there."""
    missing = [name for name in (PROBABILITY, UNIT, *by) if name not in present]
    if missing:
        raise ConfigurationError(
            f"{where} has no column {', '.join(map(repr, missing))}. Estimates need the weighted "
            f"view of a sampled table; this has the columns {', '.join(map(repr, present))}."
        )


def check_problem(where: str, problem: object) -> None:
    """Raises an UnsupportedDataError when a computation found that the weights make no sense."""
    if isinstance(problem, str):
        raise UnsupportedDataError(f"No estimate from {where}: {PROBLEMS[problem]}.")
