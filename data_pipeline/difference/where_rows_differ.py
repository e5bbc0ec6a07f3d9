"""Where the rows are that differ: values of one or two columns that most of them share.

The rows that differ, and a random part of all rows, are looked at by the values of columns: words
by themselves, numbers and times in ten parts of equal size. A slice is reported when its share of
the rows that differ is larger than chance allows. With k rows that differ, of which a share q is in
a slice that has a share p of all rows, the probability of that is at most exp(-k KL(q, p)) where
rows differ at random (Hoeffding 1963, Journal of the American Statistical Association 58(301),
theorem 1); it is multiplied by the number of slices that were looked at (Bonferroni).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import literal, quoted
from data_pipeline.difference.columns import ComparedColumn
from data_pipeline.difference.result import Slice
from data_pipeline.difference.rows import RowComparison

LEVEL = 0.05
"""The probability that a slice is reported although rows differ at random."""

MOST_SLICES = 3
LOOKED_AT = 10_000
"""So many rows about are looked at, of those that differ and of all."""

_LEAST_ROWS = 10
_LEAST_SHARE = 0.05
_LEAST_TIMES = 1.1
_MOST_COLUMNS = 12
_MOST_TRIED = 200
_LONGEST = 200  # bytes of a word
_MOST_VALUES = 200
_PARTS = 10
_CANDIDATES = 4

Codes = npt.NDArray[np.int64]


@dataclass
class _Values:
    """A column by whose values rows are sliced.

    Attributes:
        column: The column.
        cuts: For numbers and times, the SQL of the values at which their parts begin.
        codes: The number of each value.
    """

    column: ComparedColumn
    cuts: list[str] = field(default_factory=list)
    codes: dict[str | None, int] = field(default_factory=dict)

    def sql(self, alias: str) -> str:
        """Return the SQL of the value or part of a row, as text."""
        own = f"{alias}.{quoted(self.column.name)}"
        if not self.cuts:
            return f"({own})::text"
        return f"width_bucket({own}, ARRAY[{', '.join(self.cuts)}])::text"

    def number(self, text: str | None) -> int:
        """Return the number of a value."""
        return self.codes.setdefault(text, len(self.codes))

    def condition(self, code: int, alias: str = "") -> str:
        """Return the SQL of having a value."""
        text = next(value for value, number in self.codes.items() if number == code)
        name = quoted(self.column.name) if alias else _shown(self.column.name)
        own = f"{alias}.{name}" if alias else name
        if text is None:
            return f"{own} IS NULL"
        if not self.cuts:
            if self.column.is_boolean and not alias:
                return own if text == "true" else f"NOT {own}"
            value = literal(text)
            if not alias and self.column.is_number and text[-1].isdigit():
                value = text
            if alias and (self.column.is_boolean or self.column.base.startswith("int")):
                return f"{own} = {literal(text)}"  # no text of each row is made
            return f"({own})::text = {literal(text)}" if alias else f"{own} = {value}"
        number = int(text)
        low = f"{own} >= {self._cut(number - 1, alias)}" if number else ""
        high = f"{own} < {self._cut(number, alias)}" if number < len(self.cuts) else ""
        return " AND ".join(filter(None, (low, high)))

    def _cut(self, number: int, alias: str) -> str:
        return self.cuts[number] if alias else self.cuts[number].rpartition("::")[0]


@dataclass(frozen=True)
class _Candidate:
    """Values of one or two columns, with what is known of their rows."""

    values: tuple[tuple[int, int], ...]
    score: float
    inside: npt.NDArray[np.bool_]


@dataclass
class SliceSearch:
    """The search for slices of the rows of one version.

    Attributes:
        connection: A transaction.
        comparison: How rows are paired.
        total: The number of rows of the version.
        is_added: Whether added rows are looked for, among the rows after; else those that are
            changed or gone, among the rows before.
        touched: How many rows differ.
    """

    connection: sa.Connection
    comparison: RowComparison
    total: int
    is_added: bool = False
    touched: int = 0

    def __post_init__(self) -> None:
        self._seen = 0
        self._columns = self._chosen()

    @property
    def facts(self) -> list[str]:
        """The SQL of what is to be known of a row."""
        return [item.sql(self._alias) for item in self._columns]

    @property
    def _alias(self) -> str:
        return "b" if self.is_added else "a"

    @property
    def _relation(self) -> str:
        comparison = self.comparison
        return (comparison.after if self.is_added else comparison.before).quoted

    def added_rows(self) -> Sequence[Sequence[str | None]]:
        """Return the facts of some of the rows that were added."""
        if not self._columns:
            return []
        comparison = self.comparison
        query = (
            f"SELECT {', '.join(self.facts)} FROM {comparison.joined('RIGHT')} "
            f"WHERE {comparison.is_added} AND random() < {min(1.0, LOOKED_AT / self.touched)!r}"
        )
        return run(self.connection, query).all()

    def _rows(self) -> str:
        """Return the SQL of a random part of all rows: what follows FROM."""
        if self.total <= LOOKED_AT:
            return f"{self._relation} AS {self._alias}"
        share = LOOKED_AT / self.total
        if self.comparison.has_views:
            sampled = f"SELECT * FROM {self._relation} WHERE random() < {share!r}"
            return f"({sampled}) AS {self._alias}"
        percent = f"{100 * share:.6f}"
        return f"{self._relation} AS {self._alias} TABLESAMPLE BERNOULLI ({percent}) REPEATABLE (0)"

    def slices(self, seen: Sequence[Sequence[str | None]]) -> Iterator[Slice]:
        """Return the slices in which the rows that differ are concentrated, the strongest first.

        Each is one of what those before it leave.

        Args:
            seen: The facts of some of the rows that differ.
        """
        columns, total = self._columns, self.total
        if not columns or self.touched < _LEAST_ROWS or self.touched == total:
            return
        self._seen = len(seen)
        touched = _coded(columns, seen)
        query = f"SELECT {', '.join(self.facts)} FROM {self._rows()}"
        everything = _coded(columns, run(self.connection, query))
        searched = 0
        for _ in range(MOST_SLICES):
            if len(touched) < max(_LEAST_ROWS, _LEAST_SHARE * self.touched):
                return
            found, count = _candidates(columns, touched, everything)
            searched = max(searched, count)
            best = self._exact(columns, found, searched, total)
            if best is None:
                return
            candidate, result = best
            yield result
            touched = touched[~candidate.inside]
            everything = everything[~_inside(everything, candidate.values)]

    def _chosen(self) -> list[_Values]:
        """Return the columns by which rows are sliced, the fewest values first."""
        sides = [(p.after if self.is_added else p.before) for p in self.comparison.columns.pairs]
        usable = [c for c in sides if c.is_word or c.is_number or c.is_time][:_MOST_TRIED]
        if not usable:
            return []
        parts = ["count(*)"]
        for column in usable:
            parts += [self._number_of_values(column), self._cuts(column)]
        query = f"SELECT {', '.join(parts)} FROM {self._rows()}"
        some, *found = run(self.connection, query).one()
        chosen = []
        for column, count, cuts in zip(usable, found[::2], found[1::2], strict=True):
            is_scale = column.is_time or column.is_number
            if count is None:
                continue
            if count <= (_PARTS * 2 if is_scale else _MOST_VALUES) and count < max(some / 4, 3):
                chosen.append((count, _Values(column)))
            elif cuts:
                values = [f"{literal(value)}::{_scale(column)}" for value in dict.fromkeys(cuts)]
                chosen.append((_PARTS, _Values(column, values)))
        fewest = sorted(chosen, key=lambda item: item[0])[:_MOST_COLUMNS]
        return [values for _, values in fewest]

    def _number_of_values(self, column: ComparedColumn) -> str:
        """Return the SQL of how many values a column has; NULL where one is too long for a word."""
        own = self._own(column)
        if not column.is_word:
            return f"count(DISTINCT {own})"
        size = f"octet_length(({own})::text)"
        return (
            f"CASE WHEN max({size}) > {_LONGEST} THEN NULL "
            f"ELSE count(DISTINCT {own}) FILTER (WHERE {size} <= {_LONGEST}) END"
        )

    def _own(self, column: ComparedColumn) -> str:
        return f"{self._alias}.{quoted(column.name)}"

    def _cuts(self, column: ComparedColumn) -> str:
        """Return the SQL of the values at which the parts of a scale begin, as texts."""
        if not (column.is_time or column.is_number):
            return "NULL"
        shares = ", ".join(str(n / _PARTS) for n in range(1, _PARTS))
        own, cast = self._own(column), _scale(column)
        finite = f"isfinite({own})" if column.is_time else f"{own}::text <> 'NaN'"
        if column.base.startswith("int"):
            finite = "true"
        return (
            f"(percentile_disc(ARRAY[{shares}]::float8[]) WITHIN GROUP (ORDER BY {own}::{cast}) "
            f"FILTER (WHERE {finite}))::text[]"
        )

    def _exact(
        self,
        columns: Sequence[_Values],
        found: Sequence[_Candidate],
        searched: int,
        total: int,
    ) -> tuple[_Candidate, Slice] | None:
        """Return the strongest candidate by exact numbers of rows, if it is beyond chance."""
        if not found:
            return None
        counts = ", ".join(
            f"count(*) FILTER (WHERE {self._condition(columns, item, self._alias)})"
            for item in found
        )
        query = f"SELECT {counts} FROM {self._relation} AS {self._alias}"
        numbers = map(int, run(self.connection, query).one())
        seen = self.touched / max(1, self._seen)
        what: Literal["changed", "added"] = "added" if self.is_added else "changed"
        best: tuple[float, _Candidate, Slice] | None = None
        for item, rows in zip(found, numbers, strict=True):
            share = float(item.inside.mean())
            part = rows / total
            evidence = len(item.inside) * _divergence(share, part)
            differing = min(rows, round(seen * int(item.inside.sum())))
            of_all = differing / self.touched
            times = of_all / part if part else math.inf
            is_beyond_chance = evidence > math.log(max(searched, 1) / LEVEL)
            if not is_beyond_chance or times < _LEAST_TIMES:
                continue
            shown = self._condition(columns, item, "")
            result = Slice(shown, what, rows, differing, of_all, times)
            if best is None or evidence > best[0] + 1e-9:
                best = evidence, item, result
        return None if best is None else best[1:]

    def _condition(self, columns: Sequence[_Values], item: _Candidate, alias: str) -> str:
        return " AND ".join(columns[place].condition(code, alias) for place, code in item.values)


def _scale(column: ComparedColumn) -> str:
    """Return the type by whose order the values of a number or time are divided into parts."""
    return column.base if column.is_time or column.base == "numeric" else "float8"


def _coded(columns: Sequence[_Values], rows: Any) -> Codes:
    found = [[item.number(text) for item, text in zip(columns, row, strict=True)] for row in rows]
    return np.array(found, dtype=np.int64).reshape(len(found), len(columns))


def _inside(rows: Codes, values: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    inside = np.ones(len(rows), dtype=bool)
    for place, code in values:
        inside &= rows[:, place] == code
    return inside


def _candidates(
    columns: Sequence[_Values], touched: Codes, everything: Codes
) -> tuple[list[_Candidate], int]:
    """Return the most promising slices, and how many were looked at."""
    scored: list[tuple[float, int, tuple[tuple[int, int], ...]]] = []
    searched = 0
    least = max(_LEAST_ROWS, math.ceil(_LEAST_SHARE * len(touched)))
    places = range(len(columns))
    for chosen in [*((place,) for place in places), *combinations(places, 2)]:
        sizes = [len(columns[place].codes) for place in chosen]
        keys = [_key(rows, chosen, sizes) for rows in (touched, everything)]
        space = math.prod(sizes)
        inside, base = (np.bincount(key, minlength=space) for key in keys)
        searched += int(((inside > 0) | (base > 0)).sum())
        for key in np.flatnonzero(inside >= least):
            share = inside[key] / len(touched)
            # A part of all rows is known up to chance: half a row more than was seen.
            part = min(1.0, (base[key] + 0.5) / (len(everything) + 0.5))
            if share <= part * _LEAST_TIMES:
                continue
            codes = [int(key)] if len(chosen) == 1 else [int(key) // sizes[1], int(key) % sizes[1]]
            evidence = len(touched) * _divergence(float(share), float(part))
            scored.append((evidence, -len(chosen), tuple(zip(chosen, codes, strict=True))))
    best = sorted(scored, reverse=True)[:_CANDIDATES]
    return [
        _Candidate(values, score, _inside(touched, values)) for score, _, values in best
    ], searched


def _key(rows: Codes, places: Sequence[int], sizes: Sequence[int]) -> Codes:
    if len(places) == 1:
        return rows[:, places[0]]
    return rows[:, places[0]] * sizes[1] + rows[:, places[1]]


def _divergence(share: float, part: float) -> float:
    """Return the Kullback-Leibler divergence of two shares, 0 where the first is not larger."""
    if share <= part:
        return 0.0
    if part <= 0:
        return math.inf
    rest = (1 - share) * math.log((1 - share) / (1 - part)) if share < 1 else 0.0
    return share * math.log(share / part) + rest


def _shown(name: str) -> str:
    return name if name.isidentifier() and name == name.lower() else quoted(name)
