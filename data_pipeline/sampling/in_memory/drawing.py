"""The state of a selection: its tables, and what has been found out and chosen so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.in_memory.column import Int64s, Mask
from data_pipeline.sampling.in_memory.references import References, references
from data_pipeline.sampling.in_memory.source_tables import SourceTable
from data_pipeline.sampling.rules import Cut, Role
from data_pipeline.sampling.sample_plan import Part, SamplePlan, TablePlan
from data_pipeline.sampling.schema_graph import Relationship

_ONLY_IN_DATABASE = frozenset({"json", "jsonb", "array"})

NOT_CHOSEN = 0
"""Stands for the role of a row that is not chosen."""


@dataclass(frozen=True)
class Chosen:
    """The chosen rows of a table; each array has an element for each row of the source.

    Attributes:
        role: The roles, or `NOT_CHOSEN`.
        probability: Inclusion probabilities; NaN for rows without weight.
        unit: Primary sampling units of rows with a probability.
        sample_size: How many units were drawn with the row's; 0: it was drawn for itself.
        reason: Why rows without a probability are there, in words.
    """

    role: npt.NDArray[np.int8]
    probability: npt.NDArray[np.float64]
    unit: Int64s
    sample_size: Int64s
    reason: npt.NDArray[np.object_]

    @classmethod
    def none_of(cls, count: int) -> "Chosen":
        """Gives the state in which no row is chosen."""
        return cls(
            np.full(count, NOT_CHOSEN, np.int8),
            np.full(count, np.nan),
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            np.full(count, None, object),
        )

    @property
    def mask(self) -> Mask:
        """Which rows are chosen."""
        chosen: Mask = self.role != NOT_CHOSEN
        return chosen


@dataclass(frozen=True)
class Hubs:
    """The hubs of a root.

    Attributes:
        rows: Which rows are hubs.
        thinned: For each relationship that makes rows hubs, by number, which rows.
    """

    rows: Mask
    thinned: Mapping[int, Mask]


@dataclass
class Drawing:
    """A selection that is being made.

    Attributes:
        plan: What is to be selected.
        sources: The tables of the source.
        whole: The tables that come whole.
        rows: The chosen rows of the others.
        cuts: Which rows of each root are sampled.
        hubs: The hubs of each root that has any.
        fan_outs: By relationship, how many values are referred to, by the number of references.
        numbers: Sampling numbers by table, as far as they were needed.
        left_out: Columns with too many values for a witness of each, with their number.
    """

    plan: SamplePlan
    sources: Mapping[str, SourceTable]
    whole: set[str] = field(default_factory=set)
    rows: dict[str, Chosen] = field(default_factory=dict)
    cuts: dict[str, Cut] = field(default_factory=dict)
    hubs: dict[str, Hubs] = field(default_factory=dict)
    fan_outs: dict[int, dict[int, int]] = field(default_factory=dict)
    numbers: dict[str, Int64s] = field(default_factory=dict)
    left_out: dict[tuple[str, str], int] = field(default_factory=dict)
    _references: dict[int, References] = field(default_factory=dict)

    @property
    def salt(self) -> int:
        """What is added to every hash."""
        return self.plan.salt

    def plan_of(self, table: str) -> TablePlan:
        """Gives the plan of a table."""
        return self.plan.tables[table]

    def is_sampled(self, table: str) -> bool:
        """Whether rows of the table are sampled, themselves or with their root."""
        part = self.plan_of(table).part
        return not self.plan.is_minimal and part in (Part.ROOT, Part.CHILD)

    def own_hash(self, table: str) -> Int64s:
        """Gives the hash of the rows' own key."""
        return self._key_source(table).hash_of(self.sources[table].key, self.salt)

    def own_number(self, table: str) -> Int64s:
        """Gives the sampling number of rows that are chosen by a hash of their own key."""
        return self._key_source(table).number_of(self.sources[table].key, self.salt)

    def reference_columns(self, item: Relationship) -> tuple[str, ...]:
        """Gives the referring columns such that they hash as the key of the row they refer to."""
        if item.refers_to_key:
            return item.in_order_of(self.plan.graph.keys[item.parent])
        return item.columns

    def references(self, item: Relationship) -> References:
        """Gives the references of a relationship."""
        if item.number not in self._references:
            self._references[item.number] = references(item, self.sources, self.salt)
        return self._references[item.number]

    def _key_source(self, table: str) -> SourceTable:
        """Gives a table whose rows can be told by the hash that the database gives them."""
        source = self.sources[table]
        for name in source.key:
            if source.columns[name].kind in _ONLY_IN_DATABASE:
                raise ConfigurationError(
                    f"Table `{self.plan.graph.stage}/{table}`: rows cannot be chosen by its column "
                    f"`{name}` in memory: what PostgreSQL makes of "
                    f"{source.columns[name].declared}, only it knows. Declare a primary key of "
                    "other columns, or build the instance in the database."
                )
        return source

    def add(self, table: str, rows: Int64s, role: Role, reason: object) -> None:
        """Adds rows to the chosen ones, unless they are there.

        Args:
            table: The table.
            rows: The rows.
            role: Their role.
            reason: Why they are there, in words: one for all, or an array with one for each.
        """
        if table in self.whole:
            return
        chosen = self.rows[table]
        is_new = chosen.role[rows] == NOT_CHOSEN
        new = rows[is_new]
        chosen.role[new] = int(role)
        chosen.reason[new] = reason[is_new] if isinstance(reason, np.ndarray) else reason


def first_of(rows: Int64s, *order: Int64s) -> int:
    """Gives the first of some rows, ordered by numbers of theirs, then by position."""
    keys = [numbers[rows] for numbers in order]
    return int(rows[np.lexsort([rows, *reversed(keys)])[0]])
