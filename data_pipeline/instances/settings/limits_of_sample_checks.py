"""How far the figures of a sample's report may go (`checks` of a `sample`)."""

from collections.abc import Mapping
from math import inf
from typing import Annotated

from pydantic import BeforeValidator, Field

from data_pipeline.instances.settings.strict import Settings, not_boolean


class Threshold(Settings):
    """How far a figure of the report may go; None: however far.

    Attributes:
        warn: Beyond this, the check warns.
        error: Beyond this, the check fails.
    """

    warn: Annotated[float, Field(ge=0), BeforeValidator(not_boolean)] | None = None
    error: Annotated[float, Field(ge=0), BeforeValidator(not_boolean)] | None = None

    @property
    def least(self) -> float:
        """Beyond this, something is said."""
        return min(limit for limit in (self.warn, self.error, inf) if limit is not None)


def _threshold(value: object) -> object:
    """Take the word `off` (which YAML reads as false), and a number for what is an error."""
    if value is False or value == "off":
        return Threshold()
    if isinstance(value, (int, float)) and value is not True:
        return Threshold(error=value)
    if isinstance(value, (Mapping, Threshold)):
        return value
    raise ValueError("write off, a number that is an error to exceed, or {warn: ..., error: ...}")


_Limit = Annotated[Threshold, BeforeValidator(_threshold)]


class CheckSettings(Settings):
    """How far the figures of a sample's report may go.

    Attributes:
        reference_violations: References that hold in the source and dangle in the sample.
        uncovered: The share of a column's or relationship's obligations that have no witness.
        ks: The weighted Kolmogorov-Smirnov distance, times the root of the effective sample size;
            for one column. It is widened for the number of columns that are looked at.
        total_variation: The same for the total variation distance of categories, beyond that which
            is to be expected.
        estimates: The deviation of weighted counts, sums and means, in standard errors.
        join_retention: How far the share of a join's rows that are kept is from what is expected,
            beyond four standard errors.
        design_effect: How many times the variance is that of as many independent rows; the log
            warns of a predicted one too, before any row is copied.
        uncertain_means: Means, of all rows and of groups, whose intervals rest on few units.
    """

    reference_violations: _Limit = Threshold(error=0)
    uncovered: _Limit = Threshold(error=0)
    ks: _Limit = Threshold(warn=1.36, error=1.95)
    total_variation: _Limit = Threshold(warn=1.36, error=1.95)
    estimates: _Limit = Threshold(warn=4, error=6)
    join_retention: _Limit = Threshold(warn=0.05)
    design_effect: _Limit = Threshold(warn=25)
    uncertain_means: _Limit = Threshold(warn=0)
