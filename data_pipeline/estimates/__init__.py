"""Totals, means and ratios of the full data from a weighted sample, with confidence intervals.

`total`, `count`, `mean` and `ratio` take the weighted view of a sampled table and compute inside
the database, or take a frame of it; both give the same numbers. `interval` takes any statistic of a
frame, such as a model's ROC AUC. `estimate_query` gives the SELECT for results that stay in the
database. `design` says which columns they need.

Values. Each row counts 1 / probability times (Horvitz and Thompson 1952); a mean or ratio is one
estimated total over another (Hajek 1971; Saerndal et al. 1992, chapter 5).

Standard errors. Rows that came into the sample together are summed up to units first. For a ratio
R of Y over X, a row counts with its residual (y - R x) / X (Taylor linearisation, Saerndal et al.
1992, chapter 5). A group is a domain: rows outside of it count as zero (chapter 10). With a unit's
expanded sum z = (sum over its rows) / probability, the variance is

- for `poisson` (each unit drawn by its own hash): the sum of (1 - p) z^2 (Hajek 1964;
  Saerndal et al. 1992, chapter 3),
- for `srs` (the n smallest hashes, units of equal probability making one draw): the sum of
  (1 - p) n / (n - 1) (z - mean of z)^2, where units without a row count as z = 0 (Cochran 1977,
  chapter 2).

Units of probability 1 are in every sample and add nothing.

Small samples. The estimate of a ratio lies nearer to the units that it is computed from than the
truth does, the more so the larger their share h of X: of a unit's expected squared residual
1 - (1 - p) h is left, in a simple random sample 1 - h. Its part of the variance is divided by that
(Bell and McCaffrey 2002, whose CR2 this is for the mean of a sample of small probability), so that
the standard error of a group of ten uneven units is 5 to 13 %, not 15 to 26 %, too small.

Intervals. value + shift +- t * standard error. The degrees of freedom of t are
(sum of c)^2 / (sum of c^2) - 1 for the units' contributions c to the variance (Satterthwaite 1946,
each unit with one degree of freedom, less the one of the estimate; at least 1): the number of units
less one when all contribute alike, and fewer where a few units dominate. That is what keeps the
coverage near its level for skewed values, uneven clusters and small groups; the normal distribution
and t with units - 1 are too narrow there (85 to 93 % instead of 95 % for 20 to 100 units of a
lognormal value). The shift is g (2 z^2 + 1) / 6 standard errors, for the skewness g = (sum of the
cubes of deviations) / variance^1.5 and the normal quantile z, at most to where an end meets the
value: a sample without the largest values is low and has a small standard error, too (Johnson 1978,
Hall 1992). Below some 20 units that contribute, intervals of skewed values and of rare shares still
miss the truth more often (10 % for 10 to 20 units of a lognormal value), and where all units are
alike they have no length: the column `units` says where that may be.

In psql, the mean of a value by group in a Poisson sample, with the same standard error:

```sql
WITH units AS (
    SELECT carrier, unit, min(probability) AS p, sum(delay) AS y, count(delay) AS x
    FROM flights_weighted
    WHERE probability IS NOT NULL
    GROUP BY carrier, unit
), totals AS (
    SELECT *, sum(x / p) OVER groups AS total_x, sum(y / p) OVER groups AS total_y
    FROM units WINDOW groups AS (PARTITION BY carrier)
)
SELECT
    carrier,
    min(total_y / total_x) AS mean,
    sqrt(sum(
        (1 - p) * ((coalesce(y, 0) - total_y / total_x * x) / p / total_x) ^ 2
        / (1 - (1 - p) * x / p / total_x)
    )) AS standard_error
FROM totals
GROUP BY carrier
ORDER BY carrier
```

Sources:

- Bell, R. M. and McCaffrey, D. F. (2002), Bias reduction in standard errors for linear regression
  with multi-stage samples, Survey Methodology 28(2), 169-181.
- Cochran, W. G. (1977), Sampling Techniques, 3rd edition, Wiley.
- Hajek, J. (1964), Asymptotic theory of rejective sampling with varying probabilities from a finite
  population, Annals of Mathematical Statistics 35(4), 1491-1523.
- Hajek, J. (1971), comment in: Foundations of Statistical Inference, Holt, Rinehart and
  Winston, 236.
- Hall, P. (1992), The Bootstrap and Edgeworth Expansion, Springer, section 3.5.
- Horvitz, D. G. and Thompson, D. J. (1952), A generalization of sampling without replacement from a
  finite universe, Journal of the American Statistical Association 47(260), 663-685.
- Johnson, N. J. (1978), Modified t tests and confidence intervals for asymmetrical populations,
  Journal of the American Statistical Association 73(363), 536-544.
- Saerndal, C.-E., Swensson, B. and Wretman, J. (1992), Model Assisted Survey Sampling, Springer.
- Satterthwaite, F. E. (1946), An approximate distribution of estimates of variance components,
  Biometrics Bulletin 2(6), 110-114.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_pipeline.estimates.intervals import Estimate
    from data_pipeline.estimates.jackknife import interval
    from data_pipeline.estimates.sql import estimate_query
    from data_pipeline.estimates.totals_means_ratios import count, mean, ratio, total

__all__ = ["Estimate", "count", "estimate_query", "interval", "mean", "ratio", "total"]
_ELSEWHERE = {"Estimate": "intervals", "estimate_query": "sql", "interval": "jackknife"}


def __getattr__(name: str) -> Any:
    # Whoever needs a formula alone does not load pandas.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _ELSEWHERE.get(name, "totals_means_ratios")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
