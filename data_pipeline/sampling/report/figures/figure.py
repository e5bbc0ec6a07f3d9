"""The figures of a report: what was measured, what was expected, and whether it may be so."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd
import sqlalchemy as sa

from data_pipeline.instances.settings.limits_of_sample_checks import CheckSettings, Threshold
from data_pipeline.sampling.engine.population import Restriction
from data_pipeline.sampling.engine.source_tables import is_true
from data_pipeline.sampling.key_hash import key_hash_sql
from data_pipeline.sampling.plan.weight_columns import fact_prefix
from data_pipeline.sampling.weights import ROW_HASH

Severity = Literal["warn", "error"]

COLUMNS = {
    "number": "Int64",
    "table_name": "string",
    "column_name": "string",
    "item": "string",
    "measure": "string",
    "value": "Float64",
    "expected": "Float64",
    "passed": "boolean",
    "severity": "string",
    "text": "string",
}
"""The columns of a report with their types in pandas."""


@dataclass(frozen=True)
class Figure:
    """One line of a report.

    Attributes:
        table: The input table.
        measure: What was measured.
        value: What was found; None: nothing can be said.
        expected: What it should be: that of the source, or what follows from the specification.
        column: The column, where it is about one.
        item: A relationship, or a group of rows.
        passed: Whether it is within the thresholds; None where there is none.
        severity: How bad it is, if it is not.
        text: What it means, in words.
    """

    table: str
    measure: str
    value: float | None
    expected: float | None = None
    column: str | None = None
    item: str | None = None
    passed: bool | None = None
    severity: Severity | None = None
    text: str = ""

    def judged(self, excess: float | None, checks: CheckSettings, name: str) -> "Figure":
        """Return the figure with a verdict; the text says which limit it is over, unless that is 0.

        Args:
            excess: How far it is from what it should be, in the units of the threshold; None:
                nothing can be said.
            checks: How far figures may be.
            name: The threshold among these.
        """
        threshold: Threshold = getattr(checks, name)
        if excess is None or (threshold.warn is None and threshold.error is None):
            return self
        limits: tuple[tuple[Severity, float | None], ...]
        limits = (("error", threshold.error), ("warn", threshold.warn))
        for severity, limit in limits:
            if limit is not None and not excess <= limit:
                over = f"; {excess:.3g} is over the limit `{name}` of {limit:g}" if limit else ""
                return replace(self, passed=False, severity=severity, text=self.text + over)
        return replace(self, passed=True)

    @property
    def subject(self) -> str:
        """Table, column and item in one."""
        name = f"{self.table}.{self.column}" if self.column else self.table
        return f"{name} [{self.item}]" if self.item else name


def frame_of(figures: Iterable[Figure]) -> pd.DataFrame:
    """Return the figures as a table, numbered in their order."""
    records = [
        {
            "number": number,
            "table_name": item.table,
            "column_name": item.column,
            "item": item.item,
            "measure": item.measure,
            "value": _finite(item.value),
            "expected": _finite(item.expected),
            "passed": item.passed,
            "severity": item.severity,
            "text": item.text,
        }
        for number, item in enumerate(figures, 1)
    ]
    # Constructed from objects: an empty report has the same types.
    frame = pd.DataFrame(records, columns=list(COLUMNS), dtype=object)
    return frame.astype(COLUMNS)


def figures_of(rows: Iterable[Any]) -> list[Figure]:
    """Read the figures from rows of a stored report."""
    return [
        Figure(
            table=row.table_name,
            measure=row.measure,
            value=row.value,
            expected=row.expected,
            column=row.column_name,
            item=row.item,
            passed=row.passed,
            severity=row.severity,
            text=row.text,
        )
        for row in rows
    ]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


ROLE = "data_pipeline role"
PROBABILITY = "data_pipeline probability"
UNIT = "data_pipeline unit"
WEIGHT = "data_pipeline weight"
"""Columns of the rows of a sample, besides their own."""


@dataclass(frozen=True)
class Compared:
    """One input table.

    Attributes:
        name: Its name.
        source: The table that its rows come from.
        sample: Its rows.
        roles: Their roles and probabilities by key.
        conditions: The conditions of those of its relationships that have one, by number.
        restriction: The conditions of the rows of the source (alias `s`) that the sample stands
            for; None: it stands for all.
    """

    name: str
    source: sa.Table
    sample: sa.Table
    roles: sa.Table
    conditions: Mapping[int, str] = field(default_factory=dict)
    restriction: Restriction | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key; empty where there is none."""
        return tuple(column.name for column in self.sample.primary_key)

    def fact(self, name: str) -> sa.Column[Any]:
        """Return a column of the roles."""
        prefix = fact_prefix(self.key or (ROW_HASH,))
        return self.roles.c[f"{prefix}{name}"]

    def source_rows(self, alias: str) -> sa.Subquery:
        """Return the rows of the source that the sample stands for.

        With them stands whether conditions of relationships hold.
        """
        rows = self.source.alias("s")
        return sa.select(*rows.c, *self._conditions()).where(*self.within(rows)).subquery(alias)

    def all_source_rows(self, alias: str) -> sa.Subquery:
        """Return the same for all rows of the source."""
        rows = self.source.alias("s")
        return sa.select(*rows.c, *self._conditions()).subquery(alias)

    def within(self, rows: sa.FromClause) -> Sequence[sa.ColumnElement[bool]]:
        """Return the conditions of the rows of the source that the sample stands for."""
        return () if self.restriction is None else self.restriction(rows)

    def sample_rows(self, alias: str) -> sa.Subquery:
        """Return the same for the rows of the sample."""
        rows = self.sample.alias("s")
        return sa.select(*rows.c, *self._conditions()).subquery(alias)

    def weighted_rows(self, alias: str) -> sa.Subquery:
        """Return the rows of the sample with role, probability, unit and weight.

        The weight of rows without a probability is 0.
        """
        rows, roles = self.sample_rows("data"), self.roles.alias("roles")
        pairs: list[tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]]
        if self.key:
            pairs = [(rows.c[name], roles.c[name]) for name in self.key]
        else:
            columns = [rows.c[column.name] for column in self.sample.columns]
            pairs = [(key_hash_sql(columns, 0), roles.c[ROW_HASH])]
        role, probability, unit = (
            roles.c[self.fact(name).name] for name in ("role", "probability", "unit")
        )
        weight = sa.func.coalesce(1.0 / probability, sa.literal_column("0.0", sa.Double))
        return (
            sa.select(
                rows,
                role.label(ROLE),
                probability.label(PROBABILITY),
                unit.label(UNIT),
                sa.cast(weight, sa.Double).label(WEIGHT),
            )
            .select_from(rows.join(roles, sa.and_(*(one == other for one, other in pairs))))
            .subquery(alias)
        )

    def _conditions(self) -> list[sa.Label[bool]]:
        return [is_true(text).label(condition_column(n)) for n, text in self.conditions.items()]


def number_of(value: Any) -> float:
    """Return a number of a query, 0 for NULL."""
    return 0.0 if value is None else float(value)


def condition_column(number: int) -> str:
    """Name the column that says whether the condition of a relationship holds."""
    return f"data_pipeline refers {number}"
