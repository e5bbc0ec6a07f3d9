"""Why a row is in a sample, or is not: what the roles say of it, and of the rows it came with."""

from collections.abc import Iterator

from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.sampling.report.sampled_row import Facts, RowId, Rows

_DRAWN = (None, "certain", "sampled")
"""Roles of rows that are drawn, with the row they belong to or by themselves, or were not."""


def explain(rows: Rows, plan: SamplePlan, row: RowId) -> Iterator[str]:
    """Return the explanation of a row, line by line.

    Args:
        rows: The rows of the sample and of its source.
        plan: What the sample was chosen by.
        row: The row.
    """
    facts = rows.facts(row)
    is_there = facts.role is not None
    yield f"{rows.shown(row)} is {'in the sample: ' if is_there else ''}{_said(facts)}"
    if is_there or not plan.is_minimal:
        yield from _behind(rows, plan, row, facts)
    else:
        yield "  the sample is minimal: the least that keeps joins non-empty, and pins"
    if not is_there:
        yield "  nothing in the sample refers to it, no pin names it, and it is no witness"


def _behind(rows: Rows, plan: SamplePlan, row: RowId, facts: Facts) -> Iterator[str]:
    """Go from row to row, back to the one that is there, or is not, for its own sake."""
    seen = {row}
    while True:
        if facts.role == "reference":
            found = _referring(rows, plan, row, facts, seen)
            if found is None:
                return
            row, item = found
            facts = rows.facts(row)
            yield f"  {rows.shown(row)} refers to it by {item}: {_said(facts)}"
        elif facts.role in _DRAWN and (owner := plan.tables[row.table].owner) is not None:
            parent = rows.parent(row, owner)
            if parent is None:
                yield f"  by {owner} it refers to no row of the source, so it is drawn by itself"
                return
            above = rows.facts(parent)
            yield f"  by {owner} it belongs to {rows.shown(parent)}: {_said(above)}"
            if above.role not in _DRAWN:
                yield f"  a {above.role} row brings no others along"
                return
            row, facts = parent, above
        else:
            yield from _for_its_own_sake(plan, row, facts)
            return
        if row in seen:
            return
        seen.add(row)


def _referring(
    rows: Rows, plan: SamplePlan, row: RowId, facts: Facts, seen: set[RowId]
) -> tuple[RowId, Relationship] | None:
    """Return a row that refers to one by the relationship that is noted as the reason for it."""
    for item in plan.graph.of_parent(row.table):
        if facts.reason == f"referenced: {item}":
            others = [other for other in rows.referring(row, item) if other not in seen]
            return (others[0], item) if others else None
    return None


def _for_its_own_sake(plan: SamplePlan, row: RowId, facts: Facts) -> Iterator[str]:
    if facts.role == "certain":
        yield "  every such sample has it: its table comes whole, or it is a hub"
    elif facts.role in _DRAWN and row.table in plan.roots and not plan.is_minimal:
        root = plan.roots[row.table]
        wanted = f"rate {root.rate}" if root.rows is None else f"{root.rows:,} rows"
        drawn = "drawn" if facts.role else "not drawn"
        yield f"  it was {drawn} by the hash of its key: {wanted} of {row.table}, salt {plan.salt}"


def _said(facts: Facts) -> str:
    if facts.role is None:
        return "not in the sample"
    weight = "no weight"
    if facts.probability:
        chance, counts = f"{facts.probability:.6g}", f"{1 / facts.probability:.6g}"
        weight = f"inclusion probability {chance}, weight {counts}"
    reason = f" ({facts.reason})" if facts.reason not in (None, facts.role) else ""
    return f"{facts.role}{reason}, {weight}"
