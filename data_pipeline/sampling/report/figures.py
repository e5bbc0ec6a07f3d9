"""The figures of a report: what was measured, what was expected, and whether it may be so."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from data_pipeline.instances.sample_settings import CheckSettings, Threshold

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
        """Gives the figure with a verdict; the text says which limit it is over, unless that is 0.

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


def relative_error(value: float, expected: float) -> float | None:
    """Gives how far a value is off, over what is expected; None where that is 0 and it is not."""
    if value == expected:
        return 0.0
    return None if expected == 0 else abs(value - expected) / abs(expected)


def frame_of(figures: Iterable[Figure]) -> pd.DataFrame:
    """Gives the figures as a table, numbered in their order."""
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
    """Reads the figures from rows of a stored report."""
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
