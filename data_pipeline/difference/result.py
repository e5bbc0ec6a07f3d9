"""What a comparison found, as typed objects; terminal, JSON, Markdown and HTML only render it."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal[
    "added",
    "gone",
    "equal",
    "changed",
    "schema",
    "not kept",
    "not compared",
    "sample only",
    "view",
]
"""What became of a table: there is one only after or only before; its rows are the same; rows or
columns differ; only declarations differ; it was replaced and the earlier rows are not kept; it
cannot be compared; a sample tells nothing of full, since its rows belong to no sampled unit; it is
a view with the same query as before, of tables that are compared by themselves."""


@dataclass(frozen=True)
class SchemaDifference:
    """What differs in the declarations of a table.

    Attributes:
        added: New columns with their types.
        removed: Columns that are gone, with their types.
        changed: What else changed (types, nullability, the key), in words.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeyFaults:
    """Rows that a key does not tell apart; they are compared as a multiset.

    Attributes:
        nulls: Rows with NULL in the key, before and after.
        duplicates: Rows whose key occurs several times in their version, before and after.
        examples: Keys, as text.
    """

    nulls: tuple[int, int]
    duplicates: tuple[int, int]
    examples: tuple[str, ...]


@dataclass(frozen=True)
class RowDifference:
    """How many rows differ.

    Attributes:
        key: The columns that rows are paired by; empty: rows are compared as a multiset.
        before: Rows before.
        after: Rows after.
        added: Rows that are new.
        removed: Rows that are gone.
        changed: Rows of the same key with other values; None without a key.
        faults: Rows that the key does not tell apart; None: there are none.
    """

    key: tuple[str, ...]
    before: int
    after: int
    added: int
    removed: int
    changed: int | None
    faults: KeyFaults | None = None

    @property
    def different(self) -> int:
        """Rows that are new, gone or changed."""
        return self.added + self.removed + (self.changed or 0)

    @property
    def share_changed(self) -> float:
        """Rows that are changed or gone, as a share of the rows before; 1 if there were none."""
        touched = self.removed + (self.changed or 0)
        if not self.before:
            return float(self.after > 0)
        return touched / self.before


@dataclass(frozen=True)
class ColumnFigures:
    """A column over all rows of one version.

    Attributes:
        null_share: The share of NULL, 0 to 1; None without rows.
        sum: Of numbers; of booleans how many are true.
        mean: Likewise.
    """

    null_share: float | None
    sum: float | None = None
    mean: float | None = None


@dataclass(frozen=True)
class ColumnDifference:
    """A column that differs.

    Attributes:
        name: Its name.
        changed: Rows of the same key with another value in it; None without a key.
        before: The column before.
        after: The column after.
        as_text: Whether it was compared as text, since its type has no equality.
        made_anew: Whether the same code made it of the same inputs, so that it differs in each run.
    """

    name: str
    changed: int | None
    before: ColumnFigures
    after: ColumnFigures
    as_text: bool = False
    made_anew: bool = False


@dataclass(frozen=True)
class RowExample:
    """A row that differs.

    Attributes:
        what: What became of it.
        key: Its key, or all of its values without one, as text by column.
        values: The values before and after, as text by column, of those that differ.
        count: How many rows are alike.
    """

    what: Literal["added", "removed", "changed"]
    key: Mapping[str, str | None]
    values: Mapping[str, tuple[str | None, str | None]]
    count: int = 1


@dataclass(frozen=True)
class Slice:
    """Rows with certain values, among which the rows that differ are concentrated.

    Attributes:
        condition: The values, as SQL.
        what: Which rows: `changed` or gone, or `added`.
        rows: Rows of the version in it.
        differing: Those of them that differ.
        share: The share of all rows that differ, 0 to 1.
        times: How many times its share of all rows that is.
    """

    condition: str
    what: Literal["changed", "added"]
    rows: int
    differing: int
    share: float
    times: float

    def __str__(self) -> str:
        return (
            f"{100 * self.share:.1f} % of the {self.what} rows have {self.condition} "
            f"({self.times:.1f} times its share; {self.differing:,} of its {self.rows:,} rows)"
        )


@dataclass(frozen=True)
class EffectFigure:
    """What a change does to full, as paired rows of a sample tell it.

    Attributes:
        what: `rows changed`, `rows`, `sum of x` or `mean of x`.
        value: The estimated change of full.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    what: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Effect:
    """The effect of a change on full.

    Attributes:
        units: Sampled units whose rows changed.
        most_units: With 95 % confidence, fewer than so many units of full change.
        figures: The estimates; none where too few units changed for an interval.
        text: It in words.
    """

    units: int
    most_units: float
    figures: tuple[EffectFigure, ...]
    text: str


@dataclass(frozen=True)
class SampleFigure:
    """A figure of full and what its sample says of it.

    Attributes:
        what: Such as `mean of delay` or `share of origin = 'JFK'`.
        full: The figure of full.
        sample: The estimate from the sample.
        standard_error: Of the estimate.
        errors: How many standard errors they are apart.
        is_off: Whether that is more than chance, corrected for the number of figures.
    """

    what: str
    full: float
    sample: float
    standard_error: float
    errors: float
    is_off: bool


@dataclass(frozen=True)
class SampleComparison:
    """A table of full against that of a sample of it.

    Attributes:
        units: Sampled units with rows in it.
        figures: All figures, those that are farthest off first.
        text: It in words.
    """

    units: int
    figures: tuple[SampleFigure, ...]
    text: str


@dataclass(frozen=True)
class TableDifference:
    """A table in two versions.

    Attributes:
        table: `stage/table`.
        status: What became of it.
        rows_before: Rows before; None where that is not known.
        rows_after: Rows after.
        schema: What differs in its declarations.
        rows: How many rows differ; None where rows were not compared.
        columns: The columns that differ, those with the most changed rows first.
        slices: Where the rows that differ are.
        effect: What it means for full.
        sample: For a table of full and of its sample: how they compare.
        examples: Rows that differ, where they were asked for.
        notes: What else there is to be said.
    """

    table: str
    status: Status
    rows_before: int | None = None
    rows_after: int | None = None
    schema: SchemaDifference | None = None
    rows: RowDifference | None = None
    columns: tuple[ColumnDifference, ...] = ()
    slices: tuple[Slice, ...] = ()
    effect: Effect | None = None
    sample: SampleComparison | None = None
    examples: tuple[RowExample, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """Two versions, compared.

    Attributes:
        before: The name of the earlier version.
        after: That of the later one.
        tables: The tables of both, those that differ first.
        notes: What there is to be said of the versions.
    """

    before: str
    after: str
    tables: tuple[TableDifference, ...]
    notes: tuple[str, ...] = ()

    @property
    def differing(self) -> tuple[TableDifference, ...]:
        """The tables that differ, or may."""
        return tuple(t for t in self.tables if t.status not in ("equal", "sample only", "view"))

    @property
    def is_equal(self) -> bool:
        """Whether no table differs."""
        return not self.differing

    @property
    def exit_status(self) -> int:
        """0: equal, 1: different, 2: a table could not be compared."""
        if any(table.status == "not compared" for table in self.tables):
            return 2
        return int(not self.is_equal)

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it; what is no finite number is a text."""
        content = {"is_equal": self.is_equal, **dataclasses.asdict(self)}
        return {name: _as_json(value) for name, value in content.items()}


def _as_json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return value
