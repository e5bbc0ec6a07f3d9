"""The rates that make a sample as large as it is to be: by trying, from a guess."""

from dataclasses import dataclass, replace

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.settings.sample import Budget
from data_pipeline.sampling.engine import Selection, selection
from data_pipeline.sampling.engine.closure_limit import (
    Breach,
    ClosureLimitError,
    check_limit,
    refusal,
)
from data_pipeline.sampling.engine.workspace import Workspace
from data_pipeline.sampling.plan.sample_plan import (
    SamplePlan,
    open_roots,
    rate_note,
    with_rate,
    without_limit,
)
from data_pipeline.sampling.prediction.predicted_sizes import predicted_rate
from data_pipeline.sampling.prediction.probed_conditions import check_conditions, check_repeatable
from data_pipeline.sampling.prediction.sizes import (
    TableSize,
    extents,
    measured,
    roots_have_no_more,
    sizes,
    total,
)

_NEAR = 0.04
"""Sizes that are not farther from what is wanted are taken at once."""

_ALLOWED = 0.1
_TRIES = 8


@dataclass(frozen=True)
class Sized:
    """A selection and its sizes.

    Attributes:
        selection: The selection.
        sizes: The size of each table.
        note: What is to be said of the rates, if they were chosen.
    """

    selection: Selection
    sizes: list[TableSize]
    note: str | None = None


def sized_selection(space: Workspace, plan: SamplePlan, tables: dict[str, sa.Table]) -> Sized:
    """Choose the rows of a sample, with the rates that fit its size where it has one.

    Args and errors are those of `selection`.

    Raises:
        ConfigurationError: The least that such a sample has is larger, or more of a table comes by
            references than `closure_limit` allows, at these rates.
    """
    check_repeatable(space, plan, tables)
    named = {name: tables[name] for name in tables if name in plan.where or name in plan.predicates}
    check_conditions(space.connection, plan, tables, extents(space.connection, named))
    try:
        return _found(space, plan, tables)
    except ClosureLimitError as error:
        raise ConfigurationError(refusal_of_closure(space, plan, tables, error)) from None


def refusal_of_closure(
    space: Workspace, plan: SamplePlan, tables: dict[str, sa.Table], error: ClosureLimitError
) -> str:
    """Say what is over `closure_limit`, and which cuts help: samples with them are chosen."""

    def breaches(other: SamplePlan) -> tuple[Breach, ...]:
        try:
            _found(space, other, tables)
        except ClosureLimitError as error:
            return error.breaches
        return ()

    return refusal(plan, error, breaches)


def _found(space: Workspace, plan: SamplePlan, tables: dict[str, sa.Table]) -> Sized:
    budget, limit = plan.settings.size, plan.settings.closure_limit
    if not isinstance(budget, Budget):
        return _sized(space, plan, tables)
    found = _Search(space, without_limit(plan), tables, budget).found()  # it tries higher rates
    chosen = found.selection
    check_limit(space.connection, chosen, chosen.brought, limit, found.note)
    return found


def _sized(space: Workspace, plan: SamplePlan, tables: dict[str, sa.Table]) -> Sized:
    chosen = selection(space, plan, tables)
    return Sized(chosen, sizes(space.connection, chosen))


@dataclass
class _Search:
    """The search for a rate: sizes grow with it, so the right one lies between two that were tried.

    Attributes:
        below: The largest rate that gave too little, with its size.
        above: The smallest rate that gave too much, with its size.
    """

    space: Workspace
    plan: SamplePlan
    tables: dict[str, sa.Table]
    budget: Budget
    below: tuple[float, float] | None = None
    above: tuple[float, float] | None = None

    def found(self) -> Sized:
        """Return the sample whose size is nearest."""
        rate = predicted_rate(self.space.connection, self.plan, self.tables, self.budget)
        best, tried = (float("inf"), rate), self._at(rate)
        for left in reversed(range(_TRIES)):
            size, wanted = measured(self.budget, tried.sizes)
            best = min(best, (abs(size - wanted) / wanted, rate))
            if best[0] <= _NEAR or not left or (rate == 1 and size < wanted):
                break
            if size < wanted:
                self.below = (rate, size)
            else:
                self.above = (rate, size)
            rate = self._next(rate, size, wanted)
            tried = self._at(rate)
        if rate != best[1]:
            tried = self._at(best[1])
        return replace(tried, note=self._note(best[1], tried))

    def _next(self, rate: float, size: float, wanted: float) -> float:
        if self.above is None:
            return min(1.0, rate * max(1.3, min(8.0, wanted / max(size, 1.0))))
        if self.below is None:
            return rate * min(0.7, max(0.05, wanted / size))
        (low, less), (high, more) = self.below, self.above
        # At where a line through both meets what is wanted, but not too near to either.
        inside = (wanted - less) / (more - less) if more > less else 0.5
        return low + (high - low) * min(0.9, max(0.1, inside))

    def _at(self, rate: float) -> Sized:
        return _sized(self.space, with_rate(self.plan, rate), self.tables)

    def _note(self, rate: float, tried: Sized) -> str:
        """Say what was chosen, and how far it is from what was wanted.

        Raises:
            ConfigurationError: The least that such a sample has is larger.
        """
        size, wanted = measured(self.budget, tried.sizes)
        text = rate_note(self.plan, rate)
        known = extents(self.space.connection, {n: self.tables[n] for n in open_roots(self.plan)})
        if all(extent.rows * rate < 1 for extent in known.values() if extent.rows):
            raise ConfigurationError(self._too_small(tried))  # no row would stand for others
        if abs(size - wanted) <= _ALLOWED * wanted:
            return text
        if size > wanted and self.below is None:
            raise ConfigurationError(self._too_small(tried))
        if rate == 1:
            return f"{text}; {roots_have_no_more(size, wanted)}"
        return f"{text}; that is as near as it gets, {size / wanted:.0%} of it"

    def _too_small(self, tried: Sized) -> str:
        largest = sorted(tried.sizes, key=lambda item: -item.rows)[:3]
        shown = ", ".join(f"`{item.table}` {item.rows:,.0f} ({item.how})" for item in largest)
        return (
            f"sample.size: {self.budget} cannot be met: the least that such a sample of stage "
            f"`{self.plan.graph.stage}` has is about {total(tried.sizes).rows:,.0f} rows, most of "
            f"them of {shown}. Ask for more, lower small_table_rows, cut references, or cover less."
        )
