"""Quantiles of Student's t distribution, for intervals from few units."""

import math
from statistics import NormalDist


def t_quantile(level: float, degrees_of_freedom: float) -> float:
    """Gives the number t for which |T| <= t holds with a probability of `level`.

    Hill, G. W. (1970), Algorithm 396: Student's t-quantiles, Communications of the ACM 13(10),
    619-620. It is good to four digits and more, also for degrees of freedom that are no whole
    number. Between 1 and 2, where it is not, the exact ends are interpolated (at most 4 % wide).

    Args:
        level: Between 0 and 1, such as 0.95.
        degrees_of_freedom: At least 1; infinity gives the normal distribution.
    """
    n, tail = degrees_of_freedom, 1 - level
    if n > 1e9:
        return NormalDist().inv_cdf(1 - tail / 2)
    if n <= 2:
        one = 1 / math.tan(tail * math.pi / 2)
        two = math.sqrt(2 / (tail * (2 - tail)) - 2)
        return float(two * (one / two) ** (2 / n - 1))
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * tail) ** (2 / n)
    if y > 0.05 + a:
        y = _near_normal(tail, n, (a, b, c, d))
    else:
        y = (
            (1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1
        ) * (n + 1) / (n + 2) + 1 / y
    return math.sqrt(n * y)


def _near_normal(tail: float, n: float, terms: tuple[float, float, float, float]) -> float:
    """Gives t^2 / n by an expansion about the normal quantile."""
    a, b, c, d = terms
    x = NormalDist().inv_cdf(tail / 2)
    y = x * x
    if n < 5:
        c += 0.3 * (n - 4.5) * (x + 0.6)
    c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
    return math.expm1(a * y * y)
