"""How many rows a sample has, how many were asked for, and what came along for other reasons."""

from collections.abc import Iterator

import sqlalchemy as sa

from data_pipeline.sampling.report.compared import ROLE, Compared, number_of
from data_pipeline.sampling.report.figures import Figure
from data_pipeline.sampling.sample_plan import Part, SamplePlan

_ROLES = {
    "certain": "rows that every sample has: hubs, and tables that come whole",
    "sampled": "rows of the random sample",
    "pinned": "rows that the specification names",
    "witness": "rows that cover what the random sample does not show",
    "reference": "rows that others refer to",
}
_OVERHEAD = ("pinned", "witness", "reference")


def sizes(
    connection: sa.Connection, plan: SamplePlan, table: Compared, source_rows: float
) -> Iterator[Figure]:
    """Gives the number of rows of a table: in all, and by role.

    Args:
        connection: To the database.
        plan: What was asked for.
        table: The table.
        source_rows: The number of rows of its source.
    """
    # Equal rows without a primary key stand in the roles once, so the rows are counted.
    role = table.roles.c.role if table.key else table.weighted_rows("weighted").c[ROLE]
    counted = sa.select(role, sa.func.count()).group_by(role)
    by_role = {str(name): int(count) for name, count in connection.execute(counted)}
    rows = sum(by_role.values())
    share = rows / source_rows if source_rows else 0.0
    yield Figure(
        table.name, "rows", rows, source_rows, text=f"{100 * share:.2f} % of the source's rows"
    )
    for name, text in _ROLES.items():
        if by_role.get(name):
            expected = None
            if name == "sampled":
                expected = _asked_for(plan, table.name, source_rows, by_role.get("certain", 0))
            yield Figure(table.name, f"{name} rows", by_role[name], expected, text=text)
    extra = sum(by_role.get(name, 0) for name in _OVERHEAD)
    if extra:
        others = sum(by_role.values()) - extra
        text = "pinned, witness and reference rows over the others"
        if not others:
            text = "all rows are pins, witnesses or references"
        yield Figure(table.name, "overhead", extra / others if others else None, text=text)


def _asked_for(plan: SamplePlan, table: str, source_rows: float, certain: int) -> float | None:
    """Gives how many rows should be sampled, besides those that are certain."""
    found = plan.tables[table]
    settings = plan.roots.get(found.root or "")
    if plan.is_minimal or settings is None:
        return None
    if settings.rate is not None:
        return settings.rate * (source_rows - certain)
    if found.part is Part.ROOT and settings.rows is not None:
        return number_of(settings.rows - certain)
    return None
